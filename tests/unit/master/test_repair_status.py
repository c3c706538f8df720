"""How repair stands, in words: what a person must know, the most important first."""

from dfs_master.mass_failure import MassFailure
from dfs_master.membership import KnownNode, Timing
from dfs_master.repair_rules import Obstacle
from dfs_master.repair_status import reasons, seconds_left, state_of
from dfs_master.repairer import RepairView

NOW, NOW_MS = 1_000.0, 1_700_000_000_000


def node(number: int, **fields: object) -> KnownNode:
    """A live one, heard just now."""
    usual: dict[str, object] = {"state": "live", "heard": True, "heard_at": NOW}
    return KnownNode(number, f"node-{number}", "a:1", "a:1", **{**usual, **fields})  # type: ignore[arg-type]


def told(view: RepairView, *nodes: KnownNode, held: str = "") -> list[str]:
    """The sentences."""
    return reasons(view, {each.id: each for each in nodes}, NOW, NOW_MS, Timing(), held)


def test_states() -> None:
    """Nothing to do; at it; nothing possible; a decision needed; not allowed yet; silence waited out."""
    live = {1: node(1)}
    failure = MassFailure(frozenset({1}), "2 of 3 nodes vanished at once")
    assert state_of(RepairView(), live, is_held=False) == "idle"
    assert state_of(RepairView(), live, is_held=True) == "waiting"
    assert state_of(RepairView(chunks_left=3, under_way=1), live, is_held=False) == "working"
    assert state_of(RepairView(chunks_left=3, stuck={Obstacle.NO_ROOM: 3}), live, is_held=False) == "waiting"
    assert state_of(RepairView(failures=(failure,)), live, is_held=False) == "stopped"
    assert state_of(RepairView(), {1: node(1, state="suspect")}, is_held=False) == "waiting"
    away = {1: node(1, state="suspect", maintenance_until=NOW + 60)}
    assert state_of(RepairView(), away, is_held=False) == "idle"


def test_time_left() -> None:
    """At the rate of late; unknown while it is being counted, or while nothing moves."""
    assert seconds_left(RepairView()) == 0
    assert seconds_left(RepairView(chunks_left=1, bytes_left=1_000, bytes_per_second=10.0)) == 100
    assert seconds_left(RepairView(chunks_left=1, bytes_left=1_000)) == -1
    assert seconds_left(RepairView(bytes_left=1_000, bytes_per_second=10.0, counting=True)) == -1


def test_reasons() -> None:
    """Each says what to do, or until when it waits."""
    assert told(RepairView(), node(1)) == []
    assert told(RepairView(), held="read-only")[0] == "read-only"
    failure = MassFailure(frozenset({1, 2}), "2 of 3 nodes vanished at once")
    (sentence,) = told(RepairView(failures=(failure,)), node(1, state="dead"), node(2, state="suspect"))
    assert "(node-1, node-2)" in sentence
    assert "`dfs repair --force`" in sentence
    (sentence,) = told(RepairView(stuck={Obstacle.NO_ROOM: 4, Obstacle.BUSY: 1}))
    assert sentence.startswith("4 chunks wait: no node has room")
    (sentence,) = told(RepairView(), node(2, state="suspect", heard_at=NOW - 30))
    assert sentence == "node-2 is silent; if it is not back in 90 s, its copies are made anew"
    (sentence,) = told(RepairView(), node(2, state="suspect", heard_at=NOW - 30, leaving=True))
    assert "said that it stops; if it is not back in 1770 s" in sentence
    (sentence,) = told(RepairView(), node(2, state="suspect", maintenance_until=NOW + 60))
    assert "node-2 is in maintenance until 2023-11-14 22:14:20 UTC and away" in sentence
    (sentence,) = told(RepairView(), node(2, settling=True, settles_at=NOW + 7))
    assert "comes and goes" in sentence
