"""Loading modules without the collector."""

import gc
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dfs_runtime.imports import collect_seldom, uncollected
from dfs_runtime.version import VERSION


def test_the_collector_rests_and_goes_on() -> None:
    """What was made meanwhile is out of its sight."""
    made = []
    try:
        with uncollected():
            assert not gc.isenabled()
            made.append([object()])
        assert gc.isenabled()
        assert not any(found is made for found in gc.get_objects())
    finally:
        gc.unfreeze()


def test_an_import_that_fails_leaves_it_on() -> None:
    """The error goes on its way."""
    with pytest.raises(ModuleNotFoundError), uncollected():
        import dfs_runtime.no_such_module  # noqa: F401
    gc.unfreeze()
    assert gc.isenabled()


@pytest.mark.parametrize("module", ["dfs_master.app", "dfs_master.catalog.migrate", "dfs_node.app"])
def test_daemons_load_no_migrations_to_start(module: str) -> None:
    """Alembic and the metadata's checks come only when they are asked for; a node needs no SQL at all."""
    heavy = {
        "alembic",
        "mako",
        "sqlalchemy.dialects.postgresql",
        "dfs_master.catalog.invariants",
        "dfs_master.catalog.inspect",
    }
    if module == "dfs_node.app":
        heavy |= {"sqlalchemy", "email", "importlib.metadata"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_alembic_comes_only_with_another_schema(tmp_path: Path) -> None:
    """The first process makes the database; the second finds it as it should be."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dfs_master.catalog.migrate import upgrade\n"
        "from dfs_runtime.clock import SystemClock\n"
        "upgrade(Path(sys.argv[1]), SystemClock())\n"
        "print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "metadata.db")]
    loaded = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]
    assert loaded == ["True", "False"]


def test_the_version_is_the_one_that_is_installed() -> None:
    """It stands in two places, because finding it in the installation takes a tenth of a node's start."""
    project = Path(__file__).parents[3] / "pyproject.toml"
    assert tomllib.loads(project.read_text("utf-8"))["project"]["version"] == VERSION


def test_a_command_collects_seldom() -> None:
    """The collector works on, for a command that makes much."""
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > 10_000
        assert gc.get_threshold()[1:] == before[1:]
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("state", ["", "sys.stdout.close()", "sys.stdout.flush(); sys.stdout = None"])
def test_a_program_leaves_at_once_with_all_that_it_said(state: str) -> None:
    """Its exit code and its words arrive; what was registered for the end is not run, and no thread is awaited."""
    code = (
        "import atexit, sys, threading\n"
        "from dfs_runtime.imports import leave\n"
        "atexit.register(sys.stderr.write, 'at the end')\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "sys.stdout.write('said')\n"
        f"{state}\n"
        "leave(7)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "said", "")
