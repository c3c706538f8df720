"""Bringing a metadata database to the schema that this program needs."""

import errno
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from dfs_master.catalog import sqlite, views
from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.fresh import HEAD as HEAD  # what all that migrates calls by this name
from dfs_runtime.clock import Clock
from dfs_runtime.files import fsync_directory, temporary_name
from dfs_wire.errors import SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = "dfs_migrations:"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `upgrade` did. `before` is None for a new database; `backup` is None where there was nothing to keep."""

    before: str | None
    after: str
    backup: Path | None = None


def revision_of(connection: Connection) -> str | None:
    """The schema's revision, or None for an empty database.

    Raises:
        SchemaError: the file holds tables that are not ours.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    revision = None
    if "alembic_version" in tables:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision is None:
        raise SchemaError("the file is a database of something else; name the master's data directory")
    return str(revision)


def require_head(engine: Engine) -> None:
    """Refuse a database that `upgrade` did not bring to this program's schema.

    Raises:
        SchemaError: it is older or newer.
    """
    with engine.connect() as connection:
        revision = revision_of(connection)
    if revision != HEAD:
        raise SchemaError(f"the database has schema {revision}, this program needs {HEAD}; run dfs-master db upgrade")


def upgrade(path: Path, clock: Clock) -> Upgrade:
    """Create the database or bring it to `HEAD`, all steps in one transaction. Nobody else may use it meanwhile.

    A database that holds something is copied first, beside it. Afterwards the file alone, without its write-ahead
    log, shows the schema.

    Raises:
        SchemaError: a newer program wrote it, or it is not ours.
        OSError: no copy could be made; nothing was changed.
    """
    sqlite.create_file(path)
    engine = open_engine(path)
    with engine.connect() as connection:
        before = revision_of(connection)
        fresh_views = before == HEAD and views.are_current(connection)
    if fresh_views:
        return Upgrade(before, HEAD)
    copy = None
    if before is not None and before != HEAD:
        _require_known(before)
        copy = _back_up(path, clock)
    _run(engine, before)
    raw = connect_raw(engine)
    try:
        sqlite.checkpoint(raw, truncate=True)
    finally:
        raw.close()
    fsync_directory(path.parent)
    return Upgrade(before, HEAD, copy)


def _run(engine: Engine, before: str | None) -> None:
    """All steps and the views in one transaction: a failure leaves the database as it was."""
    with engine.connect() as connection:
        # Has no effect inside a transaction, so it comes before. Altering a table drops and renames it.
        sqlite.set_foreign_keys(connection.connection, on=False)
        with connection.begin():
            views.drop(connection)
            if before != HEAD:
                _run_scripts(connection)
            faults = list(sqlite.foreign_key_faults(connection.connection))
            if faults:
                raise SchemaError(f"the migration would leave rows without their parents ({faults[0]}); report this")
            views.create(connection)


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.set_main_option("path_separator", "os")
    return config


def _run_scripts(connection: Connection) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _require_known(revision: str) -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions("base", HEAD)}
    if revision not in known:
        raise SchemaError(
            f"the database has schema {revision}, which is newer than this program's {HEAD}; install the newer dfs,"
            " or restore the backup made before its upgrade"
        )


def _back_up(path: Path, clock: Clock) -> Path:
    """Copy the database to a name that is still free; an earlier copy is never written over."""
    target = path.with_name(f"{path.name}.before-{HEAD}")
    if target.exists():
        moment = datetime.fromtimestamp(clock.wall_ms() / 1000, UTC)
        target = target.with_name(f"{target.name}-{moment:%Y%m%dT%H%M%S%fZ}")
    copy_database(path, target)
    return target


def copy_database(source: Path, target: Path) -> None:
    """A durable copy of a database that may be in use; `target` appears whole or not at all, mode 0600.

    Raises:
        FileExistsError: `target` exists; it was not touched.
        OSError: the copy failed; nothing is left of it.
    """
    if target.exists():
        raise FileExistsError(errno.EEXIST, "is there already", str(target))
    temporary = temporary_name(target)
    try:
        sqlite.backup(source, temporary)
        temporary.rename(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    fsync_directory(target.parent)
