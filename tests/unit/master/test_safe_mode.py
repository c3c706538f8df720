"""Safe mode: when a master that just started may begin to heal."""

from dataclasses import replace

import pytest

from dfs_master.condition import condition
from dfs_master.membership import KnownNode
from dfs_master.safe_mode import SafeMode, reason_to_leave

COPIES = {1: 1_000, 2: 1_000, 3: 2}


@pytest.mark.parametrize(
    ("heard", "waited", "leaves"),
    [
        (set(), 0.0, False),
        ({1}, 599.0, False),
        ({1, 2, 3}, 0.0, True),
        ({1, 2}, 0.0, True),  # 2000 of 2002 copies are 99.9 %
        ({1, 3}, 599.0, False),
        ({1, 3}, 600.0, True),
        ({4, 5, 6}, 0.0, False),  # nodes that are new prove nothing about the old ones
    ],
)
def test_who_must_be_back(heard: set[int], waited: float, leaves: bool) -> None:
    """All nodes, or nearly all copies, or the time."""
    reason = reason_to_leave(COPIES, {1, 2, 3}, heard, waited, 600.0)
    assert (reason is not None) is leaves


def test_nodes_without_copies_are_waited_for() -> None:
    """Nothing is on record there, but they may yet be needed as targets: only all of them, or the time, will do."""
    assert reason_to_leave({}, {1, 2}, {1}, 1.0, 600.0) is None
    assert reason_to_leave({}, {1, 2}, {1, 2}, 1.0, 600.0) is not None


def test_it_ends_once_and_says_why() -> None:
    """The step that ends it is the only one that speaks."""
    mode = SafeMode({1, 2}, {1: 5, 2: 5}, started_at=100.0)
    assert mode.active
    assert mode.step({1}, 130.0, 600.0) is None
    assert mode.missing({1}) == {2}
    assert mode.step({1, 2}, 131.0, 600.0) == "all nodes are back"
    assert not mode.active
    assert mode.step(set(), 132.0, 600.0) is None
    assert mode.missing(set()) == frozenset()


def test_an_operator_forces_it() -> None:
    """Nobody is waited for any more, but a master behind its nodes stays as it is."""
    mode = SafeMode({1, 2}, {}, started_at=0.0)
    mode.hold("an older database")
    mode.force()
    assert mode.step(set(), 1.0, 600.0) == "forced by an operator"
    assert not mode.waiting
    assert mode.active
    assert mode.held == "an older database"
    mode.release()
    assert not mode.active


def test_a_new_cluster_waits_for_nobody() -> None:
    """There is nothing that could be missing."""
    assert not SafeMode().active


def test_the_notice_names_who_is_waited_for() -> None:
    """Also between the last node's word and the look that ends the wait, when nobody is left to be named."""
    mode = SafeMode({1, 2}, {1: 5, 2: 5}, started_at=100.0)
    first, second = (KnownNode(number, f"node-{number}", "", "", heard=True) for number in (1, 2))
    assert "has not heard node-2 yet" in condition(mode, [first, replace(second, heard=False)])[1]
    assert "has heard all its nodes" in condition(mode, [first, second])[1]
