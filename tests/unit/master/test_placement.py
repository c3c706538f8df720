"""Placement: distinct nodes with room, spread over zones, the emptier the likelier, or a refusal that says why."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs_master.membership import LIVE, SUSPECT, KnownNode
from dfs_master.placement import Crowd, choose, has_room, upload_reserve_bytes
from dfs_wire.errors import NoSpaceError, TooFewNodesError
from dfs_wire.limits import GIB, MIB
from dfs_wire.messages import VolumeState


def node(number: int, *, free: int = 900 * GIB, zone: str = "", state: str = LIVE, **fields: object) -> KnownNode:
    """One with 1,000 GiB."""
    return KnownNode(
        id=number,
        name=f"node-{number}",
        address="",
        public_address="",
        zone=zone,
        state=state,
        heard=True,
        capacity_bytes=1000 * GIB,
        free_bytes=free,
        **fields,  # type: ignore[arg-type]
    )


def chosen(
    nodes: list[KnownNode],
    count: int,
    *,
    size: int = 8 * MIB,
    holders: tuple[int, ...] = (),
    excluded: tuple[int, ...] = (),
    seed: int = 0,
) -> list[int]:
    """Ids of the nodes for new copies."""
    found = choose(nodes, count, size, holders=set(holders), excluded=set(excluded), random=Random(seed))
    return [each.id for each in found]


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(["", "a", "b"]), st.booleans()), max_size=8),
    st.integers(1, 4),
    st.sets(st.integers(1, 8)),
    st.sets(st.integers(1, 8)),
    st.integers(0, 100),
)
def test_what_is_chosen_may_be_chosen(
    found: list[tuple[int, str, bool]], count: int, holders: set[int], excluded: set[int], seed: int
) -> None:
    """Exactly as many as asked for, all different, live, with room, neither holders nor excluded; or a refusal."""
    nodes = [
        node(number, free=free * GIB, zone=zone, state=LIVE if live else SUSPECT)
        for number, (free, zone, live) in enumerate(found, 1)
    ]
    may = [
        each.id
        for each in nodes
        if each.state == LIVE and has_room(each, 8 * MIB) and each.id not in holders and each.id not in excluded
    ]
    try:
        ids = chosen(nodes, count, holders=tuple(holders), excluded=tuple(excluded), seed=seed)
    except (TooFewNodesError, NoSpaceError):
        assert len(may) < count
    else:
        assert len(ids) == len(set(ids)) == count
        assert set(ids) <= set(may)


def test_one_seed_one_choice() -> None:
    """Chance comes from outside: the same seed gives the same nodes."""
    nodes = [node(number) for number in range(1, 20)]
    assert chosen(nodes, 3, seed=7) == chosen(nodes, 3, seed=7)
    assert len({tuple(chosen(nodes, 3, seed=seed)) for seed in range(20)}) > 10


def test_emptier_nodes_are_likelier_in_proportion() -> None:
    """Three times the free space, three times as often the first hop."""
    nodes = [node(1, free=300 * GIB), node(2, free=100 * GIB)]
    counted = Counter(chosen(nodes, 1, seed=seed)[0] for seed in range(4_000))
    assert 2.6 < counted[1] / counted[2] < 3.4


def test_zones_before_weights() -> None:
    """Copies go to zones that hold none yet, as long as there are any."""
    nodes = [node(1, zone="a"), node(2, zone="a"), node(3, zone="b", free=20 * GIB), node(4, zone="c", free=20 * GIB)]
    for seed in range(50):
        assert {nodes[number - 1].zone for number in chosen(nodes, 3, seed=seed)} == {"a", "b", "c"}
        assert set(chosen(nodes, 2, holders=(1,), seed=seed)) == {3, 4}
        assert len(set(chosen(nodes, 4, seed=seed))) == 4


def test_a_node_is_asked_once() -> None:
    """Neither holders nor those that failed just now are chosen."""
    nodes = [node(number) for number in range(1, 5)]
    for seed in range(20):
        assert chosen(nodes, 2, holders=(1,), excluded=(2,), seed=seed) in ([3, 4], [4, 3])


def test_too_few_nodes() -> None:
    """The refusal counts, and says what to do."""
    nodes = [node(1), node(2, state=SUSPECT), node(3, volume_state=VolumeState.FAILED)]
    with pytest.raises(TooFewNodesError, match="1 of 3 nodes take data now, too few for 2 copies") as caught:
        chosen(nodes, 2)
    assert caught.value.details == {"live": 1, "needed": 2}
    with pytest.raises(TooFewNodesError):
        chosen([node(1), node(2)], 1, excluded=(1, 2))
    with pytest.raises(TooFewNodesError):
        chosen([], 1)


@pytest.mark.parametrize(
    "full", [{"free": 10 * GIB}, {"free": 0}, {"free": 500 * GIB, "volume_state": VolumeState.FULL}]
)
def test_full_is_not_few(full: dict[str, object]) -> None:
    """Where the nodes are there but full, more of the same nodes would not help: another error says so."""
    nodes = [node(1), node(2, **full), node(3, **full)]  # type: ignore[arg-type]
    with pytest.raises(NoSpaceError, match="too full"):
        chosen(nodes, 2)
    assert chosen(nodes, 1) == [1]


def test_the_reserve() -> None:
    """Uploads stop at 5 % or 10 GiB, whichever is less; the chunk itself counts."""
    assert upload_reserve_bytes(100 * GIB) == 5 * GIB
    assert upload_reserve_bytes(1000 * GIB) == 10 * GIB
    assert has_room(node(1, free=10 * GIB + 8 * MIB), 8 * MIB)
    assert not has_room(node(1, free=10 * GIB + 8 * MIB - 1), 8 * MIB)


def test_no_copies_wanted_no_nodes() -> None:
    """Zero is a number too."""
    assert chosen([], 0) == []


def test_a_node_that_flaps_comes_last() -> None:
    """It gets new data only where nobody else can take it; in its own zone or not."""
    nodes = [node(number, zone=str(number), settling=number == 1) for number in (1, 2, 3)]
    for seed in range(20):
        assert set(chosen(nodes, 2, seed=seed)) == {2, 3}
    assert len(chosen(nodes, 3)) == 3


def test_a_crowd_is_drawn_from_by_free_space() -> None:
    """One with three times the space is drawn three times as often, as `choose` does; those that may not are not."""
    nodes = [node(number, free=(300 if number <= 10 else 900) * GIB) for number in range(1, 21)]
    crowd = Crowd(nodes, Random(1))
    drawn = Counter(found.id for _ in range(8_000) if (found := crowd.draw(set(), lambda each: each.id != 20)))
    small, large = (sum(drawn[each] for each in ids) / len(ids) for ids in (range(1, 11), range(11, 20)))
    assert drawn[20] == 0
    assert large / small == pytest.approx(3, rel=0.15)
    assert crowd.draw(set(), lambda _: False) is None


def test_of_many_nodes_a_sample_is_compared() -> None:
    """What is decided by all of them still is: the rare zone, the rare node with room, the refusal and its numbers."""
    many = [node(number) for number in range(1, 1_001)]
    asked: list[int] = []

    def room(each: KnownNode, size: int) -> bool:
        asked.append(each.id)
        return has_room(each, size)

    found = choose(many, 2, MIB, holders={1}, excluded={2}, random=Random(1), room=room)
    assert len({1, 2, *(each.id for each in found)}) == 4
    assert len(asked) <= 64
    rare = [*many, node(2_000, zone="b")]
    assert all(2_000 in chosen(rare, 2, seed=seed) for seed in range(5))
    assert all(2_000 in chosen(rare, 1, holders=(7,), seed=seed) for seed in range(5))
    full = [node(number, free=0) for number in range(1, 1_001)]
    assert chosen([*full, node(3_000)], 1) == [3_000]
    with pytest.raises(NoSpaceError):
        chosen(full, 1)
    with pytest.raises(TooFewNodesError, match="0 of 1000 nodes"):
        chosen([node(number, state=SUSPECT) for number in range(1, 1_001)], 1)


def test_of_many_nodes_the_emptier_is_the_likelier() -> None:
    """In proportion, as among few."""
    many = [node(number, free=(300 if number <= 500 else 900) * GIB) for number in range(1, 1_001)]
    drawn = Counter(chosen(many, 1, seed=seed)[0] > 500 for seed in range(3_000))
    assert drawn[True] / drawn[False] == pytest.approx(3, rel=0.15)
