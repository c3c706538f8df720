"""A migrated database for each test, made once, and rows in it without the committer."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from blake3 import blake3

from dfs_master.catalog import migrate, rows
from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.models import ROOT_ENTRY_ID
from dfs_runtime.clock import ManualClock

DATABASE_NAME = "metadata.db"


@cache
def _template() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / DATABASE_NAME
        migrate.upgrade(path, ManualClock())
        return path.read_bytes()


def new_database(directory: Path) -> Path:
    """A database with the newest schema and nothing in it."""
    path = directory / DATABASE_NAME
    path.write_bytes(_template())
    return path


def digest_of(text: str) -> bytes:
    """A digest to tell chunks apart by."""
    return blake3(text.encode()).digest()


class CatalogBuilder:
    """Writes rows as a committer would leave them; each call is its own transaction. Used by one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = connect_raw(open_engine(path))
        self._cursor = self._connection.cursor()
        self._next_id = 100

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def execute(self, sql: str, *values: object) -> None:
        """Anything that has no method."""
        self._cursor.execute(sql, values)

    def setting(self, name: str, value: str) -> None:
        """Write one setting."""
        rows.SETTINGS.insert(self._cursor, [rows.SettingRow(name, value)])

    def node(self, node_id: int, state: str = "live") -> None:
        """Register `node-ID`."""
        name, public = f"node-{node_id}", f"127.0.0.1:{5000 + node_id}"
        row = rows.NodeRow(node_id, name, f"{name}:5001", public, "", 1000, 10, state, "ok", "fs", 1, 5_000, 1_000)
        rows.NODES.insert(self._cursor, [row])

    def directory(self, name: str, parent: int = ROOT_ENTRY_ID, *, copies: int | None = None) -> int:
        """Make a directory; returns its entry's id."""
        entry_id = self._id()
        row = rows.EntryRow(entry_id, parent, name, "directory", None, 0o750, 7_000_000_000, copies)
        rows.ENTRIES.insert(self._cursor, [row])
        return entry_id

    def chunk(self, text: str, size: int, nodes: Sequence[int] = (), *, wanted: int = 2) -> int:
        """Make a chunk with good replicas on these nodes; returns its id."""
        chunk_id = self._id()
        row = rows.ChunkRow(chunk_id, digest_of(text), size, wanted, len(nodes), None, "stored")
        rows.CHUNKS.insert(self._cursor, [row])
        replicas = [rows.ReplicaRow(chunk_id, node, 1, "good", 2_000, 2_000) for node in nodes]
        rows.REPLICAS.insert(self._cursor, replicas)
        return chunk_id

    def file(self, name: str, parent: int = ROOT_ENTRY_ID, *, chunks: Sequence[tuple[int, int]] = ()) -> int:
        """Make a file of whole chunks, given as (chunk id, length); returns its version's id."""
        entry_id, version_id = self._id(), self._id()
        size = sum(length for _, length in chunks)
        version = rows.VersionRow(version_id, entry_id, size, digest_of(name), 9_000_000_001, 0o640, 3_000, None)
        rows.VERSIONS.insert(self._cursor, [version])
        extents = [
            rows.ExtentRow(version_id, ordinal, chunk_id, 0, length)
            for ordinal, (chunk_id, length) in enumerate(chunks)
        ]
        rows.EXTENTS.insert(self._cursor, extents)
        rows.ENTRIES.insert(self._cursor, [rows.EntryRow(entry_id, parent, name, "file", version_id, None, None, None)])
        return version_id

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id
