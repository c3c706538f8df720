"""A peer that speaks frames by hand: says what it likes, when it likes, and reads what comes."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Self

from dfs_wire import frame
from dfs_wire import messages as m
from dfs_wire.codec import decode, encode
from dfs_wire.frame import FIXED_BYTES, FrameHead, Kind
from dfs_wire.transport import parse_address
from dfs_wire.verbs import BY_REQUEST


def request_bytes(request: m.Header, number: int = 1, body: bytes = b"") -> bytes:
    """A whole request frame."""
    header = encode(request)
    verb = BY_REQUEST[type(request)].number
    checksum = frame.body_checksum(body)
    return frame.encode_head(Kind.REQUEST, verb, number, header, len(body), checksum) + header + body


class RawPeer:
    """One plain socket. Used by one thread."""

    def __init__(self, address: str, *, receive_buffer: int | None = None, seconds: float = 10.0) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(seconds)
        self.socket.connect(parse_address(address))
        self._data = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(b"".join(parts))

    def send_until_refused(self, data: bytes, times: int) -> int:
        """Send `data` up to that many times without waiting for room; returns how many bytes were taken."""
        taken = 0
        self.socket.setblocking(False)
        try:
            for _ in range(times):
                taken += self.socket.send(data)
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(10.0)
        return taken

    def next_frame(self) -> tuple[FrameHead, bytes, bytes]:
        """The next frame: head, header, body."""
        self._fill(FIXED_BYTES)
        head = frame.decode_head(self._data)
        end = FIXED_BYTES + head.header_bytes + head.body_bytes
        self._fill(end)
        header = bytes(self._data[FIXED_BYTES : FIXED_BYTES + head.header_bytes])
        body = bytes(self._data[FIXED_BYTES + head.header_bytes : end])
        frame.check_header(self._data[:FIXED_BYTES], header, head)
        del self._data[:end]
        return head, header, body

    def error(self) -> m.ErrorReply:
        """The next frame, which must be an error."""
        head, header, _ = self.next_frame()
        if head.kind is not Kind.ERROR:
            raise AssertionError(f"a {head.kind.name} frame where an error was due")
        return decode(header, m.ErrorReply)

    def rest(self) -> bytes:
        """Everything up to the end of the peer's stream; a reset is an end as well."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(1 << 16):
                self._data += data
        return bytes(self._data)

    def at_end(self) -> bool:
        """Whether the peer has closed and nothing more was said."""
        return self.rest() == b""

    def _fill(self, count: int) -> None:
        while len(self._data) < count:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError(f"the peer ended after {len(self._data)} of {count} bytes")
            self._data += data


@contextlib.contextmanager
def greeted_peer(address: str, hello: m.Hello, *, receive_buffer: int | None = None) -> Iterator[RawPeer]:
    """A peer whose Hello was accepted."""
    with RawPeer(address, receive_buffer=receive_buffer) as peer:
        peer.send(request_bytes(hello))
        head, _, _ = peer.next_frame()
        if head.kind is not Kind.REPLY:
            raise AssertionError("the Hello was refused")
        yield peer
