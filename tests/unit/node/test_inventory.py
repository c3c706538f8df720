"""A node's inventory: every chunk in some page, no gap between pages, once a term and then at its time."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.support.nodes import CLUSTER, key_of
from tests.support.volumes import chunk_of, store

from dfs_node import inventory
from dfs_node.findings import FINDINGS_MAX, FindingQueue
from dfs_node.identity import Identity, IdentityFile
from dfs_node.inventory import AGAIN_SECONDS, InventorySender, Page, cut, following
from dfs_node.master_time import MasterTime
from dfs_node.memory_volume import MemoryVolume
from dfs_runtime.clock import ManualClock
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode
from dfs_wire.errors import ConnectFailedError
from dfs_wire.limits import INVENTORY_PAGE_CHUNKS_MAX

R = TypeVar("R", bound=m.Header)
LEAST, GREATEST = bytes(32), b"\xff" * 32


class Master:
    """Takes pages, asks about what it is told to; a `Dialer` and its channel in one."""

    def __init__(self) -> None:
        self.pages: list[tuple[m.Inventory, list[m.InventoryChunk]]] = []
        self.asks: list[m.InventoryAsk] = []
        self.reachable = True
        self.meanwhile: Callable[[], object] = lambda: None
        self.hellos: list[m.Hello] = []

    def dial(self, _address: str, hello: m.Hello) -> "Master":
        if not self.reachable:
            raise ConnectFailedError("no master")
        self.hellos.append(hello)
        return self

    def call(self, request: Any, _reply: type[R], body: bytes = b"", *, seconds: float = 30.0) -> Answer[Any]:
        del seconds
        self.pages.append((request, decode(body, list[m.InventoryChunk])))
        self.meanwhile()
        mine = [each for each in self.asks if request.first <= each.digest <= request.last]
        return Answer(m.InventoryReply(), encode(mine))

    def close(self) -> None:
        pass


class Setup:
    """A node over a fake master."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.volume = MemoryVolume(clock=self.clock)
        self.findings = FindingQueue()
        self.master = Master()
        time = MasterTime(self.clock)
        time.learn(self.clock.wall_ms())
        known = Identity(cluster_id=CLUSTER, node_id=7, node_key=key_of(7), registration=3)
        self.identity = IdentityFile(path / "identity", known)
        self.sender = InventorySender(
            volume=self.volume,
            findings=self.findings,
            identity=self.identity,
            time=time,
            clock=self.clock,
            dialer=self.master,  # type: ignore[arg-type]
            master_address="master:5000",
            software="test",
        )


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """A registered node."""
    return Setup(tmp_path)


def test_pages_cover_everything_without_a_gap(setup: Setup) -> None:
    """From the least digest to the greatest, each chunk in the page of its range, with its age."""
    digests = {store(setup.volume, chunk_of(500, seed)[0]).digest for seed in range(300)}
    setup.clock.advance(5)
    setup.sender.follow(epoch=1, seconds=100)
    setup.sender.step()
    requests = [request for request, _ in setup.master.pages]
    assert requests[0].first == LEAST
    assert requests[-1].last == GREATEST
    assert all(following(before.last) == after.first for before, after in pairwise(requests))
    listed = [(request, each) for request, chunks in setup.master.pages for each in chunks]
    assert {each.digest for _, each in listed} == digests
    assert len(listed) == 300
    assert all(request.first <= each.digest <= request.last for request, each in listed)
    assert {each.age_ms for _, each in listed} == {5_000}
    assert {(request.node_id, request.registration) for request in requests} == {(7, 3)}
    assert setup.master.hellos[0].role is m.Role.NODE


def test_all_pages_are_of_one_registration(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it registers anew on the way, the master refuses the rest, and all is sent again."""
    monkeypatch.setattr(inventory, "PAGE_CHUNKS", 10)
    for seed in range(50):
        store(setup.volume, chunk_of(500, seed)[0])
    setup.master.meanwhile = setup.identity.propose_registration
    setup.sender.follow(epoch=1, seconds=100)
    setup.sender.step()
    assert len(setup.master.pages) > 1
    assert {request.registration for request, _ in setup.master.pages} == {3}


def test_a_page_is_cut_where_it_would_be_too_long() -> None:
    """The parts cover the same range."""
    chunks = [m.InventoryChunk(bytes([each]) * 32, 1, 1, 0) for each in (9, 3, 7, 1, 5)]
    parts = list(cut(Page(LEAST, 5, GREATEST, chunks), most=2))
    assert [[each.digest[0] for each in part.chunks] for part in parts] == [[1, 3], [5, 7], [9]]
    assert (parts[0].first, parts[-1].last) == (LEAST, GREATEST)
    assert [part.first for part in parts[1:]] == [following(part.last) for part in parts[:-1]]
    assert {part.started_at_ms for part in parts} == {5}
    (empty,) = cut(Page(LEAST, 5, GREATEST), most=INVENTORY_PAGE_CHUNKS_MAX)
    assert (empty.first, empty.last, empty.chunks) == (LEAST, GREATEST, [])


def test_once_a_term_and_then_at_its_time(setup: Setup) -> None:
    """Not before a master was heard; again for a new term, and after the seconds of the rules."""
    setup.sender.step()
    assert not setup.master.pages
    setup.sender.follow(epoch=1, seconds=100)
    setup.sender.step()
    assert len(setup.master.pages) == 1
    setup.sender.follow(epoch=1, seconds=0)
    setup.clock.advance(99)
    setup.sender.step()
    assert len(setup.master.pages) == 1
    setup.clock.advance(1)
    setup.sender.step()
    assert len(setup.master.pages) == 2
    setup.sender.follow(epoch=2, seconds=100)
    setup.sender.step()
    assert len(setup.master.pages) == 3


def test_an_attempt_that_failed_is_made_again(setup: Setup) -> None:
    """Soon, and whole."""
    setup.master.reachable = False
    setup.sender.follow(epoch=1, seconds=100)
    assert setup.sender.step() == AGAIN_SECONDS
    setup.master.reachable = True
    setup.sender.step()
    assert len(setup.master.pages) == 1


def test_it_looks_at_what_the_master_asks_about(setup: Setup) -> None:
    """Good, bad, missing; a copy that is to be taken in is told as stored, if it is good."""
    good, bad, adopted, worse = (store(setup.volume, chunk_of(500, seed)[0]).digest for seed in range(4))
    setup.volume.tamper(bad)
    setup.volume.tamper(worse)
    missing = b"\x42" * 32
    setup.master.asks = [m.InventoryAsk(each) for each in (good, bad, missing)]
    setup.master.asks += [m.InventoryAsk(each, adopt=True) for each in (adopted, worse)]
    setup.sender.follow(epoch=1, seconds=100)
    setup.sender.step()
    assert {finding.digest: finding.kind for finding in setup.findings.peek()} == {
        good: m.FindingKind.GOOD,
        bad: m.FindingKind.CORRUPT,
        missing: m.FindingKind.MISSING,
        adopted: m.FindingKind.STORED,
        worse: m.FindingKind.CORRUPT,
    }


def test_findings_that_find_no_room_end_it_until_later(setup: Setup) -> None:
    """Heartbeats take them away in the meantime; nothing is dropped without a second chance."""
    for number in range(FINDINGS_MAX):
        setup.findings.add(m.Finding(number.to_bytes(32, "big"), 1, m.FindingKind.GOOD))
    setup.master.asks = [m.InventoryAsk(b"\x42" * 32)]
    setup.sender.follow(epoch=1, seconds=100)
    assert setup.sender.step() == AGAIN_SECONDS
    setup.findings.told(setup.findings.peek())
    setup.sender.step()
    assert b"\x42" * 32 in {each.digest for each in drained(setup.findings)}


def drained(findings: FindingQueue) -> list[m.Finding]:
    """All that waits."""
    told: list[m.Finding] = []
    while batch := findings.peek():
        told += batch
        findings.told(batch)
    return told


def test_it_is_sent_at_once_where_the_master_wants_one(setup: Setup) -> None:
    """Whenever the last one was; and once only."""
    setup.sender.follow(epoch=1, seconds=100_000)
    setup.sender.step()
    setup.sender.step()
    assert len(setup.master.hellos) == 1
    setup.sender.send_soon()
    setup.sender.step()
    setup.sender.step()
    assert len(setup.master.hellos) == 2
