"""Removed trees are emptied and old outcomes forgotten, a bounded step at a time."""

from contextlib import closing

import pytest
from tests.support.writing import Store, commit_files, file_commit, make_directories, remove

from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.mutations.housekeeping import EmptyRemoved, ForgetEvents, ForgetRequests
from dfs_master.catalog.mutations.records import AddCredential, AddEvent, SetSetting
from dfs_master.catalog.reader_cluster import surplus_event
from dfs_wire.errors import UsageError


def grow(store: Store) -> int:
    """A tree of four directories and five files; returns how many entries it has."""
    files = [file_commit(f"/t/{path}") for path in ("1", "2", "a/3", "a/b/4", "a/b/5")]
    store.do(commit_files(*files))
    store.do(make_directories("/t/empty"))
    return 9


def hidden(store: Store) -> int:
    """How many entries are not below the root."""
    total: int = store.one("SELECT count(*) FROM entries")
    return total - 2 - len(store.paths())


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 9, 1_000])
def test_a_removed_tree_goes_in_steps(store: Store, limit: int) -> None:
    """No step deletes more than its limit; each file's version begins its grace when its name goes."""
    size = grow(store)
    store.commit("/stays")
    store.do(remove("/t", recursive=True))
    assert hidden(store) == size
    steps = 0
    while store.do(EmptyRemoved(limit)):
        steps += 1
        assert hidden(store) == max(0, size - steps * limit)
        assert steps <= size
    assert hidden(store) == 0
    assert set(store.paths()) == {"/stays"}
    assert store.one("SELECT count(*) FROM versions WHERE removed_at IS NOT NULL") == 5
    assert store.one("SELECT count(*) FROM versions") == 6
    assert steps == (size - 1) // limit


def test_several_trees_and_several_steps_of_one_group(store: Store) -> None:
    """What the first step deleted, the second does not see; a tree removed in the same group is seen."""
    grow(store)
    outcomes = store.run(remove("/t", recursive=True), EmptyRemoved(4), EmptyRemoved(4), EmptyRemoved(4))
    assert outcomes == [None, True, True, False]
    assert hidden(store) == 0
    assert store.paths() == {}


def test_a_very_deep_tree(store: Store) -> None:
    """As deep as a path can be."""
    store.do(make_directories("/x" * 2_047))
    store.do(remove("/x", recursive=True))
    assert store.do(EmptyRemoved(2_000)) is True
    assert store.do(EmptyRemoved(2_000)) is False
    assert hidden(store) == 0


def test_nothing_to_empty(store: Store) -> None:
    """Costs no transaction."""
    before = store.committer.commit_seq
    assert store.do(EmptyRemoved()) is False
    assert store.committer.commit_seq == before
    assert EmptyRemoved(5).row_count() == 10


def test_old_outcomes_are_forgotten_oldest_first(store: Store) -> None:
    """Those from before the time given, at most as many as asked for."""
    for number in range(5):
        store.do(make_directories(f"/{number}"))
        store.clock.advance(1)
    before = store.clock.wall_ms() - 1_500
    assert store.do(ForgetRequests(before, 3)) is True
    assert store.one("SELECT count(*) FROM requests") == 2
    assert store.do(ForgetRequests(before, 3)) is False
    assert store.one("SELECT count(*) FROM requests") == 1
    assert ForgetRequests(before, 3).row_count() == 3


def test_two_steps_of_forgetting_in_one_group(store: Store) -> None:
    """The second finds nothing more to do."""
    store.do(make_directories("/d"))
    store.clock.advance(1)
    step = ForgetRequests(store.clock.wall_ms(), 10)
    assert store.run(step, step) == [False, False]
    assert store.one("SELECT count(*) FROM requests") == 0


def test_old_events_are_forgotten_oldest_first(store: Store) -> None:
    """Those up to the one behind the newest that are kept, at most as many as asked for."""
    kinds = [f"{number}" for number in range(6)]
    for kind in kinds:
        store.do(AddEvent(kind, "subject"))

    def left() -> list[str]:
        return [kind for (kind,) in store.query("SELECT kind FROM events ORDER BY id")]

    with closing(connect_raw(open_engine(store.path, read_only=True))) as connection:
        last = surplus_event(connection.cursor(), 2)
        assert surplus_event(connection.cursor(), len(kinds)) == 0
    assert store.do(ForgetEvents(last, 3)) is True
    assert left() == kinds[3:]
    assert store.run(ForgetEvents(last, 3), ForgetEvents(last, 3)) == [False, False]
    assert left() == kinds[-2:]
    assert ForgetEvents(last, 3).row_count() == 3


def test_settings_credentials_and_events_are_written(store: Store) -> None:
    """A setting is made, then changed; the committer's own counters cannot be set."""
    store.run(SetSetting("zone", "a"), SetSetting("zone", "b"), AddEvent("kind", "subject", {"n": 1}))
    store.do(SetSetting("zone", "c"))
    assert store.one("SELECT value FROM settings WHERE name = 'zone'") == "c"
    assert store.query("SELECT kind, subject, detail, at FROM events") == [
        ("kind", "subject", '{"n":1}', store.clock.wall_ms())
    ]
    credential_id = store.do(AddCredential("client", b"d" * 32, "laptop"))
    assert store.query("SELECT * FROM credentials") == [
        (credential_id, "client", b"d" * 32, "laptop", store.clock.wall_ms())
    ]
    for name in ("epoch", "commit_seq", "next_id"):
        with pytest.raises(UsageError, match="counted"):
            store.do(SetSetting(name, "1"))


def test_the_cluster_wide_policy_is_a_setting(store: Store) -> None:
    """It holds where no directory has one."""
    store.do(SetSetting("copies", "1"))
    assert store.commit("/f", "a", nodes=(1,)).code == ""
