"""The schema comes from migrations only, whole or not at all."""

import os
import sqlite3
import stat
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from tests.support.catalog import DATABASE_NAME, CatalogBuilder

from dfs_master.catalog import migrate, views
from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.models import Base
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import CorruptError, SchemaError

#: Before a test plants a newer one.
_HEAD = migrate.HEAD
_NEXT = """
from alembic import op
revision, down_revision = "9998", "{head}"
def upgrade():
    op.execute("ALTER TABLE nodes ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'")
    op.execute("INSERT INTO settings VALUES ('colour', 'grey')")
    {more}
"""


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "dfs_migrations:")
    return ScriptDirectory.from_config(config)


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _scalar(path: Path, sql: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchone()[0]


@pytest.fixture
def with_next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations for a test to add to; returns the file of the next revision."""
    copy = tmp_path / "migrations"
    (copy / "versions").mkdir(parents=True)
    source = Path(_scripts().dir)
    for file in ("env.py", "script.py.mako", *(f"versions/{path.name}" for path in source.glob("versions/*.py"))):
        (copy / file).write_bytes((source / file).read_bytes())
    monkeypatch.setattr(migrate, "_SCRIPTS", str(copy))
    monkeypatch.setattr(migrate, "HEAD", "9998")
    return copy / "versions" / "9998_next.py"


def test_models_and_migrations_are_the_same_schema(database: Path) -> None:
    """Autogenerate finds nothing to add: whoever changes a model writes the migration."""
    with open_engine(database).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_checks_and_row_layout_are_the_same_too(database: Path, tmp_path: Path) -> None:
    """What autogenerate does not compare: CHECK constraints, partial indices, tables without row ids."""
    engine = create_engine(f"sqlite:///{tmp_path / 'models.db'}")
    Base.metadata.create_all(engine)
    engine.dispose()
    query = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master WHERE type = 'index' ORDER BY name)"
    assert _scalar(database, query) == _scalar(tmp_path / "models.db", query)
    for table in Base.metadata.tables:
        # A table that was made anew has its name in quotes.
        query = f"""SELECT replace(sql, '"{table}"', '{table}') FROM sqlite_master WHERE name = '{table}'"""
        # A table that was made anew by a migration has its name in quotes.
        found = [str(_scalar(path, query)) for path in (database, tmp_path / "models.db")]
        definitions = [text.replace(f'"{table}"', table) for text in found]
        migrated, modelled = (sorted(line.strip(", ") for line in text.splitlines()) for text in definitions)
        assert migrated == modelled


def test_the_constant_is_the_newest_script() -> None:
    """There is one head, and it is the revision that a start compares with."""
    assert _scripts().get_heads() == [migrate.HEAD]


def test_a_new_database_holds_the_two_roots_and_nothing_else(database: Path) -> None:
    """Everything else comes from `init` and from users."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT id, parent_id, kind FROM entries").fetchall() == [
            (1, None, "directory"),
            (2, None, "directory"),
        ]
        for table in _tables(database) - {"entries", "alembic_version"}:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    """The second call finds its own work, keeps no copy and does not touch the file."""
    path = tmp_path / DATABASE_NAME
    assert migrate.upgrade(path, ManualClock()) == migrate.Upgrade(None, migrate.HEAD)
    before = path.read_bytes()
    assert migrate.upgrade(path, ManualClock()) == migrate.Upgrade(migrate.HEAD, migrate.HEAD)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == [DATABASE_NAME]


def test_the_file_alone_shows_the_schema(tmp_path: Path) -> None:
    """After an upgrade nothing of it is only in the write-ahead log."""
    path = tmp_path / DATABASE_NAME
    holder = tmp_path / "alone.db"
    migrate.upgrade(path, ManualClock())
    holder.write_bytes(path.read_bytes())
    assert "entries" in _tables(holder)


def test_an_upgrade_works_from_any_folder(tmp_path: Path) -> None:
    """The scripts are found as a package, not beside the caller; warnings are errors there too."""
    program = (
        "from pathlib import Path; from dfs_master.catalog import migrate; from dfs_runtime.clock import SystemClock;"
        "print(migrate.upgrade(Path('m.db'), SystemClock()).after)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (migrate.HEAD, "")


def test_a_database_that_holds_something_is_copied_first(database: Path, with_next_revision: Path) -> None:
    """The copy is whole, private, and shows the state before; the upgrade keeps every row and the views."""
    with_next_revision.write_text(_NEXT.format(head=_HEAD, more=""))
    with CatalogBuilder(database) as build:
        build.node(1)
    done = migrate.upgrade(database, ManualClock())
    assert done == migrate.Upgrade(_HEAD, "9998", database.with_name("metadata.db.before-9998"))
    assert done.backup is not None
    assert stat.S_IMODE(done.backup.stat().st_mode) == 0o600
    assert _scalar(done.backup, "SELECT version_num FROM alembic_version") == _HEAD
    assert _scalar(done.backup, "SELECT name FROM nodes") == "node-1"
    assert _scalar(database, "SELECT name || colour FROM nodes") == "node-1grey"
    assert _scalar(database, "SELECT node FROM node_usage") == "node-1"


def test_an_earlier_copy_is_kept(database: Path, with_next_revision: Path) -> None:
    """A second try does not write over the copy of the first."""
    with_next_revision.write_text(_NEXT.format(head=_HEAD, more=""))
    first = database.with_name("metadata.db.before-9998")
    first.write_text("precious")
    done = migrate.upgrade(database, ManualClock())
    assert done.backup is not None
    assert done.backup.name == "metadata.db.before-9998-20231114T221320000000Z"
    assert first.read_text() == "precious"


def test_a_failed_migration_leaves_nothing_half_done(database: Path, with_next_revision: Path) -> None:
    """Changes of tables and rows before the fault are rolled back, and the views are still there."""
    with_next_revision.write_text(_NEXT.format(head=_HEAD, more="raise RuntimeError('planted')"))
    with pytest.raises(RuntimeError, match="planted"):
        migrate.upgrade(database, ManualClock())
    assert _scalar(database, "SELECT version_num FROM alembic_version") == _HEAD
    assert _scalar(database, "SELECT count(*) FROM settings") == 0
    assert _scalar(database, "SELECT count(*) FROM pragma_table_info('nodes') WHERE name = 'colour'") == 0
    assert _scalar(database, "SELECT count(*) FROM node_usage") == 0


def test_a_migration_that_orphans_rows_is_refused(database: Path, with_next_revision: Path) -> None:
    """Foreign keys are off while tables are rebuilt, so they are checked before the commit."""
    orphan = "op.execute(\"INSERT INTO replicas VALUES (5, 6, 1, 'good', 1, 1)\")"
    with_next_revision.write_text(_NEXT.format(head=_HEAD, more=orphan))
    with pytest.raises(SchemaError, match="replicas"):
        migrate.upgrade(database, ManualClock())
    assert _scalar(database, "SELECT count(*) FROM replicas") == 0


def test_a_newer_schema_is_refused(database: Path) -> None:
    """An older program does not touch what a newer one wrote."""
    with CatalogBuilder(database) as build:
        build.execute("UPDATE alembic_version SET version_num = '7777'")
    before = database.read_bytes()
    with pytest.raises(SchemaError, match="7777, which is newer"):
        migrate.upgrade(database, ManualClock())
    with pytest.raises(SchemaError, match="7777"):
        migrate.require_head(open_engine(database))
    assert database.read_bytes() == before


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    """Somebody else's tables are left alone."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(SchemaError, match="something else"):
        migrate.upgrade(path, ManualClock())
    assert _tables(path) == {"theirs"}


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """Garbage is reported as damage, in a sentence."""
    path = tmp_path / DATABASE_NAME
    path.write_bytes(os.urandom(8192))
    with pytest.raises(CorruptError, match="damaged"):
        migrate.upgrade(path, ManualClock())


def test_views_of_another_program_version_are_replaced(database: Path) -> None:
    """A start makes the views those of the program, without a migration."""
    with CatalogBuilder(database) as build:
        build.execute("DROP VIEW files")
        build.execute("CREATE VIEW files AS SELECT 1 AS one")
        build.execute("CREATE VIEW retired AS SELECT 1 AS one")
    assert migrate.upgrade(database, ManualClock()).backup is None
    with open_engine(database).connect() as connection:
        assert views.are_current(connection)


@pytest.mark.timeout(120)
def test_the_wheel_carries_the_migrations(tmp_path: Path) -> None:
    """An installed master migrates without the repository."""
    hatchling = pytest.importorskip("hatchling.builders.wheel", reason="the build back end is not installed")
    root = Path(__file__).parents[4]
    (wheel,) = hatchling.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    scripts = {f"dfs_migrations/versions/{Path(script.path).name}" for script in _scripts().walk_revisions()}
    assert scripts | {"dfs_migrations/env.py", "dfs_migrations/script.py.mako"} <= names


def test_a_database_of_the_first_schema_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of replicas is made anew on the way, with everything that it held."""
    path = tmp_path / DATABASE_NAME
    with monkeypatch.context() as earlier:
        earlier.setattr(migrate, "HEAD", "0001")
        migrate.upgrade(path, ManualClock())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO nodes VALUES (20, 'node-20', 'n:1', 'n:1', '', 1, 0, 'live', 'ok', 'fs', 1, 0, 0)"
        )
        connection.execute("INSERT INTO chunks VALUES (21, zeroblob(32), 5, 1, 1, NULL, 'stored')")
        connection.execute("INSERT INTO replicas VALUES (21, 20, 7, 'good', 8, 9)")
    assert migrate.upgrade(path, ManualClock()).before == "0001"
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("SELECT * FROM replicas").fetchall() == [(21, 20, 7, "good", 8, 9)]
        connection.execute("UPDATE replicas SET state = 'deleted'")


def test_a_database_of_the_first_schema_is_brought_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stay; a node that was being drained still is, and one in maintenance has a place."""
    path = tmp_path / DATABASE_NAME
    monkeypatch.setattr(migrate, "HEAD", "0001")
    with monkeypatch.context() as older:
        older.setattr(migrate.views, "create", lambda _connection: None)
        migrate.upgrade(path, ManualClock())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO nodes VALUES (20, 'n', 'a:1', 'b:1', '', 10, 5, 'draining', 'ok', '', 1, 2, 3)")
        connection.commit()
    monkeypatch.setattr(migrate, "HEAD", _HEAD)
    assert migrate.upgrade(path, ManualClock()).after == _HEAD
    assert _scalar(path, "SELECT state || ' ' || intent || ' ' || used_bytes FROM nodes") == "draining draining 5"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE nodes SET state = 'maintenance', intent = 'maintenance', intent_until = 9")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE nodes SET intent = 'gone'")
