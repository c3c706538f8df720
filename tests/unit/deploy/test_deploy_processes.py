"""Finding and ending processes without ever mistaking one for another."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.deploy import pid_alive
from tests.support.polling import poll_for

from dfs_deploy.processes import Process, ProcessTable, is_daemon


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that waits."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "(an odd) name"]) as child:
        # Until the new program is in place, /proc shows its parent's name, or none.
        cmdline = Path(f"/proc/{child.pid}/cmdline")
        poll_for("the new program", lambda: b"(an odd) name" in cmdline.read_bytes(), seconds=10)
        yield child
        child.kill()


def write_process(root: Path, pid: int, *, state: str = "S", started: int = 77, arguments: list[str]) -> None:
    """A process as /proc shows it."""
    fields = [state, *["0"] * 18, str(started), "0"]
    (root / str(pid)).mkdir(parents=True)
    (root / str(pid) / "stat").write_text(f"{pid} (a) b) {' '.join(fields)}\n")
    (root / str(pid) / "cmdline").write_bytes(b"\0".join(argument.encode() for argument in arguments) + b"\0")


def test_a_process_is_read_whatever_its_name(tmp_path: Path) -> None:
    """Brackets and spaces in the name do not shift the fields."""
    write_process(tmp_path, 12, arguments=["dfs-node", "--name", "a b"])
    assert ProcessTable(tmp_path).read(12) == Process(12, 77, ("dfs-node", "--name", "a b"))
    assert [process.pid for process in ProcessTable(tmp_path).all()] == [12]


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_is_dead(tmp_path: Path, state: str) -> None:
    """It holds no port and no volume."""
    write_process(tmp_path, 12, state=state, arguments=["dfs-node"])
    assert ProcessTable(tmp_path).read(12) is None


def test_the_real_proc_is_understood(sleeper: subprocess.Popen[bytes]) -> None:
    """Against the machine's own /proc, not only against what we think that it looks like."""
    table = ProcessTable()
    process = table.read(sleeper.pid)
    assert process is not None
    assert process.arguments[-1] == "(an odd) name"
    assert process.started_ticks > 0
    assert process in set(table.all())


def test_a_process_is_ended_and_awaited(sleeper: subprocess.Popen[bytes]) -> None:
    """Without being its parent's wait."""
    table = ProcessTable()
    process = table.read(sleeper.pid)
    assert process is not None
    assert not table.await_end(process, 0.01)
    assert table.send(process, signal.SIGTERM)
    assert table.await_end(process, 10)
    assert not pid_alive(sleeper.pid)


def test_a_reused_pid_is_never_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    """The same number with another start time is another process: it stays alive, and ours counts as ended."""
    table = ProcessTable()
    process = table.read(sleeper.pid)
    assert process is not None
    former = replace(process, started_ticks=process.started_ticks - 1)
    assert not table.send(former, signal.SIGKILL)
    assert table.await_end(former, 0)
    assert sleeper.poll() is None


def test_a_pid_that_nobody_has_is_gone() -> None:
    """Neither signal nor wait fails on it."""
    with subprocess.Popen(["true"]) as child:
        pass
    gone = Process(child.pid, 1, ("true",))
    assert not ProcessTable().send(gone, signal.SIGTERM)
    assert ProcessTable().await_end(gone, 0)
    assert ProcessTable().read(child.pid) is None


SERVING = ("--volume", "/home/node-1/volume", "--listen", "127.0.0.1:5001")


@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        (("/venv/bin/python", "/venv/bin/dfs-node", *SERVING), True),
        (("/venv/bin/python3.11", "-m", "dfs_node", *SERVING), True),
        (("/venv/bin/python", "-X", "dev", "/venv/bin/dfs-node", *SERVING), True),
        (("dfs-node", *SERVING), True),
        (("dfs-node", "verify", "--volume", "/home/node-1/volume"), False),
        (("dfs-node", "--volume", "/home/node-10/volume", "--listen", "x"), False),
        (("dfs-node", "--data", "/home/node-1/volume", "--listen", "x"), False),
        (("strace", "-f", "dfs-node", *SERVING), False),
        (("/venv/bin/python", "/venv/bin/dfs-master", *SERVING), False),
        (("vim", "--volume", "/home/node-1/volume", "--listen", "dfs-node"), False),
        (("",), False),
    ],
)
def test_only_the_daemon_of_that_directory_is_ours(arguments: tuple[str, ...], ours: bool) -> None:
    """Another directory, another program, a tool that names ours: none of them is ended in its place."""
    process = Process(1, 1, arguments)
    assert is_daemon(process, "dfs-node", "--volume", Path("/home/node-1/volume")) is ours
