"""What the schema itself refuses, and what people see through its views."""

import sqlite3
from pathlib import Path

import pytest
from tests.support.catalog import CatalogBuilder, digest_of

from dfs_master.catalog.models import REMOVED_ENTRY_ID
from dfs_wire.messages import VolumeState

_D = bytes(32)


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("INSERT INTO entries VALUES (50, 1, 'x', 'link', NULL, 1, 1, NULL)", ()),
        ("INSERT INTO entries VALUES (50, 1, 'x', 'file', NULL, 1, 1, NULL)", ()),
        ("INSERT INTO entries VALUES (50, 1, 'x', 'directory', NULL, NULL, 1, NULL)", ()),
        ("INSERT INTO entries VALUES (50, 1, 'x', 'directory', 9, 1, 1, NULL)", ()),
        ("INSERT INTO entries VALUES (50, 1, 'x', 'directory', NULL, 1, 1, 0)", ()),
        ("INSERT INTO entries VALUES (50, 1, 'x', 'directory', NULL, 1, 1, 17)", ()),
        ("INSERT INTO entries VALUES (50, NULL, 'x', 'directory', NULL, 1, 1, NULL)", ()),
        ("INSERT INTO entries VALUES (50, 49, 'x', 'directory', NULL, 1, 1, NULL)", ()),
        ("INSERT INTO versions VALUES (50, 1, -1, ?, 0, 0, 0, NULL)", (_D,)),
        ("INSERT INTO versions VALUES (50, 1, 0, ?, 0, 0, 0, NULL)", (_D[1:],)),
        ("INSERT INTO chunks VALUES (50, ?, 67108865, 1, 1, NULL, 'stored')", (_D,)),
        ("INSERT INTO chunks VALUES (50, ?, 1, 1, -1, NULL, 'stored')", (_D,)),
        ("INSERT INTO chunks VALUES (50, ?, 1, 1, 1, NULL, 'lost')", (_D,)),
        ("INSERT INTO extents VALUES (1, 0, 1, 0, 0)", ()),
        ("INSERT INTO extents VALUES (1, 0, 1, 0, 5)", ()),
        ("INSERT INTO replicas VALUES (1, 1, 1, 'good', 0, 0)", ()),
        ("INSERT INTO requests VALUES (?, ?, 0)", (b"short", b"")),
        ("INSERT INTO credentials VALUES (1, 'root', ?, '', 0)", (_D,)),
    ],
)
def test_rows_that_break_an_invariant_are_refused(build: CatalogBuilder, sql: str, values: tuple[object, ...]) -> None:
    """The database is the last guard, whoever writes."""
    with pytest.raises(sqlite3.IntegrityError):
        build.execute(sql, *values)


@pytest.mark.parametrize("state", list(VolumeState))
def test_every_state_of_a_volume_fits(build: CatalogBuilder, state: VolumeState) -> None:
    """The words of the wire are the words of the table."""
    build.node(1)
    build.execute("UPDATE nodes SET volume_state = ?", state)


def test_a_name_stands_once_in_a_directory(build: CatalogBuilder) -> None:
    """Twice in a tree, yes."""
    build.directory("x", build.directory("x"))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        build.directory("x")


def _rows(database: Path, sql: str) -> list[dict[str, object]]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql)]
    finally:
        connection.close()


@pytest.fixture
def filled(build: CatalogBuilder, database: Path) -> Path:
    """`/d/f` of two extents on nodes 1 and 2 (dead), an empty file, a replaced version, a removed tree."""
    build.node(1)
    build.node(2, "dead")
    chunk = build.chunk("x", 10, [1, 2])
    build.file("f", build.directory("d"), chunks=[(chunk, 10), (chunk, 4)])
    build.file("empty")
    build.file("gone", build.directory("77", REMOVED_ENTRY_ID), chunks=[(chunk, 10)])
    return database


def test_file_replicas_has_a_row_for_each_replica_of_each_extent(filled: Path) -> None:
    """Of current versions that a name leads to, in the words and columns that people were promised."""
    rows = _rows(filled, "SELECT * FROM file_replicas ORDER BY path, ordinal, node")
    assert rows[0] == {
        "path": "/d/f",
        "size": 14,
        "ordinal": 0,
        "digest": digest_of("x").hex(),
        "offset": 0,
        "length": 10,
        "node": "node-1",
        "address": "node-1:5001",
        "state": "good",
    }
    assert [(row["path"], row["ordinal"], row["node"]) for row in rows] == [
        ("/d/f", 0, "node-1"),
        ("/d/f", 0, "node-2"),
        ("/d/f", 1, "node-1"),
        ("/d/f", 1, "node-2"),
    ]


def test_files_shows_the_tree(filled: Path) -> None:
    """Every name with its path; removed trees are out of sight."""
    rows = {row["path"]: row for row in _rows(filled, "SELECT * FROM files")}
    assert rows.keys() == {"/", "/d", "/d/f", "/empty"}
    assert rows["/d/f"] == {
        "path": "/d/f",
        "kind": "file",
        "size": 14,
        "digest": digest_of("f").hex(),
        "mtime": "1970-01-01T00:00:09.000Z",
        "mode": "0640",
        "version": rows["/d/f"]["version"],
    }
    assert (rows["/d"]["mode"], rows["/d"]["digest"], rows["/d"]["version"]) == ("0750", None, None)


def test_under_replicated_counts_live_and_draining_nodes_only(filled: Path, build: CatalogBuilder) -> None:
    """A copy on a dead node is no copy until it comes back."""
    expected = {"digest": digest_of("x").hex(), "size": 10, "copies_wanted": 2, "copies_good": 1}
    assert _rows(filled, "SELECT * FROM under_replicated") == [expected]
    build.execute("UPDATE nodes SET state = 'draining' WHERE id = 2")
    assert _rows(filled, "SELECT * FROM under_replicated") == []


def test_node_usage_sums_good_chunks(filled: Path, build: CatalogBuilder) -> None:
    """One row a node, also one that holds nothing; bad copies are counted apart."""
    build.node(3)
    build.execute("UPDATE replicas SET state = 'bad' WHERE node_id = 2")
    rows = _rows(filled, "SELECT node, state, chunks, bytes_of_chunks, lost_or_bad FROM node_usage ORDER BY node")
    assert [tuple(row.values()) for row in rows] == [
        ("node-1", "live", 1, 10, 0),
        ("node-2", "dead", 0, 0, 1),
        ("node-3", "live", 0, 0, 0),
    ]


def test_events_are_readable(build: CatalogBuilder, database: Path) -> None:
    """Times as people write them."""
    build.execute("INSERT INTO events VALUES (9, 1700000000123, 'copy_bad', 'node-1', '{}')")
    (row,) = _rows(database, "SELECT * FROM events_readable")
    assert row["at"] == "2023-11-14T22:13:20.123Z"
