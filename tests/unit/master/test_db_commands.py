"""`dfs-master db`: what it prints, and how it ends."""

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.catalog import CatalogBuilder, digest_of, new_database

from dfs_master.catalog import migrate
from dfs_master.catalog.inspect import Subject
from dfs_master.config import LOCK_FILE
from dfs_master.db_commands import db
from dfs_runtime.files import exclusive_lock


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A master's directory with one file on two nodes."""
    directory = tmp_path / "master"
    directory.mkdir()
    with CatalogBuilder(new_database(directory)) as build:
        build.node(1)
        build.node(2)
        build.file("line\nbreak é", chunks=[(build.chunk("x", 10, [1, 2]), 10)])
        build.execute("INSERT INTO events VALUES (5, 1700000000000, 'copy_bad', 'node-1', '{\"why\": 1}')")
    return directory


@pytest.fixture
def build(data: Path) -> Iterator[CatalogBuilder]:
    """A writer beside the commands."""
    with CatalogBuilder(data / "metadata.db") as build:
        yield build


def run(*arguments: object) -> Result:
    """The command as a user would type it behind `dfs-master db`."""
    return CliRunner().invoke(
        db, prog_name="dfs-master", args=[str(argument) for argument in arguments], catch_exceptions=False
    )


@pytest.mark.parametrize(
    ("what", "first", "columns"),
    [
        ("nodes", "node-1", {"node", "address", "state", "capacity_bytes", "used_bytes", "last_seen_at"}),
        ("files", "/", {"path", "kind", "size", "digest", "mtime", "mode", "version"}),
        (
            "replicas",
            "/line\nbreak é",
            {"path", "size", "ordinal", "digest", "offset", "length", "node", "address", "state"},
        ),
        ("events", "2023-11-14T22:13:20.000Z", {"at", "kind", "subject", "detail"}),
    ],
)
def test_show_prints_json_lines(data: Path, what: str, first: str, columns: set[str]) -> None:
    """One object a line, the promised fields in each, in a stable order."""
    result = run("show", what, "--data", data, "--json")
    rows = [json.loads(line) for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert columns <= rows[0].keys()
    assert next(iter(rows[0].values())) == first


def test_show_prints_a_table_that_no_name_breaks(data: Path) -> None:
    """A header line, then a line a row, whatever the names hold."""
    lines = run("show", "replicas", "--data", data).output.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:3] == ["path", "size", "ordinal"]
    assert lines[1].startswith("/line\\nbreak é  10")
    assert digest_of("x").hex() in lines[1]


@pytest.mark.parametrize("what", list(Subject))
def test_show_of_an_empty_catalog_is_a_header(tmp_path: Path, what: str) -> None:
    """Nothing is no error."""
    new_database(tmp_path)
    rows = run("show", what, "--data", tmp_path, "--json").output.splitlines()
    assert len(run("show", what, "--data", tmp_path).output.splitlines()) == 1 + len(rows)
    assert len(rows) == (1 if what == "files" else 0)


def test_show_works_beside_a_writer(data: Path, build: CatalogBuilder) -> None:
    """The master may run, and be in the middle of a transaction."""
    build.execute("BEGIN IMMEDIATE")
    build.directory("uncommitted")
    output = run("show", "files", "--data", data, "--json").output
    assert "line" in output
    assert "uncommitted" not in output
    build.execute("COMMIT")
    assert "uncommitted" in run("show", "files", "--data", data, "--json").output


def test_show_changes_nothing(data: Path) -> None:
    """Not one byte of the file; beside it at most SQLite's own (empty) companions."""
    before = (data / "metadata.db").read_bytes()
    run("show", "files", "--data", data)
    assert (data / "metadata.db").read_bytes() == before
    assert {path.name for path in data.iterdir()} <= {"metadata.db", "metadata.db-wal", "metadata.db-shm"}


@pytest.mark.parametrize("command", [("show", "files"), ("check",), ("upgrade",), ("backup", "x")])
def test_a_missing_database_is_one_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit 3, nothing on standard output, nothing made."""
    result = run(*command, "--data", tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("dfs-master: there is no metadata database in ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_another_schema_is_refused(data: Path, build: CatalogBuilder) -> None:
    """Neither shown nor judged; the sentence says what to do."""
    build.execute("UPDATE alembic_version SET version_num = '0000'")
    for command in (("show", "files"), ("check",)):
        result = run(*command, "--data", data)
        assert result.exit_code == 1
        assert "run dfs-master db upgrade" in result.stderr


def test_a_sound_database_passes(data: Path) -> None:
    """Exit 0, and says so."""
    assert run("check", "--data", data).output == "the metadata database is sound\n"
    result = json.loads(run("check", "--data", data, "--json").output)
    assert result == {"ok": True, "schema": migrate.HEAD, "faults": []}


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("DELETE FROM entries WHERE id = 2", "1 roots of the tree are missing"),
        ("INSERT INTO entries VALUES (60, 60, 'me', 'directory', NULL, 1, 1, NULL)", "1 entries hang on no root"),
        (
            "INSERT INTO entries SELECT 60, id, 'in', 'directory', NULL, 1, 1, NULL FROM entries WHERE kind = 'file'",
            "1 entries lie in a file",
        ),
        ("UPDATE entries SET name = 'a/b' WHERE kind = 'file'", "1 entries have a name that no path can hold"),
        ("UPDATE versions SET removed_at = 1", "1 files have no current version of their own"),
        ("UPDATE entries SET version_id = 9 WHERE kind = 'file'", "1 current versions belong to no file"),
        ("UPDATE versions SET size = 11", "1 versions have extents that do not make up their size"),
        ("UPDATE extents SET ordinal = 1", "1 versions have extents that do not make up their size"),
        ('UPDATE extents SET "offset" = 1', "1 extents reach beyond their chunk"),
        ("UPDATE chunks SET state = 'deleting'", "1 chunks are being deleted though versions refer to them"),
        ("UPDATE chunks SET copies_good = 1", "1 chunks have another number of good replicas than they say"),
        ("INSERT INTO settings VALUES ('next_id', '103')", "1 rows have ids that would be given away again"),
        ("DELETE FROM nodes WHERE id = 2", "a row of replicas (None) refers to no row of nodes"),
    ],
)
def test_each_broken_invariant_is_found(data: Path, build: CatalogBuilder, sql: str, fault: str) -> None:
    """Exit 7, the fault by name."""
    build.execute("PRAGMA foreign_keys = OFF")
    build.execute(sql)
    result = run("check", "--data", data)
    assert result.exit_code == 7
    assert fault in result.stdout
    assert result.stderr.startswith("dfs-master: the metadata database is damaged")
    assert json.loads(run("check", "--data", data, "--json").stdout)["ok"] is False


@pytest.mark.parametrize("pages", [1, 3, 10])
def test_flipped_pages_are_found(data: Path, pages: int) -> None:
    """Damage anywhere is exit 7 and a sentence, never a traceback."""
    database = data / "metadata.db"
    content = bytearray(database.read_bytes())
    content[pages * 4096 : (pages + 4) * 4096] = os.urandom(4 * 4096)
    database.write_bytes(content)
    result = run("check", "--data", data)
    assert result.exit_code == 7
    assert "damaged" in result.stderr


def test_garbage_is_damage_for_every_command(data: Path, tmp_path: Path) -> None:
    """Exit 7 and one sentence."""
    (data / "metadata.db").write_bytes(b"garbage")
    for command in (("show", "files"), ("check",), ("upgrade",), ("backup", tmp_path / "copy")):
        result = run(*command, "--data", data)
        assert result.exit_code == 7
        assert "dfs-master: the metadata database is damaged" in result.stderr


def test_backup_copies_everything(data: Path, tmp_path: Path) -> None:
    """The copy is a whole database of one file, private, and passes the same check."""
    copy = tmp_path / "copies" / "metadata.db"
    copy.parent.mkdir()
    result = run("backup", copy, "--data", data, "--json")
    assert json.loads(result.output) == {"path": str(copy), "size": copy.stat().st_size}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in copy.parent.iterdir()] == ["metadata.db"]
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM file_replicas").fetchone() == (2,)
    assert run("check", "--data", copy.parent).exit_code == 0


def test_backup_never_replaces(data: Path, tmp_path: Path) -> None:
    """Exit 4; what is there stays."""
    (tmp_path / "copy").write_text("precious")
    result = run("backup", tmp_path / "copy", "--data", data)
    assert (result.exit_code, (tmp_path / "copy").read_text()) == (4, "precious")
    assert result.stderr == f"dfs-master: {tmp_path / 'copy'} exists; choose another name\n"


def test_backup_into_a_missing_directory(data: Path, tmp_path: Path) -> None:
    """Exit 3; no directory is made up."""
    result = run("backup", tmp_path / "none" / "copy", "--data", data)
    assert result.exit_code == 3
    assert "make it first" in result.stderr


def test_upgrade_of_the_newest_schema_does_nothing(data: Path) -> None:
    """It says so and keeps no copy."""
    assert run("upgrade", "--data", data).output == f"schema {migrate.HEAD} is the newest already\n"
    result = json.loads(run("upgrade", "--data", data, "--json").output)
    assert result == {"before": migrate.HEAD, "after": migrate.HEAD, "backup": None}


def test_upgrade_waits_for_no_master(data: Path) -> None:
    """While a master holds the directory, the upgrade is refused."""
    with exclusive_lock(data / LOCK_FILE):
        result = run("upgrade", "--data", data)
    assert result.exit_code == 5
    assert "stop it first" in result.stderr


def test_the_database_path_may_not_be_readable(data: Path) -> None:
    """An error of the operating system is a sentence as well."""
    (data / LOCK_FILE).mkdir()
    result = run("upgrade", "--data", data)
    assert result.exit_code == 1
    assert result.stderr.startswith("dfs-master: Is a directory (")
