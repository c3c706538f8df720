"""What the committer knows from group to group: directories, and the policy of the cluster."""

import sqlite3
from pathlib import Path
from typing import Any

from tests.support.writing import (
    Store,
    commit_files,
    file_commit,
    make_directories,
    open_store,
    remove,
    rename,
    set_policy,
)

from dfs_master.catalog.mutations.collecting import RemoveVersions
from dfs_master.catalog.mutations.records import SetSetting
from dfs_wire.errors import NoSpaceError


def test_directories_are_read_once(store: Store) -> None:
    """The next group looks up the new name only."""
    store.do(make_directories("/a/b"))
    store.do(commit_files(file_commit("/a/b/one")))
    seen: list[str] = []
    connection: Any = store.committer._connection
    connection.set_trace_callback(seen.append)
    store.do(commit_files(file_commit("/a/b/two")))
    assert sum("FROM entries" in sql for sql in seen) == 1


def test_a_directory_that_changed_is_read_again(store: Store) -> None:
    """Moved, removed, or with a policy of its own: nobody goes by what it was."""
    store.run(make_directories("/a/b"))
    store.commit("/a/b/f")
    store.do(set_policy("/a", 3))
    assert store.commit("/a/b/g", "x", nodes=(1, 2)).code == "chunks_missing"
    store.do(rename("/a", "/c"))
    store.commit("/a/b/f")
    assert set(store.paths()) == {"/a", "/a/b", "/a/b/f", "/c", "/c/b", "/c/b/f"}
    store.do(remove("/a", recursive=True))
    store.commit("/a/f")
    assert "/a/f" in store.paths()
    assert "/a/b" not in store.paths()


def test_the_policy_of_the_cluster_may_change(store: Store) -> None:
    """The next group judges by the new one."""
    assert store.commit("/f", "x", nodes=(1, 2)).code == ""
    store.do(SetSetting("copies", "3"))
    assert store.commit("/g", "y", nodes=(1, 2)).code == "chunks_missing"


def test_what_was_read_of_a_transaction_that_failed_is_forgotten(tmp_path: Path) -> None:
    """A directory that it made was never there."""
    failing = [True]

    def point(name: str) -> None:
        if name == "commit.before" and failing:
            failing.clear()
            error = sqlite3.OperationalError("full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error

    with open_store(tmp_path, points=point) as store:
        # Collecting looks through tables, so what was staged before it is written, and read again behind it.
        outcomes = store.run(make_directories("/a"), RemoveVersions(0, 1), commit_files(file_commit("/a/f")))
        assert {type(outcome) for outcome in outcomes} == {NoSpaceError}
        assert store.commit("/a/f").code == ""
        assert set(store.paths()) == {"/a", "/a/f"}
