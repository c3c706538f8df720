"""`PutChunk`: the chain, and what each hop answers whatever fails."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from tests.support.nodes import Cluster, FakeBody, address_of
from tests.support.volumes import FaultyVolume, chunk_of, store

from dfs_node.memory_volume import MemoryVolume
from dfs_wire.errors import (
    BadTicketError,
    BusyError,
    ConnectFailedError,
    CorruptError,
    DfsError,
    NoSpaceError,
    ProtocolError,
    UnavailableError,
    VolumeFailedError,
)
from dfs_wire.limits import MIB, NODE_BLIND_SECONDS
from dfs_wire.messages import FindingKind, Hop, WriteTicket

DATA, DIGEST = chunk_of(2_500_000)


@pytest.fixture
def cluster() -> Cluster:
    """No nodes yet."""
    return Cluster()


def has(cluster: Cluster, node_id: int) -> bool:
    """Whether a node keeps a good copy."""
    return cluster.nodes[address_of(node_id)].volume.verify(DIGEST).kind is FindingKind.GOOD


def test_a_chain_of_three_stores_everywhere(cluster: Cluster, tmp_path: Path) -> None:
    """The client sends once; all hops store, and sign receipts that the master accepts."""
    first, *_ = (cluster.add(node_id, tmp_path) for node_id in (1, 2, 3))
    body = FakeBody(DATA)
    reply = first.put(cluster.ticket(DATA, [1, 2, 3], generation=5), body)
    assert body.told_to_go_on
    assert cluster.check_receipts(reply.receipts, DIGEST) == [1, 2, 3]
    assert [receipt.generation for receipt in reply.receipts] == [5, 5, 5]
    assert reply.failures == []
    assert all(has(cluster, node_id) for node_id in (1, 2, 3))


def test_deadlines_shrink_by_hop(cluster: Cluster, tmp_path: Path) -> None:
    """The hop behind gives up before the hop ahead, so that the answer can still travel back."""
    first, *_ = (cluster.add(node_id, tmp_path) for node_id in (1, 2, 3, 4))
    first.put(cluster.ticket(DATA, [1, 2, 3, 4]), FakeBody(DATA))
    seconds = [event.split()[-2] for event in cluster.events if event.startswith("put")]
    assert seconds == ["20", "10", "10"]


def test_an_unreachable_next_hop_is_named(cluster: Cluster, tmp_path: Path) -> None:
    """This hop stores alone and says who did not answer, and why."""
    first = cluster.add(1, tmp_path)
    cluster.down.add(address_of(2))
    reply = first.put(cluster.ticket(DATA, [1, 2]), FakeBody(DATA))
    assert cluster.check_receipts(reply.receipts, DIGEST) == [1]
    assert [(failure.node_id, failure.code) for failure in reply.failures] == [(2, "connect_failed")]


def test_a_next_hop_that_stalls_is_dropped(cluster: Cluster, tmp_path: Path) -> None:
    """A hop that fails in the middle of the body costs only itself."""
    first, _ = cluster.add(1, tmp_path), cluster.add(2, tmp_path)
    cluster.broken_after[address_of(2)] = 1_000_000
    reply = first.put(cluster.ticket(DATA, [1, 2]), FakeBody(DATA))
    assert cluster.check_receipts(reply.receipts, DIGEST) == [1]
    assert reply.failures[0].node_id == 2
    assert f"abort {address_of(2)}" in cluster.events
    assert has(cluster, 1)
    assert not has(cluster, 2)


def test_failures_further_down_travel_back(cluster: Cluster, tmp_path: Path) -> None:
    """The reply names every node that did not store, wherever it stood."""
    first, _ = cluster.add(1, tmp_path), cluster.add(2, tmp_path)
    cluster.down.add(address_of(3))
    reply = first.put(cluster.ticket(DATA, [1, 2, 3]), FakeBody(DATA))
    assert cluster.check_receipts(reply.receipts, DIGEST) == [1, 2]
    assert [failure.node_id for failure in reply.failures] == [3]


@pytest.mark.parametrize("operation", ["write", "commit"])
@pytest.mark.parametrize("error", [NoSpaceError("full"), VolumeFailedError("broken")], ids=["full", "failed"])
def test_a_local_failure_spares_the_hops_behind(
    cluster: Cluster, tmp_path: Path, operation: str, error: DfsError
) -> None:
    """This hop's disk fails, the next one's does not: the answer has that one's receipt and our failure."""
    volume = FaultyVolume(MemoryVolume())
    volume.plan(operation, error)
    first, _ = cluster.add(1, tmp_path, volume), cluster.add(2, tmp_path)
    reply = first.put(cluster.ticket(DATA, [1, 2]), FakeBody(DATA))
    assert cluster.check_receipts(reply.receipts, DIGEST) == [2]
    assert [(failure.node_id, failure.code) for failure in reply.failures] == [(1, error.code)]


@pytest.mark.parametrize("operation", ["write", "commit"])
@pytest.mark.parametrize("hops", [[1], [1, 2]], ids=["alone", "next unreachable"])
def test_if_nobody_stores_it_is_an_error(cluster: Cluster, tmp_path: Path, operation: str, hops: list[int]) -> None:
    """No receipt at all is no reply: the local error is raised."""
    volume = FaultyVolume(MemoryVolume())
    volume.plan(operation, VolumeFailedError("broken"))
    cluster.down.add(address_of(2))
    with pytest.raises(VolumeFailedError):
        cluster.add(1, tmp_path, volume).put(cluster.ticket(DATA, hops), FakeBody(DATA))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (lambda: FakeBody(chunk_of(len(DATA), 1)[0]), CorruptError),
        (lambda: FakeBody(DATA[:-1], size=len(DATA)), CorruptError),
        (lambda: FakeBody(DATA, breaks_at=1_200_000), ConnectFailedError),
    ],
    ids=["other bytes", "too short", "sender gone"],
)
def test_a_bad_body_is_discarded_at_every_hop(
    cluster: Cluster, tmp_path: Path, body: Callable[[], FakeBody], error: type[DfsError]
) -> None:
    """No hop keeps a chunk whose bytes did not all arrive, and the way to the next one is closed."""
    first, second = cluster.add(1, tmp_path), cluster.add(2, tmp_path)
    with pytest.raises(error):
        first.put(cluster.ticket(DATA, [1, 2]), body())
    assert not has(cluster, 1)
    assert not has(cluster, 2)
    assert cluster.events[-1] == f"abort {address_of(2)}"
    assert second.volume.usage().used_bytes == 0


def _altered(ticket: WriteTicket, **changes: object) -> WriteTicket:
    return msgspec.structs.replace(ticket, **changes)


@pytest.mark.parametrize(
    "alter",
    [
        lambda ticket: _altered(ticket, digest=bytes(32)),
        lambda ticket: _altered(ticket, size=ticket.size + 1),
        lambda ticket: _altered(ticket, generation=9),
        lambda ticket: _altered(ticket, expires_at_ms=ticket.expires_at_ms + 1),
        lambda ticket: _altered(ticket, nonce=b"x" * 16),
        lambda ticket: _altered(ticket, hops=[ticket.hops[0]]),
        lambda ticket: _altered(ticket, hops=[ticket.hops[0], Hop(3, "node-3:5000", ticket.hops[1].mac)]),
        lambda ticket: _altered(ticket, hops=list(reversed(ticket.hops))),
        lambda ticket: _altered(ticket, hops=[]),
    ],
)
def test_an_altered_ticket_is_refused_before_the_body(
    cluster: Cluster, tmp_path: Path, alter: Callable[[WriteTicket], WriteTicket]
) -> None:
    """Any field that is not what the master signed makes the ticket worthless; nothing is read or reserved."""
    body = FakeBody(DATA)
    with pytest.raises(BadTicketError):
        cluster.add(1, tmp_path).put(alter(cluster.ticket(DATA, [1, 2])), body)
    assert not body.told_to_go_on
    assert body.read == 0


@pytest.mark.parametrize("hop", [-1, 1, 2])
def test_a_ticket_is_for_one_place_in_the_chain(cluster: Cluster, tmp_path: Path, hop: int) -> None:
    """A hop takes no ticket at another place than its own."""
    with pytest.raises(BadTicketError):
        cluster.add(1, tmp_path).put(cluster.ticket(DATA, [1, 2]), FakeBody(DATA), hop)


def test_an_expired_ticket_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """Expiry is judged in the master's time, carried on."""
    node = cluster.add(1, tmp_path)
    ticket = cluster.ticket(DATA, [1], seconds=60)
    cluster.clock.advance(59)
    node.put(ticket, FakeBody(DATA))
    cluster.clock.advance(2)
    with pytest.raises(BadTicketError):
        node.put(ticket, FakeBody(DATA))


def test_a_blind_node_takes_no_tickets(cluster: Cluster, tmp_path: Path) -> None:
    """A node that heard nothing for five minutes does not know the time, and says so; one word of the master helps."""
    node = cluster.add(1, tmp_path)
    cluster.clock.advance(NODE_BLIND_SECONDS + 1)
    with pytest.raises(UnavailableError):
        node.put(cluster.ticket(DATA, [1]), FakeBody(DATA))
    node.time.learn(cluster.clock.wall_ms())
    node.put(cluster.ticket(DATA, [1]), FakeBody(DATA))


def test_no_free_slot_is_busy_before_the_body(cluster: Cluster, tmp_path: Path) -> None:
    """Slots are counted by place: with all first places taken, a second place is still free."""
    first, _ = cluster.add(1, tmp_path), cluster.add(2, tmp_path)
    with first.slots.take(0), first.slots.take(0):
        body = FakeBody(DATA)
        with pytest.raises(BusyError):
            first.put(cluster.ticket(DATA, [1]), body)
        assert body.read == 0
        first.put(cluster.ticket(DATA, [2, 1]), FakeBody(DATA), hop=1)
    first.put(cluster.ticket(DATA, [1]), FakeBody(DATA))


def test_a_busy_next_hop_only_drops_out(cluster: Cluster, tmp_path: Path) -> None:
    """The next plan excludes it; this copy is not lost."""
    first, second = cluster.add(1, tmp_path), cluster.add(2, tmp_path)
    with second.slots.take(1), second.slots.take(1):
        reply = first.put(cluster.ticket(DATA, [1, 2]), FakeBody(DATA))
    assert cluster.check_receipts(reply.receipts, DIGEST) == [1]
    assert [failure.code for failure in reply.failures] == ["busy"]


def test_a_full_volume_refuses_before_the_body(cluster: Cluster, tmp_path: Path) -> None:
    """Space is settled before the sender is told to go on."""
    body = FakeBody(DATA)
    with pytest.raises(NoSpaceError):
        cluster.add(1, tmp_path, MemoryVolume(MIB)).put(cluster.ticket(DATA, [1]), body)
    assert not body.told_to_go_on


def test_a_known_chunk_is_received_and_still_forwarded(cluster: Cluster, tmp_path: Path) -> None:
    """The copy that is here gets the receipt with its own generation, and the next hop gets the bytes."""
    first, _ = cluster.add(1, tmp_path), cluster.add(2, tmp_path)
    store(first.volume, DATA, generation=9)
    reply = first.put(cluster.ticket(DATA, [1, 2], generation=4), FakeBody(DATA))
    assert [(receipt.node_id, receipt.generation) for receipt in reply.receipts] == [(1, 9), (2, 4)]


def test_a_body_of_another_length_is_a_broken_protocol(cluster: Cluster, tmp_path: Path) -> None:
    """The frame's length and the ticket's size must agree."""
    with pytest.raises(ProtocolError):
        cluster.add(1, tmp_path).put(cluster.ticket(DATA, [1]), FakeBody(DATA + b"x"))


def test_slots_and_buffers_come_back(cluster: Cluster, tmp_path: Path) -> None:
    """However a put ends, its slot is free afterwards."""
    node = cluster.add(1, tmp_path)
    for _ in range(5):
        with pytest.raises(CorruptError):
            node.put(cluster.ticket(DATA, [1]), FakeBody(blake3(b"").digest(length=len(DATA))))
    node.put(cluster.ticket(DATA, [1]), FakeBody(DATA))
