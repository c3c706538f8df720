"""Catalogs as large as one likes: real rows of files, in the project's own schema, written past the committer.

Only for a database that no master serves. What it says of chunks on nodes is true for nobody who looks at a volume.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.fresh import FIRST_FREE_ID
from dfs_master.catalog.ids import Counters
from dfs_master.catalog.models import ROOT_ENTRY_ID
from dfs_master.catalog.rows import NODES, NodeRow
from dfs_wire.limits import GIB, MIB

FILES_PER_DIRECTORY = 1_000
ROOT = "full"
CHUNK_BYTES = 8 * MIB
CAPACITY_BYTES = 1_000 * GIB
_CACHE_KIB = 512 * 1024
_COPIES = 2

# Tables of the schema only; everything is made inside SQLite, so a million files take seconds.
_COUNTED = (
    "WITH RECURSIVE counted(n) AS (SELECT 0 WHERE :count > 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :count)"
)
_DIRECTORIES = f"""{_COUNTED}
INSERT INTO entries (id, parent_id, name, kind, version_id, mode, mtime_ns, copies)
SELECT :top + 1 + n, :top, printf('%06d', n), 'directory', NULL, 493, 0, NULL FROM counted"""
_CHUNKS = f"""{_COUNTED}
INSERT INTO chunks (id, digest, size, copies_wanted, copies_good, unreferenced_since, state)
SELECT :first + 3 * n + 2, randomblob(32), :size, {_COPIES}, {_COPIES}, NULL, 'stored' FROM counted"""
_VERSIONS = f"""{_COUNTED}
INSERT INTO versions (id, entry_id, size, digest, mtime_ns, mode, created_at, removed_at)
SELECT :first + 3 * n + 1, :first + 3 * n, c.size, c.digest, 0, 420, 0, NULL
FROM counted JOIN chunks c ON c.id = :first + 3 * n + 2"""
_FILES = f"""{_COUNTED}
INSERT INTO entries (id, parent_id, name, kind, version_id, mode, mtime_ns, copies)
SELECT :first + 3 * n, :top + 1 + n / :each, printf('%06d', n), 'file', :first + 3 * n + 1, NULL, NULL, NULL
FROM counted"""
_EXTENTS = f"""{_COUNTED}
INSERT INTO extents (version_id, ordinal, chunk_id, "offset", length)
SELECT :first + 3 * n + 1, 0, :first + 3 * n + 2, 0, :size FROM counted"""
# The first copy of every `stride`-th chunk lies on a node that is to die; all others on two that stay.
_COPIES_OF_ONE = f"""{_COUNTED}
INSERT INTO replicas (chunk_id, node_id, generation, state, stored_at, verified_at)
SELECT :first + 3 * n + 2, (SELECT id FROM temp.places WHERE %s), 1, 'good', 0, 0 FROM counted"""
_FIRST_COPIES = _COPIES_OF_ONE % (
    "dies = (n % :stride = 0 AND n / :stride < :mend)"
    " AND number = CASE WHEN n % :stride = 0 AND n / :stride < :mend THEN n / :stride % :dying"
    " ELSE n * 7919 % :staying END"
)
_SECOND_COPIES = _COPIES_OF_ONE % "dies = 0 AND number = (n * 7919 + 1 + n / 7 % (:staying - 1)) % :staying"


@dataclass(frozen=True, slots=True)
class Filled:
    """What was written: so many files, and whose chunks have a copy on a node that is to die."""

    files: int
    to_mend: int

    def path(self, number: int) -> str:
        """Where one of the files is."""
        return f"/{ROOT}/{number // FILES_PER_DIRECTORY:06}/{number:06}"

    def directory(self, number: int) -> str:
        """The directory of one of the files."""
        return f"/{ROOT}/{number // FILES_PER_DIRECTORY:06}"


def add_nodes(path: Path, count: int, *, dead: int = 0) -> list[int]:
    """Register nodes in a database, the first of them dead; returns their ids."""
    with closing(_open(path)) as database:
        first = Counters(_cursor(database)).advance("next_id", count, FIRST_FREE_ID)
        rows = [_node_row(first + number, dead=number < dead) for number in range(count)]
        NODES.insert(_cursor(database), rows)
        database.commit()
    return [row.id for row in rows]


def fill(path: Path, files: int, *, staying: Sequence[int], dying: Sequence[int] = (), mend: int = 0) -> Filled:
    """Files of one chunk each, a thousand a directory, two good copies each on record.

    `mend` of the chunks have their first copy on a node of `dying`, spread over all of them.

    Raises:
        ValueError: there are too few nodes, or fewer files than chunks to mend.
    """
    if len(staying) < _COPIES or mend > files or (mend and not dying):
        raise ValueError("two copies of each chunk need two nodes that stay, and a copy to lose a node that dies")
    directories = -(-files // FILES_PER_DIRECTORY)
    with closing(_open(path)) as database:
        top = Counters(_cursor(database)).advance("next_id", 1 + directories + 3 * files, FIRST_FREE_ID)
        database.execute(
            "CREATE TEMP TABLE places (dies INTEGER, number INTEGER, id INTEGER, PRIMARY KEY (dies, number))"
        )
        for dies, nodes in ((0, staying), (1, dying)):
            places = [(dies, number, node_id) for number, node_id in enumerate(nodes)]
            database.executemany("INSERT INTO places VALUES (?, ?, ?)", places)
        values = {
            "count": files,
            "top": top,
            "first": top + 1 + directories,
            "each": FILES_PER_DIRECTORY,
            "size": CHUNK_BYTES,
            "mend": mend,
            "stride": max(1, files // max(1, mend)),
            "staying": len(staying),
            "dying": max(1, len(dying)),
        }
        database.execute(
            "INSERT INTO entries (id, parent_id, name, kind, version_id, mode, mtime_ns, copies)"
            " VALUES (?, ?, ?, 'directory', NULL, 493, 0, NULL)",
            (top, ROOT_ENTRY_ID, ROOT),
        )
        database.execute(_DIRECTORIES, {**values, "count": directories})
        for statement in (_CHUNKS, _VERSIONS, _FILES, _EXTENTS, _FIRST_COPIES, _SECOND_COPIES):
            database.execute(statement, values)
        database.commit()
    os.sync()
    return Filled(files, mend)


def _open(path: Path) -> sqlite3.Connection:
    """Fast, and durable only after a sync; the master that opens the file next takes up its log again."""
    database = sqlite3.connect(path)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}", "temp_store = MEMORY"):
        database.execute(f"PRAGMA {pragma}")
    return database


def _cursor(database: sqlite3.Connection) -> DBAPICursor:
    """A cursor for the catalog's own statements, by SQLAlchemy's name for its type."""
    return cast("DBAPICursor", database.cursor())


def _node_row(node_id: int, *, dead: bool) -> NodeRow:
    name = f"seeded-{node_id}"
    return NodeRow(
        id=node_id,
        name=name,
        address=f"{name}:5001",
        public_address=f"{name}:5001",
        zone="",
        capacity_bytes=CAPACITY_BYTES,
        used_bytes=CAPACITY_BYTES // 10,
        state="dead" if dead else "live",
        volume_state="ok",
        filesystem_id=f"{node_id}",
        registration=1,
        last_seen_at=0,
        registered_at=0,
    )
