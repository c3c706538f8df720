"""Keeping the write-ahead log short without making a commit wait for it."""

import logging
from pathlib import Path

from sqlalchemy import Engine

from dfs_master.catalog import sqlite
from dfs_master.catalog.engine import connect_raw
from dfs_wire.limits import MIB

log = logging.getLogger(__name__)

#: What a second of many clients writes stays well below that: emptying makes the log grow anew.
LOG_BYTES_MAX = 256 * MIB


class Checkpointer:
    """Moves the log into the database file, step by step. Used by one thread; that thread also closes it."""

    def __init__(self, engine: Engine, path: Path, *, log_bytes_max: int = LOG_BYTES_MAX) -> None:
        self._connection = connect_raw(engine)
        self._path = path
        self._log_bytes_max = log_bytes_max

    def step(self) -> None:
        """Every second: move what nobody reads; a log that grew too long is emptied, and writers wait for that.

        Usually the first is enough: the log then starts again from its beginning and keeps its length.
        """
        sqlite.checkpoint(self._connection)
        length = sqlite.log_bytes(self._path)
        if length > self._log_bytes_max:
            result = sqlite.checkpoint(self._connection, truncate=True)
            log.info("write-ahead log of %d bytes emptied", length, extra={"busy": result.busy})

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self._connection.close()
