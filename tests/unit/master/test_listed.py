"""Which copies a node answers for: a whole inventory of its present process, and what it left in doubt."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.masters import Master, running_master

from dfs_master import listed
from dfs_master.listed import Listed, Listings
from dfs_master.membership import LIVE, KnownNode
from dfs_master.registry import NodeRegistry
from dfs_master.unsure import unsure_nodes
from dfs_runtime.clock import ManualClock
from dfs_wire import messages as m
from dfs_wire.codec import encode_list
from dfs_wire.service import Session

LEAST, GREATEST = bytes(32), b"\xff" * 32
HALF = b"\x7f" + b"\xff" * 31
SECOND = b"\x80" + bytes(31)
A, B = b"\x01" * 32, b"\x91" * 32
NODE = 7


def taken(
    listings: Listings,
    first: bytes = LEAST,
    last: bytes = GREATEST,
    *,
    doubts: Mapping[bytes, int] | None = None,
    registration: int = 1,
) -> Listed | None:
    """One page of the node."""
    return listings.take(NODE, registration, first, last, doubts or {})


def test_an_inventory_is_whole_with_its_last_page() -> None:
    """The doubts of all its pages are the node's, each until something was learnt of the copy."""
    listings = Listings()
    assert taken(listings, LEAST, HALF, doubts={A: 5}) is None
    found = taken(listings, SECOND, GREATEST, doubts={B: 6})
    assert found is not None
    assert [found.vouches(A, 5), found.vouches(A, 9), found.vouches(B, 6)] == [False, True, False]
    assert found.vouches(b"\x02" * 32, 5)
    assert taken(listings, SECOND, GREATEST) is None


@pytest.mark.parametrize(("first", "registration"), [(SECOND, 2), (B, 1), (HALF, 1)])
def test_pages_that_do_not_belong_together_make_no_inventory(first: bytes, registration: int) -> None:
    """A gap, an overlap, and pages of two registrations; a new beginning is one."""
    listings = Listings()
    taken(listings, LEAST, HALF)
    assert taken(listings, first, GREATEST, registration=registration) is None
    assert taken(listings, SECOND, GREATEST) is None
    taken(listings, LEAST, HALF, doubts={A: 5})
    taken(listings, LEAST, HALF)
    again = taken(listings, SECOND, GREATEST)
    assert again is not None
    assert again.vouches(A, 5)


def test_too_many_doubts_are_a_doubt_of_the_whole_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept in memory, so their number is bounded."""
    monkeypatch.setattr(listed, "DOUBTS_MAX", 1)
    assert taken(Listings(), doubts={A: 5}) is not None
    assert taken(Listings(), doubts={A: 5, B: 5}) is None


@pytest.mark.parametrize(("instance", "counts"), [(b"one", True), (b"another", False), (b"", False)])
def test_only_the_process_that_listed_its_chunks_answers_for_them(instance: bytes, counts: bool) -> None:
    """One that was cut off comes back with what it had; another one has to list anew."""
    registry = NodeRegistry(ManualClock(), [])
    node = KnownNode(NODE, "n", "n:1", "n:1", state=LIVE, registration=1)
    registry.registered(node, Session("n:2"), b"one")
    assert not registry.nodes[NODE].vouches(A, 5)
    registry.change(NODE, lambda known: listed_node(known))
    registry.registered(node, Session("n:3"), instance)
    assert registry.nodes[NODE].vouches(A, 5) is counts


def listed_node(node: KnownNode) -> KnownNode:
    """The node after a whole inventory."""
    return KnownNode(node.id, node.name, "n:1", "n:1", state=LIVE, registration=1, heard=True, listed=Listed())


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """Without nodes."""
    with running_master(tmp_path / "master") as running:
        yield running


def test_a_node_is_unsure_until_it_has_looked_at_all_that_its_inventory_lacked(master: Master) -> None:
    """Then a drain may rely on its copies."""
    session, joined = master.join("a", lists=False)
    _, other = master.join("b")
    master.upload("/f", b"content", [joined.node_id, other.node_id])
    cluster = master.cluster
    digest = blake3(b"content").digest()

    def unsure() -> tuple[int, ...]:
        return unsure_nodes([cluster.registry.nodes[joined.node_id]], cluster.reader)

    assert unsure() == (joined.node_id,)
    assert master.list_nothing(session, joined.node_id) == [m.InventoryAsk(digest)]
    assert unsure() == (joined.node_id,)
    master.clock.advance(1)
    beat = m.Heartbeat(node_id=joined.node_id, registration=1, capacity_bytes=1, used_bytes=0, free_bytes=1)
    master.ask(session, beat, encode_list([m.Finding(digest, 1, m.FindingKind.GOOD)]))
    assert unsure() == ()
