"""Reading ahead for a group spares statements and changes nothing."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.tree_model import Operation, operations
from tests.support.writing import Store, commit_files, contents, file_commit, make_directories, open_store, remove

from dfs_master.catalog import prefetch
from dfs_master.catalog.mutations.base import Mutation
from dfs_wire.errors import DfsError
from dfs_wire.messages import Outcome


def _brief(outcome: object) -> object:
    if isinstance(outcome, DfsError):
        return outcome.code
    return [each.code for each in outcome] if isinstance(outcome, list) else outcome


def _lived(groups: list[list[Mutation[Any]]], rows_min: int) -> object:
    """Outcomes and contents after these groups."""
    with (
        pytest.MonkeyPatch.context() as patch,
        TemporaryDirectory() as directory,
        open_store(Path(directory)) as store,
    ):
        patch.setattr(prefetch, "_ROWS_MIN", rows_min)
        return [_brief(outcome) for group in groups for outcome in store.run(*group)], contents(store)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(operations(policies=True), min_size=1, max_size=6), max_size=6))
def test_groups_come_out_the_same(groups: list[list[Operation]]) -> None:
    """Any groups over any tree, requests that are repeated in them included."""
    mutations = [[operation.mutation() for operation in group] for group in groups]
    for group in mutations:
        group += group[:1]
    assert _lived(mutations, 0) == _lived(mutations, 1_000_000)


def _statements(store: Store, *group: Mutation[Any]) -> int:
    """How many statements a group took."""
    told: list[str] = []
    store.committer._connection.set_trace_callback(told.append)
    outcomes = store.run(*group)
    store.committer._connection.set_trace_callback(None)
    assert [code for each in outcomes if isinstance(each, list) for code in (o.code for o in each) if code] == []
    return len([sql for sql in told if sql.lstrip().startswith("SELECT")])


def test_a_large_commit_looks_up_by_the_hundred(store: Store) -> None:
    """500 new files, then 500 that replace them with the same chunks: a handful of SELECTs each."""
    store.run(make_directories("/d"))
    paths = [f"/d/{number}" for number in range(500)]
    first = commit_files(*(file_commit(path, path) for path in paths))
    again = commit_files(*(file_commit(path, path) for path in paths))
    assert _statements(store, first) < 20
    assert _statements(store, again) < 20
    assert _statements(store, *(remove(path) for path in paths)) < 20
    assert store.paths() == {"/d": "directory"}


def test_odd_paths_are_left_to_their_requests(store: Store) -> None:
    """What is no path, or not in its usual form, is refused or done as ever, one by one."""
    odd = ["", "no-slash", "/a//b", "/a/", "/é", "/\ud800", "/" + "x" * 300, "/.", "/a/../b", "/plain"]
    files = [file_commit(path, "x") for path in odd] + [file_commit(f"/many/{n}", "x") for n in range(100)]
    outcomes: list[Outcome] = store.do(commit_files(*files))
    codes = [outcome.code for outcome in outcomes[: len(odd)]]
    assert codes == ["usage", "", "", "wrong_kind", "", "usage", "usage", "usage", "usage", ""]
