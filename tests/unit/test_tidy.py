"""The source keeps its own rules: sizes, names, and what may be used where. Each message says what to use instead."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = ("common", "master", "node", "client", "deploy", "migrations")
CODE = sorted(path for role in ROLES for path in (ROOT / role).rglob("*.py"))
TESTS = sorted(path for folder in ("tests", "bench") for path in (ROOT / folder).rglob("*.py"))

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
#: Tables that grow by a few lines with each verb; cutting them apart would hide what belongs together.
LONG_FILES: set[str] = set()
#: A statement a line, written once and never changed again.
LONG_FUNCTIONS = ("migrations/dfs_migrations/versions/",)


@dataclass(frozen=True)
class Ban:
    """What stands only in some places: a top-level module, or a call by its dotted name."""

    what: str
    allowed: tuple[str, ...]
    instead: str


IMPORTS = (
    Ban("socket", ("common/dfs_wire/",), "dfs_wire.transport, sockets or a listener: TLS must have one place to enter"),
    Ban("selectors", ("common/dfs_wire/",), "dfs_wire.event_listener"),
    Ban("ssl", ("common/dfs_wire/",), "dfs_wire.transport"),
    Ban("socketserver", (), "dfs_wire.thread_listener"),
    Ban("http", (), "the framed protocol"),
    Ban("sqlalchemy", ("master/dfs_master/catalog/", "migrations/"), "dfs_master.catalog"),
    Ban("sqlite3", ("master/dfs_master/catalog/sqlite.py", "deploy/dfs_deploy/fsck/"), "dfs_master.catalog"),
    Ban("alembic", ("master/dfs_master/catalog/migrate.py", "migrations/"), "dfs_master.catalog.migrate"),
    Ban("docker", ("deploy/dfs_deploy/docker_engine",), "the Engine of dfs_deploy.engine"),
    Ban("pickle", (), "msgspec structs: a peer's bytes must never run"),
    Ban("asyncio", (), "a thread by kind: see docs/architecture.md"),
    Ban("common", (), "dfs_wire or dfs_runtime: the folder's name makes a second copy of each class"),
    Ban("master", (), "dfs_master"),
    Ban("node", (), "dfs_node"),
    Ban("client", (), "dfs_client"),
    Ban("deploy", (), "dfs_deploy"),
    Ban("migrations", (), "dfs_migrations"),
    Ban("tests", (), "nothing of the tests: what ships must not need them"),
)

CALLS = (
    Ban("print", ("client/dfs_client/output.py",), "dfs_client.output.Output, or click.echo in a daemon's command"),
    Ban("time.sleep", ("common/dfs_runtime/clock.py",), "Clock.sleep of the clock that the constructor got"),
    Ban("time.time", (), "Clock.wall_ms"),
    Ban("time.monotonic", ("common/dfs_runtime/clock.py",), "Clock.monotonic"),
    Ban("datetime.now", (), "Clock.wall_ms"),
    Ban("random.random", (), "the Random that the constructor got"),
    Ban("random.choice", (), "the Random that the constructor got"),
    Ban("random.shuffle", (), "the Random that the constructor got"),
    Ban("os.system", (), "subprocess.run with a list of arguments"),
    Ban("eval", (), "a table"),
    Ban("exec", (), "a function"),
    Ban("breakpoint", (), "a test"),
    Ban("input", (), "click.prompt or prompt_toolkit"),
)

BANNED_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "misc.py", "common.py"}
WORDS_OF_A_DRAFT = ("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")


def relative(path: Path) -> str:
    """As messages and tables name it."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """Parsed once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every import, wherever it stands."""
    for found in ast.walk(tree):
        if isinstance(found, ast.Import):
            yield from ((found.lineno, alias.name.partition(".")[0]) for alias in found.names)
        elif isinstance(found, ast.ImportFrom) and found.module and not found.level:
            yield found.lineno, found.module.partition(".")[0]


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every call by name."""
    for found in ast.walk(tree):
        if isinstance(found, ast.Call):
            name = ast.unparse(found.func)
            yield found.lineno, name.removeprefix("datetime.") if name.startswith("datetime.datetime") else name


def misuses(bans: tuple[Ban, ...], path: Path, used: Iterator[tuple[int, str]]) -> list[str]:
    """A sentence for each use that is not allowed there."""
    by_name = {ban.what: ban for ban in bans}
    return [
        f"{relative(path)}:{line}: {name} is not used here; use {ban.instead}"
        for line, name in used
        if (ban := by_name.get(name)) is not None and not relative(path).startswith(ban.allowed or ("never",))
    ]


def report(problems: list[str]) -> None:
    """Fail with all of them."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_only_where_it_belongs() -> None:
    """Sockets, SQL, containers, time, chance and output each have one place."""
    problems = []
    for path in CODE:
        problems += misuses(IMPORTS, path, imported_modules(tree_of(path)))
        problems += misuses(CALLS, path, calls(tree_of(path)))
    report(problems)


def test_tests_import_packages_by_their_names() -> None:
    """`common.dfs_wire` would be a second copy of every class: an error raised by one is not caught by the other."""
    folders = tuple(ban for ban in IMPORTS if ban.what in ROLES)
    report([problem for path in TESTS for problem in misuses(folders, path, imported_modules(tree_of(path)))])


def test_files_are_cut_by_subject() -> None:
    """At most 500 lines each."""
    lengths = {relative(path): path.read_text(encoding="utf-8").count("\n") for path in CODE + TESTS}
    report(
        [
            f"{name} has {lines} lines, over {FILE_LINES_MAX}; cut it by subject"
            for name, lines in lengths.items()
            if lines > FILE_LINES_MAX and name not in LONG_FILES
        ]
    )


def test_functions_are_short() -> None:
    """At most 70 lines each, from the `def` to the end."""
    report(
        [
            f"{relative(path)}:{found.lineno}: {found.name} has over {FUNCTION_LINES_MAX} lines; move a step out of it"
            for path in CODE + TESTS
            for found in ast.walk(tree_of(path))
            if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)
            and (found.end_lineno or 0) - found.lineno >= FUNCTION_LINES_MAX
            and not relative(path).startswith(LONG_FUNCTIONS)
        ]
    )


def test_names_say_what_is_inside() -> None:
    """No drawer for everything."""
    found = [path for path in CODE + TESTS if path.name in BANNED_NAMES]
    report([f"{relative(path)}: name the file after what it does" for path in found])


def test_nothing_is_a_draft() -> None:
    """What is missing stands in an issue, not in the code."""
    report(
        [
            f"{relative(path)} says {word}; do it, or open an issue"
            for path in CODE + TESTS
            for word in WORDS_OF_A_DRAFT
            if re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"))
        ]
    )


def test_input_is_not_checked_by_assert() -> None:
    """`python -O` removes asserts: what comes from outside is refused by a typed error."""
    report(
        [
            f"{relative(path)}:{found.lineno}: raise an error of dfs_wire.errors, or ValueError for a caller's fault"
            for path in CODE
            for found in ast.walk(tree_of(path))
            if isinstance(found, ast.Assert)
        ]
    )


def test_role_folders_are_no_packages() -> None:
    """An `__init__.py` there would make `common.dfs_wire` importable, and every class twice."""
    report([f"remove {role}/__init__.py" for role in ROLES if (ROOT / role / "__init__.py").exists()])


def test_every_module_says_what_it_is() -> None:
    """One sentence first."""
    report([f"{relative(path)} has no docstring" for path in CODE if not ast.get_docstring(tree_of(path))])


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import socket", "socket is not used here; use dfs_wire.transport"),
        ("def late():\n    from sqlalchemy.orm import Session", "sqlalchemy is not used here; use dfs_master.catalog"),
        ("from common.dfs_wire import frame", "common is not used here; use dfs_wire or dfs_runtime"),
        ("import docker.errors", "docker is not used here; use the Engine"),
        ("print('x')", "print is not used here; use dfs_client.output.Output"),
        ("time.sleep(1)", "time.sleep is not used here; use Clock.sleep"),
        ("datetime.datetime.now()", "datetime.now is not used here; use Clock.wall_ms"),
    ],
)
def test_the_rules_can_see(source: str, sentence: str) -> None:
    """A planted misuse is found, and told with its replacement."""
    path = ROOT / "node" / "dfs_node" / "planted.py"
    tree = ast.parse(source)
    (found,) = misuses(IMPORTS, path, imported_modules(tree)) + misuses(CALLS, path, calls(tree))
    assert found.startswith(f"node/dfs_node/planted.py:{source.count(chr(10)) + 1}: {sentence}")
