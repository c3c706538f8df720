"""SQLite's own, as far as the driver goes: pragmas, backup, checkpoints, integrity checks, errors.

`dialect` has what is SQLite's own in SQL. Nothing here loads SQLAlchemy, which `init` does without.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote

from dfs_runtime.files import SECRET_MODE
from dfs_wire.errors import CorruptError, DfsError, NoSpaceError, SchemaError, UnavailableError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

    AnyConnection = DBAPIConnection | sqlite3.Connection

#: What `connect` gives.
Connection = sqlite3.Connection

DRIVER_ERROR = sqlite3.Error

# The driver knows of some types that they need no adapting and looks for an adapter of all others, value by value; of
# these two, which most rows have, it would find out each time that they have none. Both give back what they are given.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(NoneType, cast("Callable[[None], None]", {}.get))

#: Takes the write lock at once, so that a transaction never fails half-way because somebody else wrote.
BEGIN_WRITE = "BEGIN IMMEDIATE"

_BUSY_MS = 10_000
#: Each connection keeps its own; the operating system's page cache holds the rest. No memory map: an I/O error
#: under one is a SIGBUS instead of an error, and its pages count as the process's own.
_CACHE_KIB = 4 * 1024
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


def database_uri(path: Path, *, read_only: bool) -> str:
    """The address of a database file, which exists: a lost one must not become an empty one."""
    return f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rw'}"


#: Transactions are ours: the driver sends no BEGIN of its own, neither before an INSERT nor around DDL.
CONNECT_ARGUMENTS: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "cached_statements": 256}


def create_file(path: Path) -> None:
    """Make an empty file, which is an empty database, unless one is there. The log beside it gets the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET_MODE))


def connect(path: Path) -> Connection:
    """A prepared connection to a database file, without SQLAlchemy.

    Raises:
        SchemaError, CorruptError, UnavailableError: as `prepare`.
    """
    try:
        connection: Connection = sqlite3.connect(database_uri(path, read_only=False), uri=True, **CONNECT_ARGUMENTS)
    except sqlite3.Error as error:
        raise translated(error) from error
    try:
        prepare(connection, read_only=False)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: "AnyConnection", *, read_only: bool) -> None:
    """Set a fresh connection up, and refuse one that would acknowledge what is not durable.

    Raises:
        SchemaError: it does not keep a write-ahead log with full synchronisation.
        CorruptError: the file is no database, or a damaged one.
        UnavailableError: it is locked, or the disk fails.
    """
    try:
        for pragma in _PRAGMAS:
            _fetch(connection, pragma)
        ((journal,),) = _fetch(connection, "PRAGMA journal_mode" if read_only else "PRAGMA journal_mode = WAL")
        ((synchronous,),) = _fetch(connection, "PRAGMA synchronous")
    except sqlite3.Error as error:
        raise translated(error) from error
    if not read_only and (journal != "wal" or synchronous != _FULL):
        raise SchemaError(
            f"the metadata database runs with journal_mode {journal} and synchronous {synchronous}, not wal and full;"
            " put it on a file system with shared memory and locks"
        )


def checkpoint(connection: "AnyConnection", *, truncate: bool = False) -> CheckpointResult:
    """Move the write-ahead log into the database file: what is free to move, or (`truncate`) all, waiting for it."""
    ((busy, log, moved),) = _fetch(connection, f"PRAGMA wal_checkpoint({'TRUNCATE' if truncate else 'PASSIVE'})")
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
        OSError, DfsError: `target` may hold a part; the caller removes it.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET_MODE)
    try:
        with (
            closing(
                sqlite3.connect(database_uri(source, read_only=True), uri=True, timeout=_BUSY_MS / 1000)
            ) as reading,
            closing(sqlite3.connect(target, isolation_level=None)) as writing,
        ):
            # All pages in one step: the source is in WAL, so its writers do not wait, and the copy needs no restart.
            reading.backup(writing)
            # One file, no log beside it: a copy is moved and kept by people. Opening it for service turns WAL on again.
            writing.execute("PRAGMA journal_mode = DELETE").fetchall()
        os.fsync(descriptor)
    except sqlite3.Error as error:
        raise translated(error) from error
    finally:
        os.close(descriptor)


def integrity_faults(connection: "AnyConnection") -> list[str]:
    """What SQLite's own check of its pages and indices finds wrong, a sentence each."""
    try:
        return [line for (line,) in _fetch(connection, "PRAGMA integrity_check") if line != "ok"]
    except sqlite3.DatabaseError as error:
        return [str(error)]


def foreign_key_faults(connection: "AnyConnection") -> list[str]:
    """Rows that refer to a row that is not there, a sentence each."""
    rows = _fetch(connection, "PRAGMA foreign_key_check")
    return [f"a row of {table} ({row_id}) refers to no row of {parent}" for table, row_id, parent, _ in rows]


def set_foreign_keys(connection: "AnyConnection", *, on: bool) -> None:
    """Switch the checking of foreign keys. Has no effect inside a transaction."""
    _fetch(connection, f"PRAGMA foreign_keys = {'ON' if on else 'OFF'}")


def _fetch(connection: "AnyConnection", sql: str) -> Sequence[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return cursor.fetchall()
    finally:
        cursor.close()


def translated(error: sqlite3.Error) -> DfsError:
    """The driver's error as one of ours, for whoever works on the file outside a serving master."""
    if is_busy(error):
        return UnavailableError("the metadata database is in use by another process; end it, or try again")
    if is_full(error):
        return NoSpaceError("the disk below the metadata database is full; make room")
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return CorruptError(f"the metadata database is damaged ({error}); restore a backup of it")
    return UnavailableError(f"the metadata database cannot be used ({error}); look at its disk and its permissions")


def is_busy(error: BaseException) -> bool:
    """Whether another process held the database for longer than the busy time-out."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def is_full(error: BaseException) -> bool:
    """Whether the disk, or a limit on the file, leaves no room for the change."""
    return getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_TOOBIG")


def is_conflict(error: BaseException) -> bool:
    """Whether a row broke a rule of its table, such as a key that is there already."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_CONSTRAINT")


def is_storage_failure(error: BaseException) -> bool:
    """Whether the disk below the database failed, or the file is damaged: a process must not go on with either."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN"))
