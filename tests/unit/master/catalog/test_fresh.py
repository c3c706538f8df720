"""A new cluster's database is made without the migrations, and is what they would make."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.catalog import DATABASE_NAME

from dfs_master.catalog import fresh, migrate, sqlite, views
from dfs_master.initialise import initialise
from dfs_migrations.schema import schema_sql
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import AlreadyExistsError, CorruptError, SchemaError, UnavailableError

KEYS = [fresh.FirstKey("client", b"c" * 32, "the first"), fresh.FirstKey("admin", b"a" * 32, "the second")]


def _lines(sql: str) -> list[str]:
    """The lines of a definition in any order: a table made anew has its constraints in a different one each time."""
    return sorted(stripped for line in sql.splitlines() if (stripped := line.strip(", \t;")))


def _content(path: Path) -> dict[str, object]:
    """Everything that a database says: what was made, line by line, and all rows."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        return {
            "made": [(kind, name, _lines(sql or "")) for kind, name, sql in made],
            **{
                name: connection.execute(f'SELECT * FROM "{name}"').fetchall()
                for kind, name, _ in made
                if kind == "table"
            },
        }


def _put(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_the_schema_is_what_the_migrations_make(tmp_path: Path, database: Path) -> None:
    """The same tables, indices, views and first rows. After a new revision: `python -m dfs_migrations.schema`."""
    path = tmp_path / "new.db"
    fresh.make(path, {}, [], now_ms=0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM settings")  # the counter of ids, which the migrations leave to the master
    assert _content(path) == _content(database)


def test_the_file_is_written_by_its_program() -> None:
    """Line for line: nobody edits it by hand."""
    assert _lines(fresh.SCHEMA_FILE.read_text("utf-8")) == _lines(schema_sql())


def test_the_views_are_those_of_the_program() -> None:
    """Migrations and starts go by the file; what it says stands in `views`."""
    wanted = {name: text.split() for name, text in views.definitions().items()}
    assert {name: text.split() for name, text in fresh.views().items()} == wanted


def test_a_migration_finds_nothing_to_do(tmp_path: Path) -> None:
    """The revision and the views are the newest ones."""
    path = tmp_path / DATABASE_NAME
    fresh.make(path, {}, [], now_ms=0)
    before = path.read_bytes()
    assert migrate.upgrade(path, ManualClock()) == migrate.Upgrade(migrate.HEAD, migrate.HEAD)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == [DATABASE_NAME]


def test_keys_and_settings_are_there_with_the_schema(tmp_path: Path) -> None:
    """And no later row gets the id of a key."""
    path = tmp_path / DATABASE_NAME
    fresh.make(path, {"cluster_id": "me"}, KEYS, now_ms=7)
    content = _content(path)
    assert content["credentials"] == [
        (16, "client", b"c" * 32, "the first", 7),
        (17, "admin", b"a" * 32, "the second", 7),
    ]
    assert content["settings"] == [("cluster_id", "me"), ("next_id", "18")]
    assert fresh.cluster_in(path) == "me"


def test_an_attempt_that_fails_leaves_nothing_and_is_made_again(tmp_path: Path) -> None:
    """Schema and keys are one transaction."""
    path = tmp_path / DATABASE_NAME
    with pytest.raises(UnavailableError):
        fresh.make(path, {"cluster_id": "me"}, [KEYS[0], KEYS[0]], now_ms=7)
    assert _content(path) == {"made": []}
    assert fresh.cluster_in(path) is None
    fresh.make(path, {"cluster_id": "me"}, KEYS, now_ms=7)
    assert fresh.cluster_in(path) == "me"


def test_a_database_without_a_cluster_is_taken(tmp_path: Path, database: Path) -> None:
    """An earlier version, cut short between schema and keys, left one."""
    assert fresh.cluster_in(database) is None
    fresh.make(database, {"cluster_id": "me"}, KEYS, now_ms=7)
    assert fresh.cluster_in(database) == "me"


def test_what_is_not_ours_is_refused(tmp_path: Path, database: Path) -> None:
    """Other tables, another revision, no database at all: nothing is written."""
    foreign, nonsense = tmp_path / "foreign.db", tmp_path / "nonsense.db"
    _put(foreign, "CREATE TABLE somebodys (id INTEGER)")
    nonsense.write_bytes(b"no database" * 1000)
    with pytest.raises(SchemaError, match="something else"):
        fresh.cluster_in(foreign)
    with pytest.raises(CorruptError):
        fresh.cluster_in(nonsense)
    _put(database, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(SchemaError, match="0001"):
        fresh.cluster_in(database)


def test_a_second_cluster_is_never_made_over_the_first(tmp_path: Path) -> None:
    """Not even where its key is lost: a new one would not fit."""
    clock = ManualClock()
    made = initialise(tmp_path / "master", clock, copies=2)
    (tmp_path / "master" / "master.key").unlink()
    with pytest.raises(AlreadyExistsError):
        initialise(tmp_path / "master", clock, copies=2)
    assert not (tmp_path / "master" / "master.key").exists()
    assert fresh.cluster_in(tmp_path / "master" / DATABASE_NAME) == made.cluster_id


def test_init_loads_no_sqlalchemy(tmp_path: Path) -> None:
    """It was most of the time of `init`."""
    code = (
        "import sys\n"
        "from dfs_master.cli import master\n"
        "master(['init', '--data', sys.argv[1]], standalone_mode=False)\n"
        "print(*sorted({'sqlalchemy', 'alembic', 'logging'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "master")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[1] == ""


def test_the_prepared_connection_keeps_what_is_acknowledged(tmp_path: Path) -> None:
    """The same pragmas as the master's own."""
    path = tmp_path / DATABASE_NAME
    sqlite.create_file(path)
    with closing(sqlite.connect(path)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
