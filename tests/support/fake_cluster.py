"""A cluster in memory behind a `Dialer`: enough of a master and of nodes to try the client library, with faults.

No sockets, no threads of its own, a clock that moves only when told. Headers and bodies are encoded and decoded as on
the wire. Safe to share between threads: one lock around every request. A forked child has a cluster of its own.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from blake3 import blake3
from crc32c import crc32c
from tests.support.fake_master import CLUSTER_ID, FakeMaster, FakeNode

from dfs_client.api import Dfs
from dfs_client.executors import Executor, SerialExecutor
from dfs_client.profile import Settings
from dfs_runtime import forks
from dfs_wire import messages as m
from dfs_wire.channel import Answer, GetStream, PutStream
from dfs_wire.codec import decode, encode
from dfs_wire.errors import (
    BadCredentialError,
    BadTicketError,
    ConnectFailedError,
    DfsError,
    NotFoundError,
)
from dfs_wire.limits import BLOCK_BYTES, RECEIPT_SECONDS
from dfs_wire.tickets import holder_of

R = TypeVar("R", bound=m.Header)

MASTER = "master:5000"
CLIENT_KEY = b"client-key"
ADMIN_KEY = b"admin-key"


@dataclass(slots=True)
class Fault:
    """Meets requests of one type: raises `error` before they are handled, or after (a lost reply)."""

    request: type[m.Header]
    error: DfsError
    times: int = 1
    after: bool = False
    address: str | None = None


@dataclass(eq=False)
class FakeCluster(FakeMaster):
    """State of the whole cluster; tests look into it and spoil it directly."""

    faults: list[Fault] = field(default_factory=list)
    #: (address, request) in the order they were handled or failed.
    requests: list[tuple[str, m.Header]] = field(default_factory=list)
    dials: list[tuple[str, m.Hello]] = field(default_factory=list)
    put_bytes: int = 0
    #: Digest -> the bytes as they were put: block CRCs are made of these, whatever happens to the copies.
    stored: dict[bytes, bytes] = field(default_factory=dict)
    #: Called with every request before anything else; may raise or change the cluster.
    hook: Callable[[str, m.Header], None] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _turn: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: nobody holds the lock."""
        self._lock = threading.RLock()

    # -- what tests call ---------------------------------------------------------------------------------------

    def connect(
        self,
        *,
        executor: Executor | None = None,
        receipts_home: Path | None = None,
        key: bytes = CLIENT_KEY,
        admin_key: bytes | None = ADMIN_KEY,
        key_given: bool = False,
    ) -> Dfs:
        """A client of this cluster: one thread, this clock, a fixed seed."""
        return Dfs(
            Settings(MASTER, key, admin_key, key_given=key_given),
            dialer=self,
            executor=executor or SerialExecutor(),
            clock=self.clock,
            randomness=random.Random(1),
            receipts_home=receipts_home,
        )

    def fail(
        self,
        request: type[m.Header],
        error: DfsError,
        *,
        times: int = 1,
        after: bool = False,
        address: str | None = None,
    ) -> None:
        """Let the next `times` requests of a type fail."""
        self.faults.append(Fault(request, error, times, after, address))

    def sent(self, kind: type[R]) -> list[R]:
        """All requests of a type so far."""
        return [request for _, request in self.requests if isinstance(request, kind)]

    def content(self, path: str) -> bytes:
        """A file's bytes as the good copies have them."""
        commit = self.versions[self.files[path]]
        parts = []
        for extent in commit.extents:
            data = next(node.chunks[extent.digest] for node in self.nodes.values() if extent.digest in node.chunks)
            parts.append(data[extent.offset : extent.offset + extent.length])
        return b"".join(parts)

    def spoil(self, node_id: int, digest: bytes, place: int = 0) -> None:
        """Flip a bit of a node's copy."""
        data = bytearray(self.nodes[node_id].chunks[digest])
        data[place] ^= 1
        self.nodes[node_id].chunks[digest] = bytes(data)

    # -- Dialer ------------------------------------------------------------------------------------------------

    def dial(self, address: str, hello: m.Hello) -> "FakeChannel":
        """Connect to the master or a node."""
        with self._lock:
            self.dials.append((address, hello))
            self.reachable(address, hello)
            key = {m.Role.CLIENT: CLIENT_KEY, m.Role.ADMIN: ADMIN_KEY}.get(hello.role)
            if address == MASTER and hello.credential != key:
                raise BadCredentialError("the master does not accept this credential; check the profile")
            reply = m.HelloReply(cluster_id=CLUSTER_ID, epoch=1, time_ms=self.clock.wall_ms())
            return FakeChannel(self, address, hello.role, reply)

    def reachable(self, address: str, request: m.Header) -> None:
        """Apply faults that come before a request is handled.

        Raises:
            ConnectFailedError: the address is down.
        """
        if self.hook is not None:
            self.hook(address, request)
        down = [node.address for node in self.nodes.values() if not node.up]
        if address in down:
            raise ConnectFailedError(f"{address} refused the connection")
        self._apply_faults(address, request, after=False)

    def handle(self, address: str, request: m.Header, body: bytes) -> Answer[Any]:
        """One request without a chunk."""
        with self._lock:
            self.requests.append((address, request))
            self.reachable(address, request)
            answer: Answer[Any]
            answer = self.answer_as_master(request, body) if address == MASTER else self._renew(self.at(address), body)
            self._apply_faults(address, request, after=True)
            return answer

    def at(self, address: str) -> FakeNode:
        """The node with this address."""
        return next(node for node in self.nodes.values() if node.address == address)

    def _apply_faults(self, address: str, request: m.Header, *, after: bool) -> None:
        for fault in self.faults:
            meets = fault.after is after and fault.address in (None, address)
            if fault.times and meets and isinstance(request, fault.request):
                fault.times -= 1
                raise fault.error

    # -- nodes -------------------------------------------------------------------------------------------------

    def _renew(self, node: FakeNode, body: bytes) -> Answer[m.RenewReceiptsReply]:
        held = [each for each in decode(body, list[m.Receipt]) if each.digest in node.chunks]
        return Answer(m.RenewReceiptsReply(), encode([self._receipt(node, each.digest, each.size) for each in held]))

    def _receipt(self, node: FakeNode, digest: bytes, size: int) -> m.Receipt:
        now = self.clock.wall_ms()
        return m.Receipt(node.id, digest, size, 1, now, now + RECEIPT_SECONDS * 1000, b"mac")

    def begin_put(self, address: str, request: m.PutChunk) -> None:
        """What a node judges before it takes the body."""
        with self._lock:
            self.requests.append((address, request))
            self.reachable(address, request)
            if request.ticket.expires_at_ms <= self.clock.wall_ms():
                raise BadTicketError("the write ticket has expired")
            if request.ticket.bytes_max and holder_of(request.secret) != request.ticket.holder:
                raise BadTicketError("the ticket taken ahead is another's")

    def finish_put(self, address: str, request: m.PutChunk, data: bytes) -> m.PutChunkReply:
        """Store along the chain; hops that fail are named."""
        with self._lock:
            self.put_bytes += len(data)
            self._apply_faults(address, request, after=True)
            if blake3(data).digest() != request.ticket.digest or len(data) != request.ticket.size:
                raise BadTicketError("another digest")
            receipts, failures = [], []
            for hop in request.ticket.hops:
                node = self.nodes[hop.node_id]
                try:
                    if node.address != address:
                        self.reachable(node.address, replace_hop(request, node))
                except DfsError as error:
                    failures.append(m.HopFailure(node.id, error.code, error.message))
                    continue
                node.chunks[request.ticket.digest] = self.stored[request.ticket.digest] = data
                receipts.append(self._receipt(node, request.ticket.digest, len(data)))
            return m.PutChunkReply(receipts=receipts, failures=failures)

    def get(self, address: str, request: m.GetChunk) -> tuple[m.GetChunkReply, bytes]:
        """A range of a copy, with the CRCs of the bytes that were stored, not of those that are there now."""
        with self._lock:
            self.requests.append((address, request))
            self.reachable(address, request)
            node, ticket = self.at(address), request.ticket
            if ticket.mac != str(ticket.expires_at_ms).encode():
                raise BadTicketError("the read ticket was altered")
            if ticket.expires_at_ms <= self.clock.wall_ms():
                raise BadTicketError("the read ticket has expired")
            if ticket.digest not in node.chunks:
                raise NotFoundError("no such chunk here")
            data = node.chunks[ticket.digest]
            begin = request.offset - request.offset % BLOCK_BYTES
            wanted_end = len(data) if request.length < 0 else request.offset + request.length
            end = min(len(data), -(-wanted_end // BLOCK_BYTES) * BLOCK_BYTES)
            whole = self.stored[ticket.digest]
            crcs = b"".join(
                crc32c(whole[place : min(place + BLOCK_BYTES, end)]).to_bytes(4, "big")
                for place in range(begin, end, BLOCK_BYTES)
            )
            reply = m.GetChunkReply(size=len(data), generation=1, offset=begin, length=end - begin, block_crcs=crcs)
            return reply, data[begin:end]


def replace_hop(request: m.PutChunk, node: FakeNode) -> m.PutChunk:
    """The request as the next hop sees it."""
    place = [hop.node_id for hop in request.ticket.hops].index(node.id)
    return m.PutChunk(ticket=request.ticket, hop=place)


class FakeChannel:
    """One connection."""

    def __init__(self, cluster: FakeCluster, address: str, role: m.Role, hello: m.HelloReply) -> None:
        self.hello = hello
        self._cluster = cluster
        self._address = address
        self._role = role
        self._open = True

    def call(self, request: m.Header, reply: type[R], body: bytes = b"", *, seconds: float = 0) -> Answer[R]:
        """One round trip, through the codec."""
        try:
            answer = self._cluster.handle(self._address, decode(encode(request), type(request)), body)
        except ConnectFailedError:
            self._open = False
            raise
        return Answer(decode(encode(answer.header), reply), answer.body)

    def put(self, request: m.PutChunk, *, seconds: float = 0) -> PutStream:
        """Begin to store."""
        self._cluster.begin_put(self._address, request)
        return FakePut(self, self._cluster, self._address, decode(encode(request), m.PutChunk))

    def get(self, request: m.GetChunk, *, seconds: float = 0) -> GetStream:
        """Begin to read."""
        return FakeGet(*self._cluster.get(self._address, request))

    def usable(self) -> bool:
        """Not closed."""
        return self._open

    def close(self) -> None:
        """Close."""
        self._open = False


class FakePut:
    """A chunk on its way."""

    def __init__(self, channel: FakeChannel, cluster: FakeCluster, address: str, request: m.PutChunk) -> None:
        self._channel = channel
        self._cluster = cluster
        self._address = address
        self._request = request
        self._data = bytearray()

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Take bytes."""
        self._data += block

    def finish(self) -> m.PutChunkReply:
        """Store them."""
        reply = self._cluster.finish_put(self._address, self._request, bytes(self._data))
        return decode(encode(reply), m.PutChunkReply)

    def abort(self) -> None:
        """Forget them."""
        self._channel.close()


class FakeGet:
    """A chunk on its way back, in pieces of odd size."""

    def __init__(self, header: m.GetChunkReply, data: bytes) -> None:
        self.header = header
        self._data = memoryview(data)

    def read_into(self, buffer: memoryview) -> int:
        """Give less than asked for, as sockets do."""
        count = min(len(buffer), len(self._data), 70_001)
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def close(self) -> None:
        """Nothing to do."""
