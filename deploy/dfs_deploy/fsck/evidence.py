"""The catalog and the scans side by side: a backup of the database and a scratch table, in one SQLite connection.

Comparing is SQLite's work, so that a catalog of millions of copies needs no memory of ours.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from dfs_deploy.fsck.volume_files import FoundCopy
from dfs_wire.errors import CorruptError

_BATCH = 5_000
_SCRATCH = """
CREATE TABLE found (node_id INTEGER NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL, generation INTEGER NOT NULL,
                    changed_at INTEGER NOT NULL, damage TEXT NOT NULL, PRIMARY KEY (node_id, digest)) WITHOUT ROWID;
CREATE TABLE scanned (node_id INTEGER PRIMARY KEY);
"""


class KnownNode(NamedTuple):
    """A node as the catalog knows it."""

    id: int
    name: str
    state: str


class Evidence:
    """Everything that a check looks at. Used by one thread; a `with` block closes it."""

    def __init__(self, scratch: Path, catalog: Path) -> None:
        self.connection = sqlite3.connect(scratch, isolation_level=None, uri=True)
        self.connection.executescript(_SCRATCH)
        self.attach("catalog", catalog)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def attach(self, name: str, database: Path) -> None:
        """Put a backup beside it, read only, under a name.

        Raises:
            CorruptError: it is no whole database.
        """
        try:
            self.connection.execute(
                f"ATTACH DATABASE ? AS {name}", (f"{database.resolve().as_uri()}?mode=ro&immutable=1",)
            )
            ((verdict,),) = self.connection.execute(f"PRAGMA {name}.quick_check(1)").fetchall()
        except sqlite3.DatabaseError as error:
            raise CorruptError(f"the metadata database cannot be read ({error}); restore a backup") from error
        if verdict != "ok":
            raise CorruptError(f"the metadata database is damaged ({verdict}); restore a backup")

    def cluster_id(self) -> str:
        """Whose catalog it is."""
        ((value,),) = self.connection.execute("SELECT value FROM catalog.settings WHERE name = 'cluster_id'").fetchall()
        return str(value)

    def nodes(self) -> list[KnownNode]:
        """All nodes, by name."""
        return [
            KnownNode(*row) for row in self.connection.execute("SELECT id, name, state FROM catalog.nodes ORDER BY 2")
        ]

    def add_scan(self, node_id: int, copies: Iterable[FoundCopy]) -> None:
        """Note what a volume holds. One that was noted is there whole, or not at all."""
        self.connection.execute("BEGIN")
        try:
            batch: list[tuple[int, bytes, int, int, int, str]] = []
            for copy in copies:
                digest = bytes.fromhex(copy.digest)
                batch.append((node_id, digest, copy.size, copy.generation, copy.changed_at_ms, copy.damage))
                if len(batch) == _BATCH:
                    self._insert(batch)
                    batch.clear()
            self._insert(batch)
            self.connection.execute("INSERT INTO scanned VALUES (?)", (node_id,))
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def _insert(self, batch: list[tuple[int, bytes, int, int, int, str]]) -> None:
        self.connection.executemany("INSERT INTO found VALUES (?, ?, ?, ?, ?, ?)", batch)


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a database that nobody has to have open, by SQLite's own backup.

    Raises:
        CorruptError: it is none.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written)
    except sqlite3.DatabaseError as error:
        raise CorruptError(f"the metadata database {source} cannot be read ({error}); restore a backup") from error
