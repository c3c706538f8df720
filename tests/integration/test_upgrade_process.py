"""`dfs upgrade` on local processes: replaced one by one, and back to another installation where there is one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.other_versions import copied_version
from tests.support.process_cluster import ProcessCluster

COMMAND_SECONDS = 150


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ProcessCluster]:
    """A master and two nodes, with a file on them."""
    made = ProcessCluster(tmp_path / "home", "test", "--nodes", "2")
    try:
        (tmp_path / "f").write_bytes(os.urandom(100_000))
        made.dfs_client("upload", str(tmp_path / "f"), "/f")
        yield made
    finally:
        made.close()


def assert_stored(cluster: ProcessCluster, scratch: Path) -> None:
    """The file is there."""
    cluster.dfs_client("download", "/f", str(scratch / "back"), "--force")
    assert (scratch / "back").read_bytes() == (scratch / "f").read_bytes()


def test_a_rolling_restart(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Of the same version nothing is done unless it is asked for; then every process is another one."""
    before = cluster.pids
    assert "nothing was done" in cluster.dfs("upgrade").stdout
    assert cluster.pids == before
    cluster.dfs("upgrade", "--all")
    after = cluster.pids
    assert after.keys() == before.keys()
    assert set(after.values()).isdisjoint(before.values())
    assert_stored(cluster, tmp_path)


def test_ctrl_c_and_a_killed_node_leave_all_roles_running(cluster: ProcessCluster, tmp_path: Path) -> None:
    """1. Ctrl-C while a node is replaced by the same version 2. one that was replaced is killed: that is no success."""
    child = cluster.dfs_until("upgrading node-1", "upgrade", "--all")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=COMMAND_SECONDS)
    assert child.returncode == 130
    assert cluster.pids.keys() == {"master", "node-1", "node-2"}

    child = cluster.dfs_until("upgrading node-2", "upgrade", "--all")
    cluster.kill("node-1")
    said = child.communicate(timeout=COMMAND_SECONDS)[1]
    assert child.returncode == 5, said
    assert "node-1 ended" in said
    assert cluster.pids.keys() == {"master", "node-1", "node-2"}
    assert_stored(cluster, tmp_path)


def other_installation(directory: Path, changes: dict[str, str]) -> Path:
    """The Python of a virtual environment with a changed copy of our packages, and all that they need."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True, timeout=60)
    (packages,) = directory.glob("lib/python*/site-packages")
    own = copied_version(directory / "copy", changes).split(os.pathsep)
    (needed,) = Path(sys.prefix).glob("lib/python*/site-packages")
    (packages / "dfs.pth").write_text("\n".join([*own, str(needed)]) + "\n")
    return directory / "bin" / "python"


def run_dfs(python: Path, cluster: ProcessCluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `dfs ARGUMENTS` of another installation."""
    command = [str(python), "-m", "dfs_deploy.cli", *arguments]
    return subprocess.run(
        command, env=cluster.env, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )


def test_another_installation_takes_over_and_a_bad_one_goes_back(cluster: ProcessCluster, tmp_path: Path) -> None:
    """1. a newer installation replaces every process 2. of one whose nodes do not start, all come back."""
    good = other_installation(tmp_path / "newer", {})
    done = run_dfs(good, cluster, "upgrade")
    assert done.returncode == 0, done.stderr
    assert_stored(cluster, tmp_path)
    assert all(str(good) in command_line(pid) for pid in cluster.pids.values())

    bad = other_installation(tmp_path / "bad", {"node/dfs_node/__main__.py": 'raise SystemExit("no good")\n'})
    done = run_dfs(bad, cluster, "upgrade")
    assert done.returncode == 5
    assert "node-1 ended" in done.stderr
    assert all(str(good) in command_line(pid) for pid in cluster.pids.values())
    assert len(cluster.pids) == 3
    assert_stored(cluster, tmp_path)


def command_line(pid: int) -> str:
    """Of a process."""
    return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()
