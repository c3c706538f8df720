"""Which copies are made where, when a node is to go."""

from random import Random

from dfs_master.catalog.reader_moves import CopyToMove
from dfs_master.membership import KnownNode
from dfs_master.moving import ORDERS_PER_TARGET_MAX, Move, plan_moves
from dfs_wire.limits import GIB

LEAVING = 1


def nodes(count: int) -> dict[int, KnownNode]:
    """Nodes 1 to `count`; the first is being drained."""
    return {
        number: KnownNode(
            id=number,
            name=f"node-{number}",
            address=f"n{number}:1",
            public_address=f"n{number}:1",
            state="draining" if number == LEAVING else "live",
            draining=number == LEAVING,
            registration=1,
            capacity_bytes=100 * GIB,
            free_bytes=90 * GIB,
            heard=True,
        )
        for number in range(1, count + 1)
    }


def chunk(number: int, *holders: int, wanted: int = 2) -> CopyToMove:
    """A chunk with good copies on these nodes, of which those that are not leaving stay."""
    staying = len([each for each in holders if each != LEAVING])
    return CopyToMove(
        number, number.to_bytes(32, "big"), 1_000, wanted, staying, frozenset(holders), frozenset(holders)
    )


def test_each_lacking_copy_goes_to_a_node_without_one() -> None:
    """One copy stays, so one is made, on the only node that has none."""
    (move,) = plan_moves([chunk(1, 1, 2)], nodes(3), [], Random(1))
    assert move.target == 3
    assert move.source in (1, 2)


def test_what_is_under_way_is_not_ordered_again() -> None:
    """A copy that is being made counts as made."""
    candidate = chunk(1, 1, 2)
    under_way = [Move(candidate.digest, 1_000, 1, 3)]
    assert plan_moves([candidate], nodes(4), under_way, Random(1)) == []


def test_nowhere_to_go() -> None:
    """With too few nodes nothing is ordered, and nothing fails."""
    assert plan_moves([chunk(1, 1, 2)], nodes(2), [], Random(1)) == []


def test_no_source() -> None:
    """A chunk without a verified copy on a reachable node cannot be copied."""
    lost = chunk(1, 1)._replace(good=frozenset())
    assert plan_moves([lost], nodes(4), [], Random(1)) == []


def test_several_lacking_copies_go_to_different_nodes() -> None:
    """Three are wanted, none stays: three nodes get one each."""
    moves = plan_moves([chunk(1, 1, wanted=3)], nodes(4), [], Random(1))
    assert {move.target for move in moves} == {2, 3, 4}


def test_targets_and_sources_are_bounded() -> None:
    """No target gets more orders than it may have waiting, and sources share the work."""
    chunks = [chunk(number, 1, 2, wanted=2) for number in range(100)]
    moves = plan_moves(chunks, nodes(4), [], Random(1))
    for target in (3, 4):
        assert sum(move.target == target for move in moves) == ORDERS_PER_TARGET_MAX
    given = [sum(move.source == source for move in moves) for source in (1, 2)]
    assert abs(given[0] - given[1]) <= 1
