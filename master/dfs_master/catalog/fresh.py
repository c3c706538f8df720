"""A new cluster's database, made from `schema.sql` in one transaction.

`schema.sql` is what the migrations make of an empty file; `python -m dfs_migrations.schema` writes it anew when there
is another one, and a test compares. So `init` loads neither SQLAlchemy nor Alembic, which was most of its time.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from dfs_master.catalog import sqlite
from dfs_runtime.files import fsync_directory
from dfs_wire.errors import SchemaError

#: The newest revision in `dfs_migrations.versions`, and that of `schema.sql`.
HEAD = "0002"
SCHEMA_FILE = Path(__file__).with_name("schema.sql")
#: Ids below are the migrations' own.
FIRST_FREE_ID = 16


class FirstKey(NamedTuple):
    """A key of a new cluster, as it is stored."""

    role: str
    digest: bytes
    name: str


def schema_statements() -> list[str]:
    """All that makes an empty file a database of this program's schema."""
    lines = SCHEMA_FILE.read_text("utf-8").split("\n")
    text = "\n".join(line for line in lines if not line.startswith("--"))
    return [statement for each in text.split(";\n") if (statement := each.strip())]


def views() -> dict[str, str]:
    """The statements that make the views for people, by name."""
    found = [statement for statement in schema_statements() if statement.startswith("CREATE VIEW ")]
    return {statement.split()[2]: statement for statement in found}


def cluster_in(path: Path) -> str | None:
    """The cluster that a database belongs to; None for an empty file, and for one that is still nobody's.

    Raises:
        SchemaError: it is a database of something else, or of another version.
    """
    with _opened(path) as connection:
        return _cluster_in(connection)


def make(path: Path, settings: Mapping[str, str], keys: Iterable[FirstKey], now_ms: int) -> None:
    """Make the database with what a new cluster knows of itself: all of it is durable afterwards, or nothing is there.

    The file alone, without its write-ahead log, shows it then.

    Raises:
        SchemaError: as `cluster_in`.
        DfsError: the disk fails or is full.
    """
    with _opened(path) as connection:
        connection.execute(sqlite.BEGIN_WRITE)
        if _is_empty(connection):
            for statement in schema_statements():
                connection.execute(statement)
        rows = [(number, *key, now_ms) for number, key in enumerate(keys, FIRST_FREE_ID)]
        connection.executemany(
            "INSERT INTO credentials (id, role, digest, name, created_at) VALUES (?, ?, ?, ?, ?)", rows
        )
        values = {**settings, "next_id": str(FIRST_FREE_ID + len(rows))}
        connection.executemany("INSERT INTO settings (name, value) VALUES (?, ?)", values.items())
        connection.execute("COMMIT")
        sqlite.checkpoint(connection, truncate=True)
    fsync_directory(path.parent)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite.Connection]:
    """A connection to the file, which is made if it is not there; what fails comes as one of our errors.

    Closing it takes back what was not committed.
    """
    sqlite.create_file(path)
    with closing(sqlite.connect(path)) as connection:
        try:
            yield connection
        except sqlite.DRIVER_ERROR as error:
            raise sqlite.translated(error) from error


def _is_empty(connection: sqlite.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def _cluster_in(connection: sqlite.Connection) -> str | None:
    if _is_empty(connection):
        return None
    ours = "SELECT count(*) FROM sqlite_master WHERE name IN ('alembic_version', 'settings')"
    if connection.execute(ours).fetchone() != (2,):
        raise SchemaError("the file is a database of something else; name the master's data directory")
    row = connection.execute("SELECT value FROM settings WHERE name = 'cluster_id'").fetchone()
    if row is not None:
        return str(row[0])
    ((revision,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    if revision != HEAD:
        raise SchemaError(f"the database has schema {revision}, this program needs {HEAD}; run dfs-master db upgrade")
    return None
