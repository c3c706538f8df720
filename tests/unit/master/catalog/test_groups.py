"""A group is nothing but its requests one after the other."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.catalog import digest_of
from tests.support.tree_model import operations
from tests.support.writing import contents, open_store, register

from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.mutations.housekeeping import EmptyRemoved
from dfs_master.catalog.mutations.nodes import NodeUpdate, RecordFindings, SaveNodes
from dfs_master.catalog.mutations.records import AddCredential, AddEvent, SetSetting
from dfs_wire.errors import DfsError
from dfs_wire.messages import Finding, FindingKind


def _others() -> st.SearchStrategy[Mutation[Any]]:
    """Mutations beside those of the tree."""
    findings = st.builds(
        Finding, st.sampled_from(["x", "y"]).map(digest_of), st.integers(0, 2), st.sampled_from(list(FindingKind))
    )
    states = st.sampled_from(["live", "suspect", "dead", "draining"])
    return st.one_of(
        st.builds(RecordFindings, st.integers(1, 3), st.lists(findings, max_size=3)),
        st.builds(register, st.sampled_from(["node-1", "node-9"]), registration=st.integers(1, 3)),
        st.builds(lambda state: SaveNodes([NodeUpdate(1, state, "ok", 1, 1, 1)]), states),
        st.builds(SetSetting, st.sampled_from(["zone", "copies", "epoch"]), st.sampled_from(["1", "2"])),
        st.builds(AddCredential, st.just("client"), st.sampled_from([b"k" * 32, b"l" * 32]), st.just("key")),
        st.builds(AddEvent, st.just("kind"), st.sampled_from(["one", "two"])),
        st.builds(EmptyRemoved, st.integers(1, 3)),
    )


def comparable(outcome: Any) -> object:
    """An outcome without the ids in it."""
    if isinstance(outcome, DfsError):
        return outcome.code
    if isinstance(outcome, list):
        return [(bool(item.version), item.code, sorted(item.details)) for item in outcome]
    return type(outcome).__name__


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(operations(policies=True), max_size=6),
    group=st.lists(
        st.one_of(operations(policies=True).map(lambda drawn: drawn.mutation()), _others()), min_size=2, max_size=10
    ),
    repeats=st.lists(st.integers(0, 9), max_size=2),
)
def test_a_group_equals_its_requests_one_by_one(
    before: list[Any], group: list[Mutation[Any]], repeats: list[int]
) -> None:
    """Same outcomes, same contents of every table, ids aside; repeats of requests included."""
    group = group + [group[place] for place in repeats if place < len(group)]
    prepared = [operation.mutation() for operation in before]
    with ExitStack() as stack:
        together, apart = (
            stack.enter_context(open_store(Path(stack.enter_context(TemporaryDirectory())))) for _ in range(2)
        )
        for store in (together, apart):
            store.run(*prepared)
        at_once = together.run(*group)
        in_turn = [apart.run(mutation)[0] for mutation in group]
        assert [comparable(outcome) for outcome in at_once] == [comparable(outcome) for outcome in in_turn]
        assert contents(together) == contents(apart)
