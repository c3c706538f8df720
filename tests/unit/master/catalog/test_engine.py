"""Connections that keep what was acknowledged, statements, checkpoints, copies."""

import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import SelectBase, UpdateBase, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.compiler import SQLCompiler

from dfs_master.catalog import migrate, sqlite, statements
from dfs_master.catalog.checkpoint import Checkpointer
from dfs_master.catalog.engine import connect_raw, open_engine, translated_errors
from dfs_master.catalog.models import Chunk, Entry, Extent, Node, Setting
from dfs_master.catalog.rows import NodeRow
from dfs_master.catalog.statements import Batch, Statement, columns
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import CorruptError, NotFoundError, SchemaError, UnavailableError

_READ = Statement(select(Setting.value).where(Setting.name == bindparam("name")))


@pytest.fixture
def raw(database: Path) -> Iterator[DBAPIConnection]:
    """A driver-level connection."""
    with closing(connect_raw(open_engine(database))) as connection:
        yield connection


def _pragma(connection: DBAPIConnection, name: str) -> object:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA {name}")
    return cursor.fetchall()[0][0]


def test_a_connection_is_durable_and_checks_references(raw: DBAPIConnection) -> None:
    """Each connection by itself: these are not properties of the file."""
    assert _pragma(raw, "journal_mode") == "wal"
    assert _pragma(raw, "synchronous") == 2
    assert _pragma(raw, "foreign_keys") == 1
    assert _pragma(raw, "wal_autocheckpoint") == 0


def test_a_connection_that_is_not_durable_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged over a database that does not sync."""
    weaker = tuple(pragma.replace("synchronous = FULL", "synchronous = NORMAL") for pragma in sqlite._PRAGMAS)
    monkeypatch.setattr(sqlite, "_PRAGMAS", weaker)
    with pytest.raises(SchemaError, match="synchronous 1"):
        connect_raw(open_engine(database))


def test_the_driver_begins_nothing_by_itself(database: Path, raw: DBAPIConnection) -> None:
    """Outside our own BEGIN a statement is its own transaction; inside, DDL rolls back as well."""
    cursor = raw.cursor()
    Statement(insert(Setting)).run(cursor, name="a", value="1")
    with closing(connect_raw(open_engine(database))) as other:
        assert _READ.one(other.cursor(), name="a") == ("1",)
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute("CREATE TABLE extra (a)")
    raw.rollback()
    cursor.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'")
    assert cursor.fetchall() == [(0,)]


def test_a_lost_database_does_not_become_an_empty_one(tmp_path: Path) -> None:
    """Only `upgrade` creates a file."""
    for read_only in (True, False):
        with pytest.raises(NotFoundError, match="init"):
            open_engine(tmp_path / "lost.db", read_only=read_only)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_connection_writes_nothing(database: Path) -> None:
    """`db show` cannot harm the file."""
    with (
        closing(connect_raw(open_engine(database, read_only=True))) as connection,
        pytest.raises(UnavailableError, match="readonly"),
        translated_errors(),
    ):
        Statement(insert(Setting)).run(connection.cursor(), name="a", value="1")


def test_odd_characters_in_the_path_of_the_database(tmp_path: Path) -> None:
    """The path travels in a URI, where some characters have a meaning."""
    directory = tmp_path / "a b?c#d%41é"
    directory.mkdir()
    migrate.upgrade(directory / "m.db", ManualClock())
    assert [path.name for path in directory.iterdir()] == ["m.db"]


def test_a_statement_keeps_its_constants_and_takes_its_parameters(raw: DBAPIConnection) -> None:
    """Names are bound in the order of the placeholders, lists of constants are written out."""
    cursor = raw.cursor()
    Statement(insert(Setting)).many(cursor, [{"value": str(n), "name": name} for n, name in enumerate("abc")])
    some = Statement(select(Setting.value).where(Setting.name.in_(["a", "c"]), Setting.value != bindparam("value")))
    assert some.all(cursor, value="0") == [("2",)]
    change = Statement(update(Setting).where(Setting.name == bindparam("which")).values(value=bindparam("value")))
    assert change.names == ("value", "which")
    assert change.run(cursor, which="b", value="9") == 1
    assert change.run(cursor, which="z", value="9") == 0
    change.many(cursor, [{"which": "a", "value": "7"}, {"which": "b", "value": "8"}])
    assert _READ.one(cursor, name="b") == ("8",)
    assert _READ.one(cursor, name="z") is None


def test_a_statement_is_compiled_once_and_only_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A master that starts needs few of its statements."""
    compiled, real = [], statements._compile

    def counted(expression: SelectBase | UpdateBase, dialect: Dialect) -> SQLCompiler:
        compiled.append(expression)
        return real(expression, dialect)

    monkeypatch.setattr(statements, "_compile", counted)
    statement = Statement(select(Setting.value).where(Setting.name == bindparam("name")))
    batch = Batch(lambda keys: select(Setting.value).where(Setting.name.in_(keys)))
    assert compiled == []
    assert statement.sql.startswith("SELECT")
    assert statement.names == ("name",)
    assert len(compiled) == 1
    assert batch.sql == batch.sql
    assert len(compiled) == 2
    with pytest.raises(AttributeError, match="nothing_of_it"):
        _ = statement.nothing_of_it


def test_many_of_nothing_is_nothing(raw: DBAPIConnection) -> None:
    """A group without rows for a table sends no statement."""
    Statement(insert(Setting)).many(raw.cursor(), [])


def test_a_missing_parameter_is_an_error(raw: DBAPIConnection) -> None:
    """Never NULL by accident."""
    with pytest.raises(KeyError, match="name"):
        _READ.one(raw.cursor())


def test_statements_compile_for_postgresql_too() -> None:
    """The hot paths stand in Core, not in one database's words."""
    page = select(Entry.name).where(Entry.parent_id == bindparam("parent"), Entry.name > bindparam("after")).limit(5)
    dialect = PGDialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
    assert "%(parent)s" in Statement(page, dialect=dialect).sql


def test_partial_indices_are_partial_in_postgresql_too() -> None:
    """Others are as they are."""
    dialect = PGDialect()  # type: ignore[no-untyped-call]
    made = [str(CreateIndex(index).compile(dialect=dialect)) for index in Chunk.__table__.indexes]
    assert made
    assert all(" WHERE " in sql for sql in made)
    assert "WHERE" not in str(CreateIndex(next(iter(Extent.__table__.indexes))).compile(dialect=dialect))


def test_a_checkpoint_moves_the_log(database: Path, raw: DBAPIConnection) -> None:
    """What was committed is in the file afterwards; a log beyond its limit is emptied."""
    cursor = raw.cursor()
    Statement(insert(Setting)).run(cursor, name="a", value="1")
    checkpointer = Checkpointer(open_engine(database), database, log_bytes_max=1)
    try:
        assert sqlite.log_bytes(database) > 0
        checkpointer.step()
        assert sqlite.log_bytes(database) == 0
    finally:
        checkpointer.close()
    copy = database.with_name("alone.db")
    copy.write_bytes(database.read_bytes())
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT value FROM settings").fetchone() == ("1",)


def test_a_short_log_is_kept_for_the_next_commits(database: Path, raw: DBAPIConnection) -> None:
    """The passive checkpoint makes nobody wait and does not cut the file."""
    Statement(insert(Setting)).run(raw.cursor(), name="a", value="1")
    with closing(Checkpointer(open_engine(database), database)) as checkpointer:
        length = sqlite.log_bytes(database)
        checkpointer.step()
        assert sqlite.log_bytes(database) == length
    assert sqlite.checkpoint(raw) == (False, length // 4096, length // 4096)


def test_a_copy_is_taken_while_a_writer_is_in_mid_transaction(database: Path, raw: DBAPIConnection) -> None:
    """It shows the last commit, is private, one file, and never replaces anything."""
    cursor = raw.cursor()
    write = Statement(insert(Setting))
    write.run(cursor, name="committed", value="1")
    cursor.execute("BEGIN IMMEDIATE")
    write.run(cursor, name="open", value="1")
    target = database.with_name("copy.db")
    migrate.copy_database(database, target)
    raw.rollback()
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT name FROM settings").fetchall() == [("committed",)]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()
    with pytest.raises(FileExistsError):
        migrate.copy_database(database, target)
    assert target.read_bytes() == before
    assert not [path for path in database.parent.iterdir() if path.suffix == ".tmp"]


def test_a_failed_copy_leaves_nothing(database: Path) -> None:
    """Neither the target nor a temporary file."""
    database.write_bytes(b"garbage" * 1000)
    with pytest.raises(CorruptError, match="damaged"):
        migrate.copy_database(database, database.with_name("copy.db"))
    assert {path.name for path in database.parent.iterdir()} <= {"metadata.db", "metadata.db-wal", "metadata.db-shm"}


def test_a_locked_database_is_said_to_be_in_use(database: Path, raw: DBAPIConnection) -> None:
    """The sentence tells it apart from damage."""
    raw.cursor().execute("BEGIN IMMEDIATE")
    with closing(connect_raw(open_engine(database))) as second:
        cursor = second.cursor()
        cursor.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(UnavailableError, match="in use"), translated_errors():
            cursor.execute("BEGIN IMMEDIATE")


def test_faults_of_our_own_are_not_translated() -> None:
    """Only the driver's errors speak of the database."""
    with pytest.raises(ValueError, match="ours"), translated_errors():
        raise ValueError("ours")


def test_connections_may_be_closed_by_another_thread(database: Path) -> None:
    """Readers are made in their threads and closed at the end of the process."""
    made: list[DBAPIConnection] = []
    thread = threading.Thread(target=lambda: made.append(connect_raw(open_engine(database))))
    thread.start()
    thread.join()
    made[0].close()


def test_node_columns_read_in_the_order_of_the_row() -> None:
    """A select for a named tuple follows its fields."""
    assert tuple(column.name for column in columns(Node, NodeRow).selected_columns) == NodeRow._fields


def test_a_reader_that_stays_makes_no_writer_wait(
    database: Path, raw: DBAPIConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is too long cannot be emptied while somebody reads one moment: that is tried briefly, and seldom."""
    write = Statement(insert(Setting))
    write.run(raw.cursor(), name="a", value="1")
    tried: list[bool] = []
    checkpoint = sqlite.checkpoint

    def counted(connection: DBAPIConnection, *, truncate: bool = False) -> sqlite.CheckpointResult:
        tried.append(truncate)
        return checkpoint(connection, truncate=truncate)

    monkeypatch.setattr(sqlite, "checkpoint", counted)
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as reader,
        closing(Checkpointer(open_engine(database), database, log_bytes_max=1)) as checkpointer,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM settings").fetchone()
        write.run(raw.cursor(), name="b", value="1")
        began = time.monotonic()
        for _ in range(30):
            checkpointer.step()
        assert time.monotonic() - began < 5
        assert tried.count(True) == 1
        reader.execute("ROLLBACK")
        for _ in range(60):
            checkpointer.step()
    assert sqlite.log_bytes(database) == 0
