"""Looking into the database file itself, read-only, whether its master runs or not: `db show` and `db check`."""

from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, select

from dfs_master.catalog import invariants, migrate, sqlite, views
from dfs_master.catalog.engine import connect_raw, open_engine, translated_errors
from dfs_master.catalog.statements import Row, Statement

_FETCH_ROWS = 1_000


class Subject(StrEnum):
    """What `db show` can print."""

    NODES = "nodes"
    FILES = "files"
    REPLICAS = "replicas"
    EVENTS = "events"


class _Source(NamedTuple):
    view: str
    order: tuple[str, ...]


_SOURCES = {
    Subject.NODES: _Source("node_usage", ("node",)),
    Subject.FILES: _Source("files", ("path",)),
    Subject.REPLICAS: _Source("file_replicas", ("path", "ordinal", "node")),
    Subject.EVENTS: _Source("events_readable", ("id",)),
}


class Shown(NamedTuple):
    """A view's columns and its rows. The rows read on while they are consumed."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


def show(path: Path, subject: Subject) -> Shown:
    """What the catalog holds, as people want to see it.

    Raises:
        NotFoundError: there is no database.
        SchemaError: it has another schema than this program.
        CorruptError, UnavailableError: it cannot be read.
    """
    engine = _open(path)
    source = _SOURCES[subject]
    view = views.table(source.view)
    statement = Statement(select(view).order_by(*(view.c[name] for name in source.order)))
    return Shown(tuple(view.c.keys()), _rows(engine, statement))


def check(path: Path) -> list[str]:
    """All that is wrong with the database, a sentence each; empty when it is sound. Reads everything.

    Raises:
        NotFoundError: there is no database.
        SchemaError: it has another schema than this program, so its rows cannot be judged.
        UnavailableError: it cannot be read now.
    """
    with translated_errors():
        engine = open_engine(path, read_only=True)
        with closing(connect_raw(engine)) as connection:
            faults = [f"integrity: {fault}" for fault in sqlite.integrity_faults(connection)]
            if faults:
                return faults
            migrate.require_head(engine)
            cursor = connection.cursor()
            cursor.execute("BEGIN")  # one moment for all: a master may be writing
            faults += [f"reference: {fault}" for fault in sqlite.foreign_key_faults(connection)]
            return faults + invariants.faults(cursor)


def _open(path: Path) -> Engine:
    with translated_errors():
        engine = open_engine(path, read_only=True)
        migrate.require_head(engine)
    return engine


def _rows(engine: Engine, statement: Statement) -> Iterator[Row]:
    with translated_errors(), closing(connect_raw(engine)) as connection:
        cursor = connection.cursor()
        statement.run(cursor)
        while rows := cursor.fetchmany(_FETCH_ROWS):
            yield from rows
