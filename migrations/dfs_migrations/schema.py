"""`python -m dfs_migrations.schema`: write `schema.sql` anew, the SQL of what the migrations make of an empty file.

It is what new clusters are made from, so it is written after each new revision. A test compares the two.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from dfs_master.catalog import sqlite, views
from dfs_master.catalog.fresh import SCHEMA_FILE
from dfs_master.catalog.migrate import upgrade
from dfs_runtime.clock import SystemClock

_HEAD = "-- Written by `python -m dfs_migrations.schema` from the migrations. Do not edit: a test compares.\n"


def schema_sql() -> str:
    """The text of the file."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "migrated.db"
        upgrade(path, SystemClock())
        with closing(sqlite.connect(path)) as connection:
            lines = "".join(f"{each.strip()};\n" for each in _statements(connection)).splitlines()
            return _HEAD + "".join(f"{line.rstrip()}\n" for line in lines)


def _statements(connection: sqlite.Connection) -> Iterator[str]:
    """Tables with their rows, then what stands on them, in the order in which the migrations made them.

    The views are those of the program: the migrations make them from this very file.
    """
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    ).fetchall()
    for kind, name, sql in made:
        if kind == "table":
            yield sql
            # Names and values are our own migrations'.
            for row in connection.execute(f'SELECT * FROM "{name}"'):  # noqa: S608
                yield f'INSERT INTO "{name}" VALUES ({", ".join(map(_literal, row))})'  # noqa: S608
    yield from (sql for kind, _, sql in made if kind == "index")
    yield from views.definitions().values()


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_sql(), "utf-8")
