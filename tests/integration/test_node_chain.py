"""Three nodes behind real listeners: a chain over sockets, reads by sendfile, a node that goes away."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3
from crc32c import crc32c
from tests.support.nodes import CLUSTER, key_of
from tests.support.volumes import WrappedDisk, chunk_of
from tests.support.wire import poll_for

from dfs_node.disk_volume import DiskVolume
from dfs_node.findings import FindingQueue
from dfs_node.forward import Chain
from dfs_node.get_chunk import ChunkReader
from dfs_node.handlers import NodeHandlers
from dfs_node.identity import Identity, IdentityFile
from dfs_node.master_time import MasterTime
from dfs_node.put_chunk import ChunkReceiver
from dfs_node.receipts import Credentials
from dfs_node.slots import StreamSlots
from dfs_runtime.clock import SystemClock
from dfs_wire import tickets
from dfs_wire.channel import Channel
from dfs_wire.codec import decode, encode
from dfs_wire.errors import BadTicketError, DfsError, NotFoundError, UnavailableError
from dfs_wire.limits import BLOCK_BYTES
from dfs_wire.messages import (
    FindingKind,
    GetChunk,
    Hello,
    Hop,
    PutChunk,
    PutChunkReply,
    ReadTicket,
    Receipt,
    RenewReceipts,
    RenewReceiptsReply,
    Role,
    WriteTicket,
)
from dfs_wire.pool import ChannelPool
from dfs_wire.sockets import SocketDialer
from dfs_wire.thread_listener import ThreadListener

CLOCK = SystemClock()
HELLO = Hello(role=Role.TICKET)
DATA, DIGEST = chunk_of(8 * 1024 * 1024 + 123)


@dataclass
class RunningNode:
    """A node that serves on a port of its own."""

    node_id: int
    volume: DiskVolume
    listener: ThreadListener
    findings: FindingQueue
    address: str


def _start(node_id: int, path: Path, resources: ExitStack) -> RunningNode:
    volume = DiskVolume(path / f"volume-{node_id}", WrappedDisk())
    identity = IdentityFile(
        path / f"identity-{node_id}", Identity(cluster_id=CLUSTER, node_id=node_id, node_key=key_of(node_id))
    )
    time = MasterTime(CLOCK)
    time.learn(CLOCK.wall_ms())
    credentials, findings = Credentials(identity, time), FindingQueue()
    pool = ChannelPool(SocketDialer(), lambda _address: HELLO)
    resources.callback(pool.close)
    handlers = NodeHandlers(
        volume=volume,
        credentials=credentials,
        receiver=ChunkReceiver(volume, credentials, StreamSlots(), Chain(pool)),
        reader=ChunkReader(volume, credentials, findings),
        findings=findings,
        join_token=None,
    )
    listener = ThreadListener("127.0.0.1:0", handlers=handlers.table(), chunks=handlers, hello=handlers.hello)
    resources.callback(listener.stop)
    listener.start()
    return RunningNode(node_id, volume, listener, findings, listener.address)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RunningNode]]:
    """Three nodes."""
    with ExitStack() as resources:
        for number in (1, 2, 3):
            (tmp_path / f"volume-{number}").mkdir()
        yield [_start(number, tmp_path, resources) for number in (1, 2, 3)]


@pytest.fixture
def channel(nodes: list[RunningNode]) -> Iterator[Channel]:
    """A client's connection to the first node."""
    opened = SocketDialer().dial(nodes[0].address, HELLO)
    yield opened
    opened.close()


def write_ticket(data: bytes, hops: list[RunningNode]) -> WriteTicket:
    """What the master would sign."""
    blank = [Hop(node.node_id, node.address, b"") for node in hops]
    ids = [node.node_id for node in hops]
    ticket = WriteTicket(blake3(data).digest(), len(data), 1, CLOCK.wall_ms() + 60_000, b"n" * 16, blank)
    signed = [
        Hop(node.node_id, node.address, tickets.write_mac(key_of(node.node_id), CLUSTER, ticket, place, ids))
        for place, node in enumerate(hops)
    ]
    return WriteTicket(ticket.digest, ticket.size, 1, ticket.expires_at_ms, ticket.nonce, signed)


def read_ticket(digest: bytes, node_id: int) -> ReadTicket:
    """What the master would sign."""
    expires_at_ms = CLOCK.wall_ms() + 60_000
    mac = tickets.read_mac(key_of(node_id), CLUSTER, node_id, digest, expires_at_ms)
    return ReadTicket(digest, node_id, expires_at_ms, mac)


def put(channel: Channel, data: bytes, hops: list[RunningNode], sent: bytes | None = None) -> PutChunkReply:
    """Send a chunk, or other bytes in its place."""
    stream = channel.put(PutChunk(ticket=write_ticket(data, hops)))
    body = memoryview(data if sent is None else sent)
    for at in range(0, len(body), 300_000):
        stream.write(body[at : at + 300_000])
    return stream.finish()


def get(channel: Channel, digest: bytes, node_id: int, offset: int = 0, length: int = -1) -> tuple[bytes, bytes]:
    """A range and its CRCs."""
    stream = channel.get(GetChunk(ticket=read_ticket(digest, node_id), offset=offset, length=length))
    buffer = bytearray(stream.header.length)
    filled = 0
    while count := stream.read_into(memoryview(buffer)[filled:]):
        filled += count
    stream.close()
    assert filled == len(buffer)
    return bytes(buffer), stream.header.block_crcs


@pytest.mark.parametrize("size", [0, 1, 5_000, 1024 * 1024, 1024 * 1024 + 1, len(DATA)])
def test_a_chunk_goes_down_the_chain_and_comes_back(nodes: list[RunningNode], channel: Channel, size: int) -> None:
    """Eager and held-back bodies are stored at all three nodes and read back from each."""
    data, digest = chunk_of(size, seed=size)
    reply = put(channel, data, nodes)
    assert [receipt.node_id for receipt in reply.receipts] == [1, 2, 3]
    assert reply.failures == []
    for node in nodes:
        other = SocketDialer().dial(node.address, HELLO)
        assert get(other, digest, node.node_id)[0] == data
        other.close()
    assert channel.usable()


def test_a_range_is_verifiable(nodes: list[RunningNode], channel: Channel) -> None:
    """Only the blocks that hold the range cross the wire, each with its CRC."""
    put(channel, DATA, nodes[:1])
    body, crcs = get(channel, DIGEST, 1, offset=BLOCK_BYTES + 10, length=BLOCK_BYTES)
    assert body == DATA[BLOCK_BYTES : 3 * BLOCK_BYTES]
    blocks = [body[at : at + BLOCK_BYTES] for at in range(0, len(body), BLOCK_BYTES)]
    assert crcs == b"".join(crc32c(block).to_bytes(4, "big") for block in blocks)


def test_a_stopped_node_only_drops_out(nodes: list[RunningNode], channel: Channel) -> None:
    """With a pooled connection to it already made, the next put still gets the receipts of the others."""
    put(channel, chunk_of(100)[0], nodes)
    nodes[2].listener.stop()
    reply = put(channel, DATA, nodes)
    assert [receipt.node_id for receipt in reply.receipts] == [1, 2]
    assert [failure.node_id for failure in reply.failures] == [3]


@pytest.mark.parametrize("size", [200_000, len(DATA)], ids=["eager", "held back"])
def test_wrong_bytes_are_kept_nowhere(nodes: list[RunningNode], channel: Channel, size: int) -> None:
    """A body with another digest is discarded at every hop."""
    data, digest = chunk_of(size)
    with pytest.raises(DfsError):
        put(channel, data, nodes, sent=chunk_of(size, seed=9)[0])
    for node in nodes:
        assert node.volume.verify(digest).kind is FindingKind.MISSING


def test_a_client_that_goes_away_leaves_nothing(nodes: list[RunningNode], channel: Channel) -> None:
    """In the middle of a body the connection ends: no hop keeps a file, not even a temporary one."""
    stream = channel.put(PutChunk(ticket=write_ticket(DATA, nodes)))
    stream.write(memoryview(DATA)[:3_000_000])
    stream.abort()

    def files() -> list[Path]:
        return [path for node in nodes for path in (node.volume._path / "chunks").rglob("*") if path.is_file()]

    poll_for(lambda: files() == [])


def test_refusals_leave_the_connection_usable(nodes: list[RunningNode], channel: Channel) -> None:
    """A missing chunk and a bad ticket are errors of one request; the missing chunk is reported to the master."""
    with pytest.raises(NotFoundError):
        get(channel, hashlib.sha256(b"").digest(), 1)
    with pytest.raises(BadTicketError):
        get(channel, DIGEST, 2)
    with pytest.raises(BadTicketError):
        put(channel, DATA, [nodes[1], nodes[0]])
    assert [finding.kind for finding in nodes[0].findings.peek()] == [FindingKind.MISSING]
    assert put(channel, DATA, nodes[:1]).receipts


def test_receipts_are_renewed_over_the_wire(nodes: list[RunningNode], channel: Channel) -> None:
    """The list of receipts goes and comes as bodies."""
    receipts = put(channel, DATA, nodes[:1]).receipts
    answer = channel.call(RenewReceipts(), RenewReceiptsReply, encode(receipts))
    (renewed,) = decode(answer.body, list[Receipt])
    assert renewed.digest == DIGEST
    tickets.check_receipt(key_of(1), CLUSTER, renewed, CLOCK.wall_ms())


def test_a_stopped_listener_is_unavailable(nodes: list[RunningNode], channel: Channel) -> None:
    """The client learns it as an error that may be tried elsewhere."""
    nodes[0].listener.stop()
    with pytest.raises(UnavailableError):
        put(channel, DATA, nodes[:1])
