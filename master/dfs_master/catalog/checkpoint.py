"""Keeping the write-ahead log short without making a commit wait for it."""

import logging
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

from dfs_master.catalog import sqlite
from dfs_master.catalog.engine import connect_raw
from dfs_wire.limits import MIB

log = logging.getLogger(__name__)

#: What a second of many clients writes stays well below that: emptying makes the log grow anew.
LOG_BYTES_MAX = 256 * MIB
#: Emptying waits for readers, and writers wait for it: no longer than this, and not again before so many steps.
_EMPTY_WAIT_MS = 100
_REST_STEPS = 60


class Checkpointer:
    """Moves the log into the database file, step by step. Used by one thread; that thread also closes it."""

    def __init__(self, engine: Engine, path: Path, *, log_bytes_max: int = LOG_BYTES_MAX) -> None:
        self._connection = connect_raw(engine)
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {_EMPTY_WAIT_MS}")
        self._path = path
        self._log_bytes_max = log_bytes_max
        self._rests = 0

    def step(self) -> None:
        """Every second: move what nobody reads; a log that grew too long is emptied, and writers wait for that.

        Usually the first is enough: the log then starts again from its beginning and keeps its length. Where somebody
        reads one moment of the database for long, the log grows until they end.
        """
        sqlite.checkpoint(self._connection)
        length = sqlite.log_bytes(self._path)
        if self._rests > 0:
            self._rests -= 1
        elif length > self._log_bytes_max:
            if sqlite.checkpoint(self._connection, truncate=True).busy:
                self._rests = _REST_STEPS
                log.warning("somebody reads the database for long, so that its log is %d bytes and grows", length)
            else:
                log.info("write-ahead log of %d bytes emptied", length)

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self._connection.close()
