"""`GetChunk`, and the small verbs."""

from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from tests.support.nodes import CLUSTER, JOIN_TOKEN, Cluster, TestNode
from tests.support.volumes import WrappedDisk, chunk_of, store

from dfs_node.disk_volume import DiskVolume
from dfs_node.get_chunk import widen
from dfs_node.memory_volume import MemoryVolume
from dfs_node.volume import Volume
from dfs_node.volume_directory import chunk_path
from dfs_wire import tickets
from dfs_wire.errors import (
    BadCredentialError,
    BadTicketError,
    ChunkCorruptError,
    NotAllowedError,
    NotFoundError,
    UsageError,
)
from dfs_wire.limits import BLOCK_BYTES
from dfs_wire.messages import (
    FindingKind,
    GetChunk,
    Hello,
    Ping,
    ProveJoin,
    Role,
)
from dfs_wire.service import Session, check_handlers
from dfs_wire.verbs import Server

DATA, DIGEST = chunk_of(3 * BLOCK_BYTES + 100)


@pytest.fixture(params=["disk", "memory"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> TestNode:
    """A node that has the chunk."""
    volume: Volume = DiskVolume(tmp_path, WrappedDisk()) if request.param == "disk" else MemoryVolume()
    made = CLUSTER_OF_ONE.add(1, tmp_path, volume)
    store(volume, DATA, generation=6)
    return made


CLUSTER_OF_ONE = Cluster()


@given(size=st.integers(0, 500_000), data=st.data())
def test_a_range_is_widened_to_whole_blocks(size: int, data: st.DataObject) -> None:
    """The wider range holds the wanted one, begins and ends at a block or at the end, and is no wider than that."""
    offset = data.draw(st.integers(0, size))
    length = data.draw(st.integers(-1, size - offset))
    start, end = widen(offset, length, size)
    wanted_end = size if length < 0 else offset + length
    assert start <= offset <= wanted_end <= end <= size
    assert start % BLOCK_BYTES == 0
    assert end % BLOCK_BYTES == 0 or end == size
    assert offset - start < BLOCK_BYTES
    assert end - wanted_end < BLOCK_BYTES


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (11, 0), (-1, 2), (5, 6)])
def test_a_range_outside_is_refused(offset: int, length: int) -> None:
    """Nothing is guessed about a range that the chunk does not have."""
    with pytest.raises(UsageError):
        widen(offset, length, 10)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, -1), (0, 0), (1, 1), (BLOCK_BYTES, 5), (BLOCK_BYTES - 1, 2), (3 * BLOCK_BYTES + 99, 1)]
)
def test_a_range_comes_with_its_crcs(node: TestNode, offset: int, length: int) -> None:
    """The reader can verify each block of what it gets."""
    request = GetChunk(ticket=CLUSTER_OF_ONE.read_ticket(DIGEST, 1), offset=offset, length=length)
    answer = node.handlers.get_chunk(node.session, request)
    header = answer.header
    body = answer.source.read(0, header.length)
    assert (header.size, header.generation) == (len(DATA), 6)
    assert body == DATA[header.offset : header.offset + header.length]
    blocks = [body[at : at + BLOCK_BYTES] for at in range(0, len(body), BLOCK_BYTES)]
    assert header.block_crcs == b"".join(crc32c(block).to_bytes(4, "big") for block in blocks)
    descriptor = answer.source.fileno()
    if descriptor is not None:
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(answer.source.file_offset)
            assert file.read(header.length) == body
    answer.source.close()


def test_a_read_ticket_is_for_one_chunk_one_node_and_a_time(node: TestNode) -> None:
    """Any other chunk, node, time or MAC is refused, before it is said whether the chunk exists."""
    good = CLUSTER_OF_ONE.read_ticket(DIGEST, 1)
    for bad in (
        msgspec.structs.replace(good, digest=bytes(32)),
        msgspec.structs.replace(good, node_id=2),
        msgspec.structs.replace(good, expires_at_ms=good.expires_at_ms + 1),
        msgspec.structs.replace(good, mac=bytes(32)),
        msgspec.structs.replace(good, mac=b""),
        CLUSTER_OF_ONE.read_ticket(DIGEST, 1, seconds=-1),
        CLUSTER_OF_ONE.read_ticket(DIGEST, 2),
    ):
        with pytest.raises(BadTicketError):
            node.handlers.get_chunk(node.session, GetChunk(ticket=bad))


def test_a_missing_chunk_is_reported(node: TestNode) -> None:
    """The reader is told, and so is the master with the next heartbeat."""
    _, absent = chunk_of(77, 7)
    with pytest.raises(NotFoundError):
        node.handlers.get_chunk(node.session, GetChunk(ticket=CLUSTER_OF_ONE.read_ticket(absent, 1)))
    assert [(each.digest, each.kind) for each in node.findings.peek()] == [(absent, FindingKind.MISSING)]


def test_a_bad_header_is_reported(tmp_path: Path) -> None:
    """A chunk file that cannot be trusted is not handed out; the master hears why."""
    node = CLUSTER_OF_ONE.add(1, tmp_path, DiskVolume(tmp_path, WrappedDisk()))
    store(node.volume, DATA)
    path = chunk_path(tmp_path, DIGEST)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ChunkCorruptError):
        node.handlers.get_chunk(node.session, GetChunk(ticket=CLUSTER_OF_ONE.read_ticket(DIGEST, 1)))
    assert [(each.kind, each.detail) for each in node.findings.peek()] == [(FindingKind.CORRUPT, "truncated")]


def test_prove_join(node: TestNode) -> None:
    """The proof is the MAC of the nonce under the token; a node without a token gives none."""
    answer = node.handlers.prove_join(node.session, ProveJoin(nonce=b"once"), b"")
    assert answer.header.mac == tickets.join_proof(JOIN_TOKEN, b"once")
    node.handlers._join_token = None
    with pytest.raises(NotAllowedError):
        node.handlers.prove_join(node.session, ProveJoin(nonce=b"once"), b"")


def test_hello_takes_tickets_only(node: TestNode) -> None:
    """Keys have no business at a node."""
    assert node.handlers.hello(Session("x"), Hello(role=Role.TICKET)).cluster_id == CLUSTER
    for role in set(Role) - {Role.TICKET}:
        with pytest.raises(BadCredentialError):
            node.handlers.hello(Session("x"), Hello(role=role, credential=b"k" * 32))


def test_every_verb_of_a_node_is_served(node: TestNode) -> None:
    """The table of verbs and the handlers agree."""
    check_handlers(set(node.handlers.table()), Server.NODE, chunk_verbs=True)
    node.handlers.ping(node.session, Ping(), b"")
