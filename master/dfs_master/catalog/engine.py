"""Opening the metadata database. Transactions are begun by hand everywhere; see `sqlite` for what a connection is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy import Engine as Engine  # the rest of the master names it from here
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from dfs_master.catalog import sqlite
from dfs_master.catalog.dialect import database_url
from dfs_wire.errors import NotFoundError


def open_engine(path: Path, *, read_only: bool = False) -> Engine:
    """An engine over the database file. Safe to share between threads; its connections are not.

    The first connection raises `SchemaError` where the file would not keep what was acknowledged. It keeps no pool:
    each role's thread holds one connection for its life, and closing one really closes it.

    Raises:
        NotFoundError: there is no such file; `migrate.upgrade` makes one.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no metadata database at {path}; make one with dfs-master init --data DIR")
    engine = create_engine(
        database_url(path, read_only=read_only), connect_args=sqlite.CONNECT_ARGUMENTS, poolclass=NullPool
    )

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        sqlite.prepare(connection, read_only=read_only)

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def connect_raw(engine: Engine) -> DBAPIConnection:
    """A connection of the driver's own, for statements without SQLAlchemy's cost. The caller closes it.

    The driver sends no BEGIN by itself: outside `BEGIN … COMMIT` each statement is its own transaction.

    Raises:
        SchemaError: the database does not keep what was acknowledged.
    """
    lent = engine.raw_connection()
    lent.detach()
    connection = lent.dbapi_connection
    if connection is None:
        raise RuntimeError("a fresh connection was closed already")
    return connection


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors into ours, for commands on the file; the committer judges its errors itself.

    Raises:
        CorruptError, UnavailableError, NoSpaceError: as the driver's error says.
    """
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, sqlite.DRIVER_ERROR):
            raise sqlite.translated(error.orig) from error
        raise
    except sqlite.DRIVER_ERROR as error:
        raise sqlite.translated(error) from error
