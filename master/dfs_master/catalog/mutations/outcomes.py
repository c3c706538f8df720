"""Requests of many items: each has its own outcome, and a refused one leaves nothing behind."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from dfs_master.catalog.mutations.base import Context
from dfs_wire.errors import DfsError
from dfs_wire.messages import Outcome

Item = TypeVar("Item")


def apply_each(context: Context, items: Sequence[Item], apply: Callable[[Context, Item], int]) -> list[Outcome]:
    """Apply items one after the other; `apply` gives the new version's id (0: none) or raises a `DfsError`."""
    outcomes = []
    staging = context.staging
    for item in items:
        mark = staging.mark()
        try:
            outcomes.append(Outcome(apply(context, item)))
        except DfsError as error:
            staging.undo(mark)
            outcomes.append(Outcome(0, error.code, error.message, error.details))
    return outcomes


def any_done(outcomes: Sequence[Outcome]) -> bool:
    """Whether at least one item was not refused."""
    return any(not outcome.code for outcome in outcomes)
