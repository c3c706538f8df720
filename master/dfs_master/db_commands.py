"""`dfs-master db`: look into, check, copy and upgrade the metadata database, with the master running or not."""

import errno
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from dfs_master.catalog import inspect, migrate
from dfs_master.catalog.inspect import Subject
from dfs_master.config import DATABASE_FILE, held
from dfs_runtime.clock import SystemClock
from dfs_wire.daemon_command import DaemonGroup
from dfs_wire.errors import AlreadyExistsError, CorruptError, NotFoundError

_data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The master's data directory.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


@click.group(cls=DaemonGroup)
def db() -> None:
    """Look into, check, copy and upgrade the metadata database."""


@db.command()
@click.argument("what", type=click.Choice([subject.value for subject in Subject]))
@_data
@_json
def show(what: str, data: Path, *, as_json: bool) -> None:
    """Print nodes, files, replicas or events from the database file itself.

    With --json, one object a line; else a header line, then a line for each row.
    """
    columns, rows = inspect.show(_database(data), Subject(what))
    for line in _json_lines(columns, rows) if as_json else _table(columns, rows):
        click.echo(line)


@db.command()
@_data
@_json
def check(data: Path, *, as_json: bool) -> None:
    """Check pages, references and invariants; exits 7 when something is damaged."""
    faults = inspect.check(_database(data))
    if as_json:
        click.echo(json.dumps({"ok": not faults, "schema": migrate.HEAD, "faults": faults}, ensure_ascii=False))
    else:
        click.echo("\n".join(_one_line(fault) for fault in faults) if faults else "the metadata database is sound")
    if faults:
        raise CorruptError(
            f"the metadata database is damaged (faults: {len(faults)}); stop the master, restore a backup"
        )


@db.command()
@click.argument("dest", type=click.Path(dir_okay=False, path_type=Path))
@_data
@_json
def backup(dest: Path, data: Path, *, as_json: bool) -> None:
    """Copy the database to DEST, with the master running or not.

    The copy does not hold master.key: keep that file as well, apart from the copy.
    """
    database = _database(data)
    try:
        migrate.copy_database(database, dest)
    except FileExistsError as error:
        raise AlreadyExistsError(f"{dest} exists; choose another name") from error
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise NotFoundError(f"the directory of {dest} does not exist; make it first") from error
        raise
    size = dest.stat().st_size
    line = json.dumps({"path": str(dest), "size": size}) if as_json else f"{size} bytes copied to {dest}"
    click.echo(line)


@db.command()
@_data
@_json
def upgrade(data: Path, *, as_json: bool) -> None:
    """Bring the database to this program's schema, after a copy beside it. The master must not run."""
    database = _database(data)
    with held(data):
        done = migrate.upgrade(database, SystemClock())
    if as_json:
        copy = str(done.backup) if done.backup else None
        click.echo(json.dumps({"before": done.before, "after": done.after, "backup": copy}))
    elif done.before == done.after:
        click.echo(f"schema {done.after} is the newest already")
    else:
        click.echo(f"upgraded from schema {done.before} to {done.after}; a copy from before is {done.backup}")


@db.command()
@_data
@_json
def accept(data: Path, *, as_json: bool) -> None:
    """Go on with this database although nodes have seen a newer one. The master must not run.

    With the master running, `dfs db accept` asks it to.
    """
    from dfs_master.accept import accept_offline

    database = _database(data)
    with held(data):
        begun = accept_offline(database, SystemClock())
    if as_json:
        click.echo(json.dumps({"epoch": begun.epoch, "commit_seq": begun.commit_seq}))
    else:
        click.echo(f"the database is accepted; the next master begins behind epoch {begun.epoch}")


def _database(data: Path) -> Path:
    path = data / DATABASE_FILE
    if not path.is_file():
        raise NotFoundError(f"there is no metadata database in {data}; name the master's directory with --data")
    return path


def _json_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Rows are printed while they are read, so that any number of them fits in memory."""
    for row in rows:
        yield json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Columns as wide as their widest cell, two blanks between them; a cell never breaks the line."""
    lines = [tuple(columns)]
    lines += [tuple("-" if cell in (None, "") else _one_line(str(cell)) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _one_line(text: str) -> str:
    """The text with every character escaped that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
