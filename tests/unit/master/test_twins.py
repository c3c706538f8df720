"""Two processes for one identity: which one is the node, and which one runs on a copy of its volume."""

import pytest

from dfs_master.twins import FORGET_SECONDS, Twins, Verdict

NODE = 7
ORIGINAL, COPY, LATER = b"o" * 16, b"c" * 16, b"l" * 16


@pytest.fixture
def twins() -> Twins:
    """The original serves."""
    made = Twins()
    made.registered(NODE, ORIGINAL)
    return made


def ask(twins: Twins, instance: bytes, *, held: bool = True, lately: bool = True, now: float = 100.0) -> Verdict:
    """A registration."""
    return twins.judge(NODE, instance, held=held, lately=lately, now=now)


def test_the_same_process_is_let_in_at_once(twins: Twins) -> None:
    """Its old connection may seem to live for a while; processes that say nothing of themselves must wait."""
    assert ask(twins, ORIGINAL) is Verdict.ADMIT
    assert ask(twins, b"") is Verdict.WAIT


def test_a_process_after_a_crash_waits_only_while_the_old_one_seems_to_live(twins: Twins) -> None:
    """The holder is never heard again, so nothing is proved against it."""
    assert ask(twins, LATER) is Verdict.WAIT
    assert ask(twins, LATER, held=False, lately=False) is Verdict.ADMIT
    # The connection was seen to close: no wait at all.
    fresh = Twins()
    fresh.registered(NODE, ORIGINAL)
    assert ask(fresh, LATER, held=False, lately=True) is Verdict.ADMIT


def test_a_copy_is_proved_by_the_original_that_goes_on(twins: Twins) -> None:
    """One heartbeat may have been on its way; the second proves it, and from then on it is refused for good."""
    assert ask(twins, COPY) is Verdict.WAIT
    twins.beat(NODE)
    assert ask(twins, COPY) is Verdict.WAIT
    twins.beat(NODE)
    assert ask(twins, COPY) is Verdict.TWIN
    assert ask(twins, COPY, held=False) is Verdict.TWIN, "the copy took over when the original was cut off"


def test_a_copy_does_not_take_over_while_the_original_is_only_cut_off(twins: Twins) -> None:
    """Refused once, it waits until the original was silent for long; that one comes back at once."""
    assert ask(twins, COPY) is Verdict.WAIT
    assert ask(twins, COPY, held=False, lately=True) is Verdict.WAIT
    assert ask(twins, ORIGINAL, held=False, lately=True) is Verdict.ADMIT
    twins.registered(NODE, ORIGINAL)
    assert ask(twins, COPY) is Verdict.WAIT


def test_other_nodes_are_none_of_it(twins: Twins) -> None:
    """Heartbeats of one node prove nothing of another."""
    twins.registered(8, b"x")
    assert ask(twins, COPY) is Verdict.WAIT
    twins.beat(8)
    twins.beat(8)
    assert ask(twins, COPY) is Verdict.WAIT


def test_contenders_are_forgotten(twins: Twins) -> None:
    """What was refused long ago says nothing about today."""
    assert ask(twins, COPY, now=100.0) is Verdict.WAIT
    assert ask(twins, LATER, now=100.0 + FORGET_SECONDS + 1) is Verdict.WAIT
    assert ask(twins, COPY, held=False, lately=True, now=100.0 + FORGET_SECONDS + 2) is Verdict.ADMIT
