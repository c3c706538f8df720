"""Nodes without sockets: handlers over any volume, joined to a cluster whose keys the test holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from dfs_node.findings import FindingQueue
from dfs_node.forward import Chain
from dfs_node.get_chunk import ChunkReader
from dfs_node.handlers import NodeHandlers
from dfs_node.identity import Identity, IdentityFile
from dfs_node.master_time import MasterTime
from dfs_node.memory_volume import MemoryVolume
from dfs_node.put_chunk import ChunkReceiver
from dfs_node.receipts import Credentials
from dfs_node.slots import StreamSlots
from dfs_node.volume import Volume
from dfs_runtime.clock import ManualClock
from dfs_wire import tickets
from dfs_wire.channel import Answer, Channel, GetStream, PutStream
from dfs_wire.errors import ConnectFailedError, UnavailableError
from dfs_wire.messages import (
    GetChunk,
    Header,
    HelloReply,
    Hop,
    PutChunk,
    PutChunkReply,
    ReadTicket,
    Receipt,
    WriteTicket,
)
from dfs_wire.service import Session

R = TypeVar("R", bound=Header)

MASTER_KEY = b"m" * 32
CLUSTER = "cluster-1"
JOIN_TOKEN = b"j" * 32


def key_of(node_id: int) -> bytes:
    """A node's signing key."""
    return tickets.derive_node_key(MASTER_KEY, CLUSTER, node_id)


class FakeBody:
    """A `ChunkBody` over bytes, given out in pieces; after `breaks_at` bytes the sender goes away."""

    def __init__(self, data: bytes, *, size: int | None = None, piece: int = 70_000, breaks_at: int = -1) -> None:
        self.size = len(data) if size is None else size
        self.told_to_go_on = False
        self.read = 0
        self._data = memoryview(data)
        self._piece = piece
        self._breaks_at = breaks_at

    def go_on(self) -> None:
        self.told_to_go_on = True

    def read_into(self, buffer: memoryview) -> int:
        if 0 <= self._breaks_at <= self.read:
            raise ConnectFailedError("the sender went away")
        count = min(len(buffer), self._piece, len(self._data) - self.read)
        buffer[:count] = self._data[self.read : self.read + count]
        self.read += count
        return count


class Cluster:
    """Nodes that reach each other by calls. `down` addresses do not answer; `events` tells what happened in order."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.nodes: dict[str, TestNode] = {}
        self.down: set[str] = set()
        self.broken_after: dict[str, int] = {}
        self.events: list[str] = []

    def add(self, node_id: int, path: Path, volume: Volume | None = None) -> "TestNode":
        """A joined node that has heard its master just now."""
        node = make_node(node_id, self, path, volume or MemoryVolume())
        self.nodes[address_of(node_id)] = node
        return node

    @contextmanager
    def channel(self, address: str) -> Iterator[Channel]:
        """The `Channels` of the chain."""
        if address in self.down:
            raise ConnectFailedError(f"cannot connect to {address}")
        yield _DirectChannel(self, address)

    def ticket(self, data: bytes, hops: list[int], *, generation: int = 1, seconds: int = 300) -> WriteTicket:
        """Signed leave to store `data` along `hops`."""
        blank = [Hop(node_id, address_of(node_id), b"") for node_id in hops]
        expires_at_ms = self.clock.wall_ms() + seconds * 1000
        ticket = WriteTicket(blake3(data).digest(), len(data), generation, expires_at_ms, b"n" * 16, blank)
        signed = [
            Hop(node_id, address_of(node_id), tickets.write_mac(key_of(node_id), CLUSTER, ticket, place, hops))
            for place, node_id in enumerate(hops)
        ]
        return WriteTicket(ticket.digest, ticket.size, generation, expires_at_ms, ticket.nonce, signed)

    def read_ticket(self, digest: bytes, node_id: int, *, seconds: int = 300) -> ReadTicket:
        """Signed leave to read a chunk."""
        expires_at_ms = self.clock.wall_ms() + seconds * 1000
        mac = tickets.read_mac(key_of(node_id), CLUSTER, node_id, digest, expires_at_ms)
        return ReadTicket(digest, node_id, expires_at_ms, mac)

    def check_receipts(self, receipts: list[Receipt], digest: bytes) -> list[int]:
        """The nodes whose good receipts these are."""
        for receipt in receipts:
            assert receipt.digest == digest
            tickets.check_receipt(key_of(receipt.node_id), CLUSTER, receipt, self.clock.wall_ms())
        return [receipt.node_id for receipt in receipts]


@dataclass
class TestNode:
    """One node's parts."""

    __test__ = False

    node_id: int
    volume: Volume
    identity: IdentityFile
    time: MasterTime
    slots: StreamSlots
    findings: FindingQueue
    handlers: NodeHandlers
    session: Session = field(default_factory=lambda: Session("test"))

    def put(self, ticket: WriteTicket, body: FakeBody, hop: int = 0, secret: bytes = b"") -> PutChunkReply:
        return self.handlers.put_chunk(self.session, PutChunk(ticket=ticket, hop=hop, secret=secret), body)


def address_of(node_id: int) -> str:
    """Where a node would listen."""
    return f"node-{node_id}:5000"


def make_node(node_id: int, cluster: Cluster, path: Path, volume: Volume) -> TestNode:
    """Build the parts as `dfs_node.app` does."""
    identity = IdentityFile(
        path / f"identity-{node_id}", Identity(cluster_id=CLUSTER, node_id=node_id, node_key=key_of(node_id))
    )
    time = MasterTime(cluster.clock)
    time.learn(cluster.clock.wall_ms())
    credentials, slots, findings = Credentials(identity, time), StreamSlots(2), FindingQueue()
    handlers = NodeHandlers(
        volume=volume,
        credentials=credentials,
        receiver=ChunkReceiver(volume, credentials, slots, Chain(cluster)),
        reader=ChunkReader(volume, credentials, findings),
        findings=findings,
        join_token=JOIN_TOKEN,
    )
    return TestNode(node_id, volume, identity, time, slots, findings, handlers)


class _DirectChannel:
    """A channel that calls another node's handlers. Only `put` is needed for a chain."""

    hello = HelloReply(cluster_id=CLUSTER)

    def __init__(self, cluster: Cluster, address: str) -> None:
        self._cluster = cluster
        self._address = address

    def call(self, request: Header, reply: type[R], body: bytes = b"", *, seconds: float = 30.0) -> Answer[R]:
        raise NotImplementedError

    def get(self, request: GetChunk, *, seconds: float = 30.0) -> GetStream:
        raise NotImplementedError

    def put(self, request: PutChunk, *, seconds: float = 30.0) -> PutStream:
        self._cluster.events.append(f"put {self._address} within {seconds:g} s")
        return _DirectPut(self._cluster, self._address, request)

    def usable(self) -> bool:
        return True

    def close(self) -> None:
        pass


class _DirectPut:
    """Collects the body and hands it over at `finish`."""

    def __init__(self, cluster: Cluster, address: str, request: PutChunk) -> None:
        self._cluster = cluster
        self._address = address
        self._request = request
        self._data = bytearray()

    def write(self, block: bytes | bytearray | memoryview) -> None:
        self._data += block
        if len(self._data) > self._cluster.broken_after.get(self._address, 1 << 40):
            raise UnavailableError("the next hop stalled")

    def finish(self) -> PutChunkReply:
        self._cluster.events.append(f"finish {self._address}")
        node = self._cluster.nodes[self._address]
        return node.put(self._request.ticket, FakeBody(bytes(self._data)), self._request.hop, self._request.secret)

    def abort(self) -> None:
        self._cluster.events.append(f"abort {self._address}")
