"""Membership is a pure step: who is live, suspect, dead, failed or draining, from what was heard and when."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs_master.membership import (
    DEAD,
    DRAINING,
    FAILED,
    LIVE,
    MAINTENANCE,
    SUSPECT,
    KnownNode,
    Timing,
    busy_beat_seconds,
    capacity,
    observed_state,
    step,
)
from dfs_wire.limits import BUSY_HEARTBEAT_SECONDS, HEARTBEAT_SECONDS
from dfs_wire.messages import AddressSet, VolumeState

TIMING = Timing(suspect_seconds=15.0, dead_seconds=120.0)
NOW = 10_000.0


def node(number: int = 1, **fields: object) -> KnownNode:
    """A live one, heard just now."""
    usual = {"state": LIVE, "registration": 1, "heard": True, "heard_at": NOW, "capacity_bytes": 1000}
    return KnownNode(number, f"node-{number}", f"in:{number}", f"out:{number}", **{**usual, **fields})  # type: ignore[arg-type]


def expected(silent: float, heard: bool, volume: VolumeState, draining: bool, leaving: bool, before: str) -> str:
    """The rules of the design, written down a second time."""
    if silent >= (1_800 if leaving else 120):
        return DEAD
    if silent >= 15 or leaving or not heard:
        return DEAD if before == DEAD else SUSPECT
    if volume is VolumeState.FAILED:
        return FAILED
    return DRAINING if draining else LIVE


ALL = list(
    product(
        (0.0, 14.999, 15.0, 119.999, 120.0, 1_799.0, 1_800.0, 1e9),
        (True, False),
        VolumeState,
        (True, False),
        (True, False),
        (LIVE, SUSPECT, DEAD, DRAINING, FAILED),
    )
)


def test_every_combination() -> None:
    """Silence, volume, the operator's word and the state before amount to exactly one state."""
    for case in ALL:
        silent, heard, volume, draining, leaving, before = case
        found = node(
            state=before,
            heard=heard,
            heard_at=NOW - silent,
            volume_state=volume,
            draining=draining,
            leaving=leaving,
        )
        assert observed_state(found, NOW, TIMING) == expected(*case), case


def test_a_step_tells_changes_and_nothing_else() -> None:
    """Who stays as it was is not a change; who changes is told with its state before."""
    nodes = {each.id: each for each in (node(1), node(2, heard_at=NOW - 20), node(3, heard_at=NOW - 200))}
    after, changes = step(nodes, NOW, TIMING)
    assert {key: value.state for key, value in after.items()} == {1: LIVE, 2: SUSPECT, 3: DEAD}
    assert [(change.node.id, change.node.state, change.before) for change in changes] == [
        (2, SUSPECT, LIVE),
        (3, DEAD, LIVE),
    ]
    assert step(after, NOW, TIMING) == (after, [])


@given(st.lists(st.tuples(st.floats(0, 300), st.booleans(), st.sampled_from(VolumeState)), max_size=5))
def test_a_step_changes_states_only(found: list[tuple[float, bool, VolumeState]]) -> None:
    """Time by itself touches nothing else of a node, and a second step at the same time changes nothing."""
    nodes = {
        number: node(number, heard_at=NOW - silent, heard=heard, volume_state=volume)
        for number, (silent, heard, volume) in enumerate(found, 1)
    }
    after, _ = step(nodes, NOW, TIMING)
    assert {key: replace(value, state="") for key, value in after.items()} == {
        key: replace(value, state="") for key, value in nodes.items()
    }
    assert step(after, NOW, TIMING) == (after, [])


def test_silence_only_ever_makes_it_worse() -> None:
    """live, suspect, dead in this order, each once, until the node is heard again."""
    current = {1: node()}
    seen = [LIVE]
    for seconds in range(200):
        current, changes = step(current, NOW + seconds, TIMING)
        seen += [change.node.state for change in changes]
    assert seen == [LIVE, SUSPECT, DEAD]
    heard = {1: replace(current[1], heard_at=NOW + 200)}
    assert step(heard, NOW + 200, TIMING)[0][1].state == LIVE


def test_a_late_master_blames_nobody() -> None:
    """After a pause of its own, the time lost is given to every node, and to none more than up to now."""
    nodes = {1: node(1, heard_at=NOW - 100), 2: node(2, heard_at=NOW - 1)}
    after, changes = step(nodes, NOW, TIMING, late_seconds=98)
    assert changes == []
    assert after[1].heard_at == NOW - 2
    assert after[2].heard_at == NOW
    _, later = step(after, NOW + 16, TIMING)
    assert {change.node.id for change in later} == {1, 2}


def test_a_master_that_just_started() -> None:
    """Nobody is believed to be there before it was heard, nobody to be dead before his time, a dead one stays dead."""
    rows = {
        number: node(number, state=state, heard=False, heard_at=NOW)
        for number, state in enumerate((LIVE, SUSPECT, DEAD, DRAINING, FAILED), 1)
    }
    after, _ = step(rows, NOW + 1, TIMING)
    assert [each.state for each in after.values()] == [SUSPECT, SUSPECT, DEAD, SUSPECT, SUSPECT]
    assert not any(each.takes_data for each in after.values())
    late, _ = step(after, NOW + 121, TIMING)
    assert {each.state for each in late.values()} == {DEAD}


@pytest.mark.parametrize(
    ("fields", "takes", "serves", "counts", "receipts", "reachable"),
    [
        ({}, True, True, True, True, True),
        ({"volume_state": VolumeState.FULL}, False, True, True, True, True),
        ({"volume_state": VolumeState.FAILED}, False, False, False, False, True),
        ({"state": FAILED, "volume_state": VolumeState.FAILED}, False, False, False, False, True),
        ({"heard": False}, False, False, True, True, True),
        ({"state": SUSPECT}, False, False, False, True, True),
        ({"state": DRAINING}, False, False, True, True, True),
        ({"state": DEAD}, False, False, False, False, False),
        ({"registration": 0}, True, True, True, False, True),
    ],
)
def test_what_a_node_is_good_for(
    fields: dict[str, object], takes: bool, serves: bool, counts: bool, receipts: bool, reachable: bool
) -> None:
    """New data, known copies, new receipts and reads each have their own rule."""
    found = node(**fields)
    assert (found.takes_data, found.serves, found.copies_count) == (takes, serves, counts)
    assert (found.receipts_count, found.reachable) == (receipts, reachable)


def test_addresses() -> None:
    """A caller gets the address that it can reach."""
    assert node().address_for(AddressSet.PUBLIC) == "out:1"
    assert node().address_for(AddressSet.CLUSTER) == "in:1"


def test_capacity_counts_a_file_system_once() -> None:
    """Volumes on one file system share its space, not their own use of it; who does not serve does not count."""
    nodes = [
        node(1, filesystem_id="a", used_bytes=10, free_bytes=500),
        node(2, filesystem_id="a", used_bytes=20, free_bytes=500),
        node(3, filesystem_id="", used_bytes=30, free_bytes=100),
        node(4, filesystem_id="", used_bytes=40, free_bytes=100),
        node(5, filesystem_id="b", used_bytes=50, free_bytes=900, state=SUSPECT),
        node(6, filesystem_id="c", used_bytes=60, free_bytes=900, state=DRAINING),
    ]
    assert capacity(nodes) == (4_000, 160, 1_600)
    assert capacity([]) == (0, 0, 0)


def test_maintenance_is_shown_and_waited_for() -> None:
    """There it is in maintenance and takes no data; away it is suspect, however long, until the time is over."""
    there = node(maintenance_until=NOW + 3_600)
    assert observed_state(there, NOW, TIMING) == MAINTENANCE
    found = replace(there, state=MAINTENANCE)
    assert (found.takes_data, found.copies_count, found.reachable) == (False, True, True)
    away = replace(there, heard_at=NOW - 1_000)
    assert observed_state(away, NOW, TIMING) == SUSPECT
    assert observed_state(replace(away, state=DEAD), NOW, TIMING) == SUSPECT
    assert observed_state(away, NOW + 3_600, TIMING) == DEAD
    assert observed_state(replace(there, volume_state=VolumeState.FAILED), NOW, TIMING) == FAILED


def flap(times: int) -> tuple[KnownNode, float]:
    """A node that was suspect and came back so many times, a minute apart; and the time."""
    known, now = {1: node()}, NOW
    for _ in range(times):
        now += 30
        known, _ = step(known, now, TIMING)
        assert known[1].state == SUSPECT
        now += 30
        known = {1: replace(known[1], heard_at=now)}
        known, _ = step(known, now, TIMING)
        assert known[1].state == LIVE
    return known[1], now


def test_a_node_that_flaps_settles_first() -> None:
    """From the third return on it is not relied on before it stayed for a while, and longer each time; then it is."""
    twice, _ = flap(2)
    assert twice.stays
    thrice, now = flap(3)
    assert (thrice.settling, thrice.stays, thrice.serves, thrice.copies_count) == (True, False, True, True)
    assert thrice.settles_at == now + TIMING.dead_seconds
    often, now = flap(9)
    assert often.settles_at == now + 8 * TIMING.dead_seconds
    stayed = replace(thrice, heard_at=thrice.settles_at)
    after, changes = step({1: stayed}, thrice.settles_at, TIMING)
    assert (after[1].stays, changes) == (True, [])


def test_returns_are_forgotten() -> None:
    """Three reboots in a year are no flapping."""
    known, now = {1: node()}, NOW
    for _ in range(5):
        now += 86_400
        known, _ = step(known, now, TIMING)
        known = {1: replace(known[1], heard_at=now)}
        known, _ = step(known, now, TIMING)
    assert known[1].stays


@pytest.mark.parametrize(
    ("nodes", "seconds"),
    [(1, BUSY_HEARTBEAT_SECONDS), (50, 0.25), (100, 0.5), (600, HEARTBEAT_SECONDS), (10_000, HEARTBEAT_SECONDS)],
)
def test_many_nodes_are_not_called_more_often_than_the_master_bears(nodes: int, seconds: float) -> None:
    """Two hundred heartbeats a second from all of them, or what they send anyway."""
    assert busy_beat_seconds(nodes) == seconds
