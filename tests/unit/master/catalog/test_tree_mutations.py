"""Directories, removing, renaming, policies: one row changes, whatever the size of the tree."""

import pytest
from tests.support.writing import (
    Store,
    commit_files,
    file_commit,
    make_directories,
    remove,
    rename,
    set_policy,
)

from dfs_master.catalog.models import REMOVED_ENTRY_ID
from dfs_wire.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptError,
    DfsError,
    NotEmptyError,
    NotFoundError,
    UsageError,
    WrongKindError,
)
from dfs_wire.messages import EXPECT_ABSENT

# -- directories -----------------------------------------------------------------------------------------------


def test_directories_are_made_with_their_parents(store: Store) -> None:
    """Those asked for get mode and time, those above them the defaults."""
    outcomes = store.do(make_directories("/a/b/c", mode=0o100_700, mtime_ns=-5))
    assert [(outcome.version, outcome.code) for outcome in outcomes] == [(0, "")]
    assert store.query("SELECT name, mode, mtime_ns FROM entries WHERE id > 2 ORDER BY id") == [
        ("a", 0o755, store.clock.wall_ms() * 1_000_000),
        ("b", 0o755, store.clock.wall_ms() * 1_000_000),
        ("c", 0o700, -5),
    ]


def test_an_existing_directory_takes_mode_and_time(store: Store) -> None:
    """With exist_ok; the root too."""
    store.do(make_directories("/a"))
    store.do(make_directories("/a", "/", mode=0o711, mtime_ns=9))
    assert store.query("SELECT mode, mtime_ns FROM entries WHERE id <> 2") == [(0o711, 9)] * 2


def test_existing_names_are_refused_one_by_one(store: Store) -> None:
    """Without exist_ok a directory, in any case a file; the others are made."""
    store.commit("/file")
    store.do(make_directories("/a"))
    outcomes = store.do(make_directories("/a", "/file", "/file/x", "/b", "/", "/" + "y" * 256, exist_ok=False))
    assert [outcome.code for outcome in outcomes] == ["exists", "wrong_kind", "wrong_kind", "", "exists", "usage"]
    assert set(store.paths()) == {"/a", "/b", "/file"}


def test_a_time_beyond_the_database_is_refused(store: Store) -> None:
    """64 bits, signed."""
    outcomes = store.do(make_directories("/a", mtime_ns=2**63))
    assert outcomes[0].code == "usage"


# -- remove ----------------------------------------------------------------------------------------------------


def test_a_removed_file_leaves_its_version_in_grace(store: Store) -> None:
    """The name is free at once."""
    version = store.commit("/f", "a").version
    store.clock.advance(1)
    store.do(remove("/f"))
    assert store.paths() == {}
    assert store.query("SELECT id, removed_at FROM versions") == [(version, store.clock.wall_ms())]
    assert store.one("SELECT count(*) FROM replicas") == 2


def test_an_empty_directory_is_deleted(store: Store) -> None:
    """Its row goes."""
    store.do(make_directories("/d"))
    store.do(remove("/d"))
    assert store.one("SELECT count(*) FROM entries") == 2


def test_a_full_directory_needs_recursive_and_moves_away_in_one_row(store: Store) -> None:
    """What lies in it is not touched; the same path can be made and removed again."""
    for _ in range(2):
        store.commit("/d/e/f", "a")
        with pytest.raises(NotEmptyError):
            store.do(remove("/d"))
        before = store.query("SELECT id, parent_id, name FROM entries WHERE name IN ('e', 'f')")
        store.do(remove("/d", recursive=True))
        assert store.paths() == {}
        assert store.query("SELECT id, parent_id, name FROM entries WHERE name IN ('e', 'f')") == before
    assert store.one("SELECT count(*) FROM entries WHERE parent_id = ?", REMOVED_ENTRY_ID) == 2


def test_remove_of_what_is_not_there_or_not_expected(store: Store) -> None:
    """Each reason has its own error, and nothing happens."""
    version = store.commit("/f", "a").version
    for mutation, error in [
        (remove("/"), UsageError),
        (remove("/x"), NotFoundError),
        (remove("/x/y"), NotFoundError),
        (remove("/f/y"), WrongKindError),
        (remove("/f", expect=version + 1), ConflictError),
        (remove("/f", expect=EXPECT_ABSENT), AlreadyExistsError),
    ]:
        with pytest.raises(error):
            store.do(mutation)
    assert set(store.paths()) == {"/f"}
    store.do(remove("/f", expect=version))
    assert store.paths() == {}


# -- rename ----------------------------------------------------------------------------------------------------


def test_a_tree_is_renamed_in_one_row(store: Store) -> None:
    """All that is below comes along."""
    store.commit("/a/b/f", "x")
    store.do(make_directories("/t"))
    before = store.query("SELECT id, parent_id FROM entries WHERE name IN ('b', 'f')")
    store.do(rename("/a", "/t/z"))
    assert set(store.paths()) == {"/t", "/t/z", "/t/z/b", "/t/z/b/f"}
    assert store.query("SELECT id, parent_id FROM entries WHERE name IN ('b', 'f')") == before


def test_a_file_replaces_a_file(store: Store) -> None:
    """The replaced version begins its grace."""
    kept = store.commit("/a", "x").version
    replaced = store.commit("/b", "y").version
    store.do(rename("/a", "/b", expect=replaced))
    assert store.query("SELECT name, version_id FROM entries WHERE kind = 'file'") == [("b", kept)]
    assert store.query("SELECT id FROM versions WHERE removed_at IS NOT NULL") == [(replaced,)]


def test_a_directory_replaces_an_empty_directory(store: Store) -> None:
    """And no other."""
    store.do(make_directories("/a/x", "/b"))
    store.do(rename("/a", "/b"))
    assert set(store.paths()) == {"/b", "/b/x"}
    store.do(make_directories("/c"))
    with pytest.raises(NotEmptyError):
        store.do(rename("/c", "/b"))


def test_the_same_path_is_no_change(store: Store) -> None:
    """However it is spelled; but it must exist."""
    store.commit("/a/f", "x")
    store.do(rename("/a/f", "//a/f"))
    store.do(rename("/a", "/a"))
    assert set(store.paths()) == {"/a", "/a/f"}
    with pytest.raises(NotFoundError):
        store.do(rename("/b", "/b"))


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("/d", "/d/sub", UsageError),
        ("/d", "/d/e/sub", UsageError),
        ("/d", "/d/missing/sub", UsageError),
        ("/d/e", "/d", NotEmptyError),
        ("/", "/x", UsageError),
        ("/d", "/", UsageError),
        ("/missing", "/x", NotFoundError),
        ("/f", "/missing/x", NotFoundError),
        ("/f", "/g/x", WrongKindError),
        ("/f", "/d/e", WrongKindError),
        ("/d", "/f", WrongKindError),
    ],
)
def test_renames_that_cannot_be(store: Store, source: str, target: str, error: type[DfsError]) -> None:
    """Each is refused with its own error, and nothing moves."""
    store.run(make_directories("/d/e"), commit_files(file_commit("/f", "x"), file_commit("/g", "y")))
    before = store.paths()
    with pytest.raises(error):
        store.do(rename(source, target))
    assert store.paths() == before


def test_a_rename_says_what_it_expects_of_its_target(store: Store) -> None:
    """Absent, or one version."""
    version = store.commit("/a", "x").version
    store.commit("/b", "y")
    for expect, error in [(EXPECT_ABSENT, AlreadyExistsError), (version, ConflictError)]:
        with pytest.raises(error):
            store.do(rename("/a", "/b", expect=expect))
    store.do(rename("/a", "/c", expect=EXPECT_ABSENT))
    assert set(store.paths()) == {"/b", "/c"}


# -- policy ----------------------------------------------------------------------------------------------------


def test_a_policy_is_set_and_taken_back(store: Store) -> None:
    """0 inherits; the root may have one."""
    store.do(make_directories("/d"))
    store.run(set_policy("/d", 3), set_policy("/", 16))
    assert store.query("SELECT copies FROM entries WHERE id <> 2 ORDER BY id") == [(16,), (3,)]
    store.run(set_policy("/d", 0), set_policy("/", 0))
    assert store.one("SELECT count(*) FROM entries WHERE copies IS NOT NULL") == 0


@pytest.mark.parametrize(
    ("path", "copies", "error"),
    [("/", 17, UsageError), ("/", -1, UsageError), ("/x", 2, NotFoundError), ("/f", 2, WrongKindError)],
)
def test_policies_that_cannot_be(store: Store, path: str, copies: int, error: type[DfsError]) -> None:
    """Only directories have one, from 1 to 16."""
    store.commit("/f")
    with pytest.raises(error):
        store.do(set_policy(path, copies))


# -- requests of one group see each other ------------------------------------------------------------------------


def test_a_commit_below_a_tree_that_was_just_renamed(store: Store) -> None:
    """The new path leads there, the old one makes a new directory."""
    store.commit("/a/f", "x")
    _, (new,), (old,) = store.run(
        rename("/a", "/b"), commit_files(file_commit("/b/g", "y")), commit_files(file_commit("/a/h", "z"))
    )
    assert (new.code, old.code) == ("", "")
    assert set(store.paths()) == {"/b", "/b/f", "/b/g", "/a", "/a/h"}


def test_remove_then_create_then_remove(store: Store) -> None:
    """A name can change hands within a group."""
    first = store.commit("/f", "x").version
    _, (second,), _, (third,) = store.run(
        remove("/f", expect=first),
        commit_files(file_commit("/f", "y", expect=EXPECT_ABSENT)),
        remove("/f"),
        commit_files(file_commit("/f", "z", expect=EXPECT_ABSENT)),
    )
    assert store.query("SELECT id FROM versions WHERE removed_at IS NULL") == [(third.version,)]
    assert store.query("SELECT id FROM versions WHERE removed_at IS NOT NULL") == [(first,), (second.version,)]


def test_made_and_removed_in_one_group_leaves_nothing(store: Store) -> None:
    """No row is written only to be deleted."""
    store.run(make_directories("/d/e"), remove("/d/e"), remove("/d"))
    assert store.one("SELECT count(*) FROM entries") == 2


def test_a_directory_emptied_in_the_group_can_be_removed(store: Store) -> None:
    """And one that was filled in it cannot."""
    store.commit("/d/f", "x")
    store.do(make_directories("/e"))
    outcomes = store.run(rename("/d/f", "/e/f"), remove("/d"), remove("/e"))
    assert outcomes[:2] == [None, None]
    assert isinstance(outcomes[2], NotEmptyError)
    assert set(store.paths()) == {"/e", "/e/f"}


def test_a_move_into_a_directory_of_the_same_group(store: Store) -> None:
    """The parent's row is there before the child points at it."""
    store.commit("/f", "x")
    store.run(make_directories("/d"), rename("/f", "/d/f"))
    assert set(store.paths()) == {"/d", "/d/f"}


def test_two_files_swap_their_names_in_one_group(store: Store) -> None:
    """No order of statements does that at once: the group is taken one by one."""
    a, b = store.commit("/a", "x").version, store.commit("/b", "y").version
    assert store.run(rename("/a", "/t"), rename("/b", "/a"), rename("/t", "/b")) == [None, None, None]
    assert store.query("SELECT name, version_id FROM entries WHERE kind = 'file' ORDER BY name") == [
        ("a", b),
        ("b", a),
    ]


def test_a_database_without_a_root_is_corrupt(store: Store) -> None:
    """Said so, instead of a fault."""
    store.execute("PRAGMA foreign_keys = OFF")
    store.execute("DELETE FROM entries WHERE id = 1")
    with pytest.raises(CorruptError, match="no root"):
        store.do(remove("/f"))
