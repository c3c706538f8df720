"""Which copies are made where: as many as are missing, from a good source, on a node without one, in bounds."""

import time
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dfs_master.catalog.reader_repair import ChunkCopies
from dfs_master.membership import KnownNode
from dfs_master.repair_rules import (
    ORDER_BYTES_PER_NODE_MAX,
    ORDERS_PER_NODE_MAX,
    Fate,
    Move,
    Obstacle,
    Scene,
    Traffic,
    Troubles,
    fate_of,
    need_of,
    plan_chunk,
)
from dfs_wire.limits import GIB, MIB
from dfs_wire.messages import VolumeState

STATES = ("live", "suspect", "dead", "draining", "failed", "maintenance")


def node(number: int, state: str = "live", **fields: object) -> KnownNode:
    """A node with room, as its state says."""
    usual: dict[str, object] = {
        "state": state,
        "draining": state == "draining",
        "volume_state": VolumeState.FAILED if state == "failed" else VolumeState.OK,
        "registration": 1,
        "capacity_bytes": 100 * GIB,
        "free_bytes": 90 * GIB,
        "heard": True,
    }
    return KnownNode(number, f"node-{number}", f"n{number}:1", f"n{number}:1", **{**usual, **fields})  # type: ignore[arg-type]


def nodes(count: int, **states: str) -> dict[int, KnownNode]:
    """Nodes 1 to `count`; `n2="dead"` says of one what is not usual."""
    return {number: node(number, states.get(f"n{number}", "live")) for number in range(1, count + 1)}


def chunk(*good: int, wanted: int = 2, number: int = 1, size: int = 1_000, **others: int) -> ChunkCopies:
    """A chunk with good copies on these nodes, and others such as `bad=3`."""
    copies = [(each, "good") for each in good] + [(each, state) for state, each in others.items()]
    return ChunkCopies(number, number.to_bytes(32, "big"), size, wanted, len(good), tuple(sorted(copies)))


def scene(known: dict[int, KnownNode], **fields: object) -> Scene:
    """One round's view."""
    return Scene(known, Random(1), **fields)  # type: ignore[arg-type]


def test_what_becomes_of_copies() -> None:
    """Live ones stay; silent, settling and maintained ones wait; dead, failed and draining ones are gone."""
    fates = {state: fate_of(node(1, state)) for state in STATES}
    assert fates == {
        "live": Fate.STAYS,
        "suspect": Fate.WAITS,
        "dead": Fate.GONE,
        "draining": Fate.GONE,
        "failed": Fate.GONE,
        "maintenance": Fate.WAITS,
    }
    assert fate_of(None) is Fate.GONE
    assert fate_of(node(1, "dead"), {1}) is Fate.WAITS
    assert fate_of(node(1, settling=True)) is Fate.WAITS
    assert fate_of(node(1, "suspect", draining=True)) is Fate.GONE


def test_the_missing_copy_goes_to_a_node_without_one() -> None:
    """One of two is on a dead node: one is made, on the only node that has none, from the one that is left."""
    (move,), obstacle = plan_chunk(chunk(1, 2), scene(nodes(3, n1="dead")))
    assert (move.source, move.target, move.last_copy, obstacle) == (2, 3, True, None)


def test_silence_is_waited_out() -> None:
    """A copy on a suspect node is missing for nobody yet."""
    assert plan_chunk(chunk(1, 2), scene(nodes(3, n1="suspect"))) == ([], None)
    assert plan_chunk(chunk(1, 2), scene(nodes(3, n1="dead"), held={1})) == ([], None)


def test_a_draining_node_is_a_source() -> None:
    """It gives what it holds alone; its copy does not count."""
    (move,), _ = plan_chunk(chunk(1, wanted=1), scene(nodes(2, n1="draining")))
    assert (move.source, move.target) == (1, 2)


def test_what_is_under_way_is_not_ordered_again() -> None:
    """A copy that is being made counts as made."""
    traffic = Traffic.of([Move(1, chunk(1).digest, 1_000, 2, 3)])
    assert plan_chunk(chunk(1, 2), scene(nodes(4, n1="dead"), traffic=traffic)) == ([], None)


def test_several_missing_copies_go_to_different_nodes() -> None:
    """Three are wanted, one is left: two nodes get one each."""
    moves, _ = plan_chunk(chunk(1, wanted=3), scene(nodes(4)))
    assert sorted(move.target for move in moves) != []
    assert len({1, *(move.target for move in moves)}) == 3


def test_obstacles() -> None:
    """Why nothing can be done, apart from each other: people do different things about them."""
    full = {each: replace(known, free_bytes=GIB) for each, known in nodes(3).items()}
    assert plan_chunk(chunk(1), scene(nodes(1)))[1] is Obstacle.TOO_FEW_NODES
    assert plan_chunk(chunk(1), scene(full))[1] is Obstacle.NO_ROOM
    assert plan_chunk(chunk(1), scene(nodes(3, n1="dead")))[1] is Obstacle.NO_SOURCE
    assert plan_chunk(chunk(bad=1), scene(nodes(3)))[1] is Obstacle.NO_SOURCE
    busy = Traffic.of(Move(9, bytes(32), 0, 1, 2) for _ in range(ORDERS_PER_NODE_MAX))
    assert plan_chunk(chunk(1), scene(nodes(2), traffic=busy))[1] is Obstacle.BUSY
    large = Traffic.of([Move(9, bytes(32), ORDER_BYTES_PER_NODE_MAX, 1, 2)])
    assert plan_chunk(chunk(1), scene(nodes(2), traffic=large))[1] is Obstacle.BUSY


def test_repair_fills_further_than_uploads() -> None:
    """Down to 2 % of the disk, at most 4 GiB; also where the node says that it is full."""
    known = nodes(2)
    known[2] = replace(known[2], free_bytes=5 * GIB, volume_state=VolumeState.FULL)
    assert plan_chunk(chunk(1), scene(known))[0] != []
    known[2] = replace(known[2], free_bytes=2 * GIB - 1)
    assert plan_chunk(chunk(1), scene(known))[1] is Obstacle.NO_ROOM


def test_a_bad_copy_is_written_anew_where_it_is() -> None:
    """That leaves no damaged file behind; unless that node could not, a moment ago."""
    (move,), _ = plan_chunk(chunk(1, bad=3), scene(nodes(4)))
    assert (move.source, move.target) == (1, 3)
    refused = Troubles(targets={(chunk(1).digest, 3)})
    (move,), _ = plan_chunk(chunk(1, bad=3), scene(nodes(4), troubles=refused))
    assert move.target in (2, 4)


def test_a_copy_that_is_being_deleted_keeps_its_node_out() -> None:
    """Until the node confirmed it; from then on it may get a new one."""
    (move,), _ = plan_chunk(chunk(1, deleting=2), scene(nodes(3)))
    assert move.target == 3
    (move,), _ = plan_chunk(chunk(1, deleted=2), scene(nodes(2)))
    assert move.target == 2


def test_another_source_after_trouble() -> None:
    """One that could not be read a moment ago comes last; a silent one after those that are there."""
    trouble = Troubles(sources={(chunk(1).digest, 1)})
    (move,), _ = plan_chunk(chunk(1, 2, wanted=3), scene(nodes(3), troubles=trouble))
    assert move.source == 2
    (move,), _ = plan_chunk(chunk(1, wanted=2), scene(nodes(3), troubles=trouble))
    assert move.source == 1
    (move,), _ = plan_chunk(chunk(1, 2, wanted=3), scene(nodes(3, n1="suspect")))
    assert move.source == 2


def test_zones_are_spread_again() -> None:
    """The copy of a dead node does not count for the spread: its zone is the one to fill."""
    known = {
        number: replace(each, zone=zone)
        for (number, each), zone in zip(nodes(4, n2="dead").items(), ("a", "b", "a", "b"), strict=True)
    }
    for seed in range(20):
        (move,), _ = plan_chunk(chunk(1, 2), Scene(known, Random(seed)))
        assert move.target == 4


@given(
    st.lists(st.sampled_from(STATES), min_size=1, max_size=7),
    st.sets(st.integers(1, 7)),
    st.integers(1, 4),
    st.integers(0, 10_000),
)
def test_any_plan_is_sound(states: list[str], good: set[int], wanted: int, seed: int) -> None:
    """Never more than is missing, never onto a holder or a node that does not serve, never from one without a copy."""
    known = {number: node(number, state) for number, state in enumerate(states, 1)}
    good &= known.keys()
    what = chunk(*good, wanted=wanted)
    moves, obstacle = plan_chunk(what, Scene(known, Random(seed)))
    need = need_of(what, known, frozenset())
    assert len(moves) <= need.lacking
    assert (obstacle is None) == (len(moves) == need.lacking)
    targets = [move.target for move in moves]
    assert len(set(targets)) == len(targets)
    for move in moves:
        assert move.source in good
        assert known[move.source].reachable
        assert move.target not in good
        assert known[move.target].serves


def test_what_ended_is_not_under_way() -> None:
    """Counts go up and down with moves; a copy of them goes its own way."""
    moves = [Move(number, number.to_bytes(32, "big"), ORDER_BYTES_PER_NODE_MAX // 2, 1, 2) for number in (1, 2)]
    second = Move(1, moves[0].digest, 5, 1, 3)
    traffic = Traffic.of([*moves, second])
    plan = traffic.copy()
    assert traffic.is_busy(2)
    traffic.remove(moves[0])
    assert (traffic.is_busy(2), traffic.room(2), traffic.giving[1]) == (False, ORDERS_PER_NODE_MAX - 1, 2)
    assert traffic.targets == {moves[0].digest: {3}, moves[1].digest: {2}}
    traffic.remove(second)
    assert moves[0].digest not in traffic.targets
    assert (plan.is_busy(2), plan.taking[2], plan.targets[moves[0].digest]) == (True, 2, {2, 3})


def test_a_large_clusters_zones_are_spread() -> None:
    """Drawn, not compared: the rare node of the other zone is found where there is one to find in some draws."""
    known = {number: replace(each, zone="b" if number % 4 == 0 else "a") for number, each in nodes(40).items()}
    for seed in range(50):
        (move,), _ = plan_chunk(chunk(1), Scene(known, Random(seed)))
        assert move.target % 4 == 0


def test_a_large_cluster_is_looked_at_when_no_draw_finds_room() -> None:
    """One of 1,000 nodes has room: chance need not meet it."""
    known = {number: replace(each, free_bytes=GIB) for number, each in nodes(1_000).items()}
    known[777] = node(777, settling=True)
    for seed in range(5):
        (move,), _ = plan_chunk(chunk(1), Scene(known, Random(seed)))
        assert move.target == 777
    assert plan_chunk(chunk(777), Scene(known, Random(1)))[1] is Obstacle.NO_ROOM


def test_a_round_costs_by_the_chunks_to_mend() -> None:
    """10,000 chunks over 10,000 nodes: well below a second of CPU, whatever else is stored."""
    known = nodes(10_000, n1="dead")
    view = scene(known)
    chunks = [chunk(1, 2 + number % 9_000, number=number, size=MIB) for number in range(1, 10_001)]
    began = time.process_time()
    planned = sum(len(plan_chunk(each, view)[0]) for each in chunks)
    seconds = time.process_time() - began
    print(f"10,000 chunks over 10,000 nodes: {seconds:.2f} s of CPU")
    assert planned == len(chunks)
    assert seconds < 4.0
