"""Which copy goes: never one that is needed, the same for everybody who asks."""

from hypothesis import given
from hypothesis import strategies as st

from dfs_master.healing_rules import fullness, which_copy_goes
from dfs_master.membership import KnownNode

STATES = st.sampled_from(["live", "suspect", "dead", "draining", "failed"])


def node(number: int, *, used: int = 10, zone: str = "", state: str = "live", settling: bool = False) -> KnownNode:
    """A node of 100 bytes."""
    return KnownNode(
        number,
        f"node-{number}",
        f"n{number}:1",
        f"n{number}:1",
        zone=zone,
        state=state,
        registration=1,
        capacity_bytes=100,
        used_bytes=used,
        heard=True,
        settling=settling,
    )


def known(*nodes: KnownNode) -> dict[int, KnownNode]:
    """By id."""
    return {each.id: each for each in nodes}


def test_the_fullest_goes() -> None:
    """One too many: the copy on the fullest node is the surplus one."""
    nodes = known(node(1, used=20), node(2, used=50), node(3, used=30))
    assert which_copy_goes({1, 2, 3}, 2, nodes) == [2]
    assert which_copy_goes({1, 2, 3}, 1, nodes) == [2, 3]
    assert which_copy_goes({1, 2, 3}, 3, nodes) == []


def test_the_last_one_stays() -> None:
    """Even of a chunk that nobody wants any more, one copy stays: removing those is the collector's."""
    assert which_copy_goes({1}, 0, known(node(1))) == []


def test_zones_stay_covered() -> None:
    """The fullest node's copy stays when it is the only one of its zone."""
    nodes = known(node(1, used=90, zone="b"), node(2, used=10, zone="a"), node(3, used=20, zone="a"))
    assert which_copy_goes({1, 2, 3}, 2, nodes) == [3]


def test_a_volume_without_a_size_is_full() -> None:
    """Nothing is divided by nothing."""
    assert fullness(KnownNode(1, "n", "n:1", "n:1")) == 1.0


@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from(["", "a", "b"]), STATES, st.booleans()), max_size=8),
    st.integers(0, 5),
)
def test_enough_stay(drawn: list[tuple[int, str, str, bool]], wanted: int) -> None:
    """Whatever the nodes are like: those that stay keep as many copies as are wanted; others are not touched."""
    nodes = known(
        *(
            node(number, used=used, zone=zone, state=state, settling=settling)
            for number, (used, zone, state, settling) in enumerate(drawn, 1)
        )
    )
    going = which_copy_goes(set(nodes), wanted, nodes)
    staying = {each.id for each in nodes.values() if each.stays}
    assert set(going) <= staying
    assert len(set(going)) == len(going)
    assert len(staying) - len(going) == min(len(staying), max(1, wanted))
