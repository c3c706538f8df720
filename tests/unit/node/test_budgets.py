"""A node and tickets taken ahead: what it counts, what it refuses, and what a restart does to them."""

from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from tests.support.nodes import CLUSTER, Cluster, FakeBody, TestNode, address_of, key_of

from dfs_node.budgets import AheadBudgets
from dfs_wire import tickets
from dfs_wire.errors import BadTicketError, NotFoundError, ProtocolError
from dfs_wire.limits import AHEAD_CHUNK_BYTES_MAX, AHEAD_CHUNK_BYTES_MIN, KIB
from dfs_wire.messages import Hop, PutChunk, PutChunkReply, WriteTicket

SECRET = b"s" * 32


def taken(cluster: Cluster, hops: list[int], *, bytes_max: int = 64 * KIB, nonce: bytes = b"n" * 16) -> WriteTicket:
    """A ticket as the master gives it now."""
    cluster.clock.advance(0.01)
    now_ms = cluster.clock.wall_ms()
    bare = WriteTicket(
        b"",
        0,
        5,
        now_ms + 60_000,
        nonce,
        [],
        bytes_max=bytes_max,
        issued_at_ms=now_ms,
        holder=tickets.holder_of(SECRET),
    )
    signed = [
        Hop(node_id, address_of(node_id), tickets.ahead_mac(key_of(node_id), CLUSTER, bare, place, hops))
        for place, node_id in enumerate(hops)
    ]
    return msgspec.structs.replace(bare, hops=signed)


def put(node: TestNode, ticket: WriteTicket, data: bytes, *, hop: int = 0, secret: bytes = SECRET) -> PutChunkReply:
    """One chunk under the ticket."""
    filled = msgspec.structs.replace(ticket, digest=blake3(data).digest(), size=len(data))
    request = PutChunk(ticket=filled, hop=hop, secret=secret)
    return node.handlers.put_chunk(node.session, request, FakeBody(data))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Two nodes."""
    made = Cluster()
    for node_id in (1, 2):
        made.add(node_id, tmp_path)
    return made


def test_one_ticket_stores_many_chunks_on_all_hops(cluster: Cluster) -> None:
    """Every chunk gets receipts of both nodes, under the ticket's generation."""
    ticket = taken(cluster, [1, 2])
    for number in range(10):
        data = bytes([number]) * 1_000
        reply = put(cluster.nodes[address_of(1)], ticket, data)
        assert cluster.check_receipts(reply.receipts, blake3(data).digest()) == [1, 2]
        assert {receipt.generation for receipt in reply.receipts} == {5}
        assert reply.failures == []


def test_the_budget_is_counted_by_every_hop(cluster: Cluster) -> None:
    """What was used up at the second node is refused there, even where the first is asked for the first time."""
    ticket = taken(cluster, [1, 2], bytes_max=3 * AHEAD_CHUNK_BYTES_MIN)
    second = cluster.nodes[address_of(2)]
    for number in range(3):
        put(second, ticket, bytes([number]), hop=1)
    with pytest.raises(BadTicketError, match="used up"):
        put(second, ticket, b"more", hop=1)
    reply = put(cluster.nodes[address_of(1)], ticket, b"more")
    assert [receipt.node_id for receipt in reply.receipts] == [1]
    assert [(failure.node_id, failure.code) for failure in reply.failures] == [(2, BadTicketError.code)]


def test_bytes_are_counted_not_only_chunks(cluster: Cluster) -> None:
    """A chunk that does not fit into what is left is refused, and a smaller one still taken."""
    ticket = taken(cluster, [1], bytes_max=20 * KIB)
    node = cluster.nodes[address_of(1)]
    put(node, ticket, b"a" * 15 * KIB)
    with pytest.raises(BadTicketError, match="used up"):
        put(node, ticket, b"b" * 6 * KIB)
    put(node, ticket, b"c" * 5 * KIB)
    with pytest.raises(BadTicketError, match="used up"):
        put(node, ticket, b"d")


def test_a_refused_chunk_leaves_nothing(cluster: Cluster) -> None:
    """Forged, expired, for another holder or too large: no byte is stored."""
    node, data = cluster.nodes[address_of(1)], b"x" * 100
    good = taken(cluster, [1])
    forged = msgspec.structs.replace(good, hops=[Hop(1, address_of(1), b"f" * 32)])
    richer = msgspec.structs.replace(good, bytes_max=good.bytes_max * 2)
    for ticket in (forged, richer, taken(cluster, [2])):
        with pytest.raises(BadTicketError):
            put(node, ticket, data)
    with pytest.raises(BadTicketError):
        put(node, good, data, secret=b"guess")
    with pytest.raises(BadTicketError):
        put(node, good, data, hop=1)
    with pytest.raises(BadTicketError, match="plan this one"):
        put(node, taken(cluster, [1], bytes_max=1 << 40), b"l" * (AHEAD_CHUNK_BYTES_MAX + 1))
    cluster.clock.advance(61)
    with pytest.raises(BadTicketError, match="expired"):
        put(node, good, data)
    with pytest.raises(NotFoundError):
        node.volume.open(blake3(data).digest())


def test_a_restarted_node_refuses_what_was_issued_before(cluster: Cluster, tmp_path: Path) -> None:
    """1. A ticket is used up. 2. The node restarts and has forgotten that. 3. The ticket is refused all the same, and
    a new one is taken.
    """
    ticket = taken(cluster, [1], bytes_max=AHEAD_CHUNK_BYTES_MIN)
    put(cluster.nodes[address_of(1)], ticket, b"first")
    cluster.clock.advance(1)
    restarted = cluster.add(1, tmp_path)
    with pytest.raises(BadTicketError, match="while this node counts"):
        put(restarted, ticket, b"again")
    put(restarted, taken(cluster, [1], nonce=b"o" * 16), b"again")


def test_a_body_of_another_length_is_refused(cluster: Cluster) -> None:
    """The size in the ticket is what is counted, so it must be what comes."""
    ticket = taken(cluster, [1])
    filled = msgspec.structs.replace(ticket, digest=bytes(32), size=10)
    node = cluster.nodes[address_of(1)]
    with pytest.raises(ProtocolError):
        node.handlers.put_chunk(node.session, PutChunk(ticket=filled, secret=SECRET), FakeBody(b"x" * 5_000))


def test_memory_is_bounded_and_nothing_is_forgotten_too_early() -> None:
    """Full of living tickets, others are refused; expired ones make room."""
    budgets = AheadBudgets(tickets_max=3)

    def ticket(number: int, expires_at_ms: int) -> WriteTicket:
        return WriteTicket(bytes(32), 1, 1, expires_at_ms, bytes([number]) * 16, [], bytes_max=AHEAD_CHUNK_BYTES_MIN)

    for number in range(3):
        budgets.spend(ticket(number, 100 + number), now_ms=0)
    with pytest.raises(BadTicketError, match="as many"):
        budgets.spend(ticket(9, 500), now_ms=99)
    with pytest.raises(BadTicketError, match="used up"):
        budgets.spend(ticket(0, 100), now_ms=99)
    budgets.spend(ticket(9, 500), now_ms=100)
    assert len(budgets) == 3
