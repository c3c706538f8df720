"""The overlay of a group: what it read, what it made of that, and stepping back."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.catalog import CatalogBuilder, digest_of

from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.fresh import FIRST_FREE_ID
from dfs_master.catalog.ids import Counters, IdBlocks
from dfs_master.catalog.models import ROOT_ENTRY_ID, Node
from dfs_master.catalog.overlay import Journal, Overlay
from dfs_master.catalog.rows import EntryRow, ExtentRow, SettingRow, TableWriter
from dfs_master.catalog.staging import Staging


@pytest.fixture
def cursor(database: Path) -> Iterator[Any]:
    """A cursor of the driver's own."""
    with closing(connect_raw(open_engine(database))) as connection:
        yield connection.cursor()


@pytest.fixture
def staging(cursor: Any) -> Staging:
    """An overlay over an empty catalog."""
    return Staging(cursor, IdBlocks(Counters(cursor), block=3))


def directory(entry_id: int, name: str, parent: int = ROOT_ENTRY_ID) -> EntryRow:
    """A directory's row."""
    return EntryRow(entry_id, parent, name, "directory", None, 0o755, 0, None)


# -- overlay and journal ---------------------------------------------------------------------------------------


def test_an_overlay_tells_inserts_updates_and_deletes_apart() -> None:
    """By what the database held; what came out as it was is no change."""
    overlay: Overlay[str, int] = Overlay(Journal())
    for key, row in {"kept": 1, "changed": 2, "deleted": 3, "back": 4}.items():
        overlay.learn(key, row)
    assert overlay.learn("absent", None) is None
    overlay.put("changed", 20)
    overlay.put("deleted", None)
    overlay.put("back", 40)
    overlay.put("back", 4)
    overlay.put("new", 5)
    overlay.put("brief", 6)
    overlay.put("brief", None)
    assert list(overlay.changes()) == [(2, 20), (3, None), (None, 5)]
    assert sorted(overlay.rows()) == [1, 4, 5, 20]
    assert dict(overlay.items()) == {"changed": 20, "back": 4, "new": 5}
    assert [overlay.is_new(key) for key in ("new", "changed", "brief", "kept")] == [True, False, False, False]
    assert ("absent" in overlay, "unread" in overlay) == (True, False)


def test_what_a_group_made_outlives_what_it_reads_later() -> None:
    """Learning never covers a change."""
    overlay: Overlay[str, int] = Overlay(Journal())
    overlay.put("key", 2)
    assert overlay.learn("key", 1) == 2
    assert list(overlay.changes()) == [(1, 2)]


def test_steps_are_taken_back_to_a_mark() -> None:
    """Newest first, over several dictionaries."""
    journal = Journal()
    one: dict[str, int] = {"a": 1}
    other: dict[str, int] = {}
    journal.set(one, "a", 2)
    mark = journal.mark()
    journal.set(one, "a", 3)
    journal.set(other, "b", 1)
    journal.set(other, "b", 2)
    journal.undo(mark)
    assert (one, other) == ({"a": 2}, {})
    journal.undo(0)
    assert one == {"a": 1}


# -- ids -------------------------------------------------------------------------------------------------------


def test_ids_come_in_blocks(cursor: Any) -> None:
    """One write for many ids; the database is always ahead of them."""
    ids = IdBlocks(Counters(cursor), block=3)
    assert [ids.take() for _ in range(4)] == [FIRST_FREE_ID + n for n in range(4)]
    assert Counters(cursor).read("next_id") == FIRST_FREE_ID + 6


def test_a_block_of_a_rolled_back_transaction_is_dropped(cursor: Any) -> None:
    """One of an earlier, durable transaction is not."""
    ids = IdBlocks(Counters(cursor), block=3)
    cursor.execute("BEGIN")
    first = ids.take()
    cursor.execute("ROLLBACK")
    ids.drop()
    assert ids.take() == first
    ids.keep()
    ids.drop()
    assert ids.take() == first + 1


# -- tree ------------------------------------------------------------------------------------------------------


def test_look_ups_see_overlay_and_database(staging: Staging, build: CatalogBuilder) -> None:
    """By id, by name and as children, before and after a change."""
    old = build.directory("old")
    build.directory("below", old)
    staging.tree.put(directory(9_000, "new"))
    assert staging.tree.child(ROOT_ENTRY_ID, "missing") is None
    assert staging.tree.child(ROOT_ENTRY_ID, "missing") is None
    found = staging.tree.child(ROOT_ENTRY_ID, "old")
    assert found is not None
    staging.tree.put(found._replace(name="renamed"))
    assert staging.tree.child(ROOT_ENTRY_ID, "old") is None
    assert staging.tree.entry(old) == found._replace(name="renamed")
    assert {row.name for row in staging.tree.children(ROOT_ENTRY_ID, 10)} == {"new", "renamed"}
    assert staging.tree.has_children(old)
    assert not staging.tree.has_children(9_000)
    assert staging.tree.child(9_000, "x") is None


def test_children_are_found_behind_those_that_are_gone(staging: Staging, build: CatalogBuilder) -> None:
    """A page of one, though the first three of the database were dropped."""
    for name in "abcd":
        build.directory(name)
    for name in "abc":
        row = staging.tree.child(ROOT_ENTRY_ID, name)
        assert row is not None
        staging.tree.drop(row)
    assert [row.name for row in staging.tree.children(ROOT_ENTRY_ID, 1)] == ["d"]
    assert len(staging.tree.children(ROOT_ENTRY_ID, 0)) == 0


def test_an_undone_move_is_not_seen(staging: Staging, build: CatalogBuilder) -> None:
    """Both names are as they were."""
    build.directory("a")
    row = staging.tree.child(ROOT_ENTRY_ID, "a")
    assert row is not None
    mark = staging.mark()
    staging.tree.put(row._replace(name="b"))
    staging.undo(mark)
    assert staging.tree.child(ROOT_ENTRY_ID, "a") == row
    assert staging.tree.child(ROOT_ENTRY_ID, "b") is None
    assert staging.is_empty()


def test_after_clear_the_database_is_read_again(staging: Staging, build: CatalogBuilder) -> None:
    """Nothing of a group reaches the next."""
    assert staging.tree.child(ROOT_ENTRY_ID, "a") is None
    assert staging.content.chunk(digest_of("x")) is None
    staging.clear()
    build.directory("a")
    build.node(1)
    chunk_id = build.chunk("x", 10, [1])
    assert staging.tree.child(ROOT_ENTRY_ID, "a") is not None
    chunk = staging.content.chunk(digest_of("x"))
    assert chunk is not None
    assert chunk.id == chunk_id
    assert list(staging.content.replicas(chunk_id)) == [1]


def test_copies_good_counts_good_replicas(staging: Staging, build: CatalogBuilder, cursor: Any) -> None:
    """Whoever puts a chunk need not count."""
    build.node(1)
    build.node(2)
    chunk_id = build.chunk("x", 10, [1, 2])
    chunk = staging.content.chunk(digest_of("x"))
    assert chunk is not None
    replicas = staging.content.replicas(chunk_id)
    staging.content.put_chunk(chunk, {**replicas, 2: replicas[2]._replace(state="bad")})
    staging.flush()
    cursor.execute("SELECT copies_good FROM chunks")
    assert cursor.fetchall() == [(1,)]
    cursor.execute("SELECT node_id, state FROM replicas ORDER BY node_id")
    assert cursor.fetchall() == [(1, "good"), (2, "bad")]


# -- rows ------------------------------------------------------------------------------------------------------


def test_a_row_has_the_columns_of_its_table() -> None:
    """Else the program does not start."""
    with pytest.raises(TypeError, match="does not have the columns"):
        TableWriter(Node, ExtentRow)


def test_settings_are_made_once_and_then_changed(staging: Staging, cursor: Any) -> None:
    """The overlay knows which it is."""
    for value in ("1", "2"):
        staging.put_setting("name", value)
        assert staging.setting("name") == value
        staging.flush()
        staging.clear()
    cursor.execute("SELECT * FROM settings WHERE name = 'name'")
    assert cursor.fetchall() == [tuple(SettingRow("name", "2"))]
