"""A master that takes lines, before a store made of a dictionary."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal

from dfs_master.credentials import Credentials, key_digest
from dfs_master.line_protocol import LineProtocol
from dfs_runtime.clock import SystemClock
from dfs_wire.channel import Answer
from dfs_wire.errors import ConnectFailedError, NotAllowedError, NotFoundError, UsageError
from dfs_wire.event_listener import EventListener, Respond
from dfs_wire.messages import AddressSet, Copy, Entry, EntryKind, Header, Hello, ProveJoin, ProveJoinReply
from dfs_wire.service import Session
from dfs_wire.tickets import join_proof

TOKEN = b"t" * 32


class DictionaryStore:
    """Files by path. A file `/broken` cannot be read to its end."""

    def __init__(self, address_set: AddressSet = AddressSet.CLUSTER) -> None:
        self.files: dict[str, bytes] = {}
        self.address_set = address_set

    def upload(self, source: BinaryIO, path: str) -> object:
        data = bytearray()
        while piece := source.read(50_000):
            data += piece
        if path == "/":
            raise UsageError("/ is a directory;\nchoose another name")
        self.files[path] = bytes(data)
        return None

    def open(self, path: str, mode: Literal["rb"]) -> BinaryIO:
        if path == "/broken":
            return BrokenFile(100_000)  # type: ignore[return-value]
        if path not in self.files:
            raise NotFoundError(f"{path} does not exist")
        return io.BytesIO(self.files[path])

    def walk(self, path: str, *, copies: bool) -> Iterator[Entry]:
        yield Entry("/d", EntryKind.DIRECTORY, 0, 0, 0, 0, b"")
        for name, data in sorted(self.files.items()):
            holders = [Copy("node-1", "10.0.0.1:5001"), Copy("node-2", "10.0.0.2:5001")]
            yield Entry(name, EntryKind.FILE, len(data), 0, 0, 1, b"", holders)


class BrokenFile(io.BytesIO):
    """Gives half of its bytes, then fails in an unforeseen way."""

    def __init__(self, size: int) -> None:
        super().__init__(bytes(size))
        self._left = size // 2

    def read(self, size: int | None = -1) -> bytes:
        if self._left == 0:
            raise ZeroDivisionError("a fault of ours")
        data = super().read(min(size or self._left, self._left))
        self._left -= len(data)
        return data


class NoService:
    """No frames are expected."""

    def recall(self, kind: type[Header], request: bytes) -> bytes | None:
        return None

    def serve(self, session: Session, request: Header, body: bytes, respond: Respond) -> None:
        raise NotAllowedError("lines only")


class FakeNodeDialer:
    """A node that answers `ProveJoin` with its token, wherever it is dialled."""

    def __init__(self, token: bytes | None) -> None:
        self.token = token
        self.dialled: list[str] = []

    def dial(self, address: str, hello: Hello) -> Any:
        self.dialled.append(address)
        if self.token is None:
            raise ConnectFailedError(f"nobody listens on {address}")
        return self

    def call(self, request: ProveJoin, reply: type[ProveJoinReply]) -> Answer[ProveJoinReply]:
        return Answer(ProveJoinReply(mac=join_proof(self.token or b"", request.nonce)))

    def close(self) -> None:
        return None


@contextmanager
def line_master(
    *, allowed: tuple[str, ...] = (), token: bytes | None = TOKEN
) -> Iterator[tuple[str, DictionaryStore, FakeNodeDialer]]:
    """Address, store and dialer of a listener that takes lines."""
    store, dialer = DictionaryStore(), FakeNodeDialer(token)
    lines = LineProtocol(lambda _: store, dialer, Credentials([("join", key_digest(TOKEN))]), allowed=allowed)
    listener = EventListener("127.0.0.1:0", NoService(), SystemClock(), lines=lines)
    listener.start()
    try:
        yield listener.address, store, dialer
    finally:
        listener.stop()
