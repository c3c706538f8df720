"""All that is SQLite's own: pragmas, backup, checkpoints, integrity checks, date functions of views."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect

from dfs_wire.errors import SchemaError

#: What statements are compiled for.
DIALECT: Dialect = sqlite_dialect()

DRIVER_ERROR = sqlite3.Error

_BUSY_MS = 10_000
#: Each connection keeps its own; the operating system's page cache holds the rest. No memory map: an I/O error
#: under one is a SIGBUS instead of an error, and its pages count as the process's own.
_CACHE_KIB = 8 * 1024
_FULL = 2

_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_MS}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
    # A checkpoint inside COMMIT would make one unlucky group wait for it: `checkpoint.Checkpointer` does it.
    "PRAGMA wal_autocheckpoint = 0",
)


class CheckpointResult(NamedTuple):
    """`busy`: somebody was in the way. Frames are pages in the write-ahead log; -1 when there is no log."""

    busy: bool
    log_frames: int
    moved_frames: int


def database_url(path: Path, *, read_only: bool) -> URL:
    """The address of a database file; a read-only one is never created."""
    mode = "ro" if read_only else "rwc"
    return URL.create("sqlite", database=f"file:{quote(str(path.absolute()))}", query={"mode": mode, "uri": "true"})


#: Transactions are ours: the driver sends no BEGIN of its own, neither before an INSERT nor around DDL.
CONNECT_ARGUMENTS: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "cached_statements": 256}


def prepare(connection: DBAPIConnection, *, read_only: bool) -> None:
    """Set a fresh connection up, and refuse one that would acknowledge what is not durable.

    Raises:
        SchemaError: the file is no database, or does not keep a write-ahead log with full synchronisation.
    """
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.execute("PRAGMA journal_mode" if read_only else "PRAGMA journal_mode = WAL")
        journal = str(cursor.fetchall()[0][0])
        cursor.execute("PRAGMA synchronous")
        synchronous = cursor.fetchall()[0][0]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise SchemaError(f"the metadata database cannot be read ({error}); restore a backup of it") from error
    finally:
        cursor.close()
    if journal != "wal" or synchronous != _FULL:
        raise SchemaError(
            f"the metadata database runs with journal_mode {journal} and synchronous {synchronous}, not wal and full;"
            " put it on a file system with shared memory and locks"
        )


def checkpoint(connection: DBAPIConnection, *, truncate: bool = False) -> CheckpointResult:
    """Move the write-ahead log into the database file: what is free to move, or (`truncate`) all, waiting for it."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if truncate else 'PASSIVE'})")
        busy, log, moved = cursor.fetchall()[0]
    finally:
        cursor.close()
    return CheckpointResult(bool(busy), int(log), int(moved))


def log_bytes(path: Path) -> int:
    """Size of the write-ahead log beside a database file."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def backup(source: Path, target: Path) -> None:
    """Copy a database, in use or not, as of one moment. `target` must not exist; it is fsynced, mode 0600.

    Raises:
        OSError, sqlite3.Error: `target` may hold a part; the caller removes it.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        uri = f"file:{quote(str(source.absolute()))}?mode=ro"
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_MS / 1000)) as reading,
            closing(sqlite3.connect(target, isolation_level=None)) as writing,
        ):
            # All pages in one step: the source is in WAL, so its writers do not wait, and the copy needs no restart.
            reading.backup(writing)
            # One file, no log beside it: a copy is moved and kept by people. Opening it for service turns WAL on again.
            writing.execute("PRAGMA journal_mode = DELETE").fetchall()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def integrity_faults(connection: DBAPIConnection) -> Iterator[str]:
    """What SQLite's own checks find wrong, a sentence each."""
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA integrity_check")
        for (line,) in cursor.fetchall():
            if line != "ok":
                yield f"integrity: {line}"
        cursor.execute("PRAGMA foreign_key_check")
        for table, row_id, parent, _ in cursor.fetchall():
            yield f"foreign key: a row of {table} ({row_id}) refers to no row of {parent}"
    except sqlite3.DatabaseError as error:
        yield f"integrity: {error}"
    finally:
        cursor.close()


def set_foreign_keys(connection: DBAPIConnection, *, on: bool) -> None:
    """Switch the checking of foreign keys. Has no effect inside a transaction."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if on else 'OFF'}")
    finally:
        cursor.close()
