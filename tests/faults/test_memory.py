"""No process grows with the file that goes through it. `DFS_HUGE_MIB` is the size of that file."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.client_command import client_environment
from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload

from dfs_deploy.programs import program_command

HUGE_BYTES = int(os.environ.get("DFS_HUGE_MIB", "1024")) * MIB
MEMORY_BYTES_MAX = 150 * MIB
COMMAND_SECONDS = 60 + HUGE_BYTES / (8 * MIB)

#: Runs a command, and tells on standard error the most memory that it ever had, in KiB.
_MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(used.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def client_memory_bytes(cluster: FaultCluster, *arguments: str) -> int:
    """`dfs-client` as a user runs it; returns its peak of memory in bytes.

    A process of its own measures: Linux counts the forking parent's memory for a child, and the test's is large.
    """
    command = [sys.executable, "-c", _MEASURE, *program_command("dfs-client"), *arguments]
    done = subprocess.run(
        command,
        env=client_environment(cluster),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return int(done.stderr.split()[-1]) * 1024


@pytest.mark.timeout(3 * COMMAND_SECONDS + 60)
def test_memory_stays_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Master, nodes and client stay under 150 MiB each while a file many times as large goes up and comes back."""
    huge = Upload("huge", "/huge", HUGE_BYTES)
    source, target = huge.write_to(tmp_path / "source"), tmp_path / "target"
    with FaultCluster(tmp_path / "cluster") as cluster:
        cluster.start()
        started = time.monotonic()
        peaks = {"upload": client_memory_bytes(cluster, "upload", str(source), huge.path)}
        stored = time.monotonic()
        peaks["download"] = client_memory_bytes(cluster, "download", huge.path, str(target))
        fetched = time.monotonic()
        peaks |= {name: daemon.memory_peak_bytes() for name, daemon in cluster.daemons.items()}
        same = subprocess.run(["cmp", str(source), str(target)], check=False).returncode == 0
    source.unlink()
    target.unlink()
    shown = ", ".join(f"{name} {peak // MIB} MiB" for name, peak in peaks.items())
    rates = f"up {HUGE_BYTES / MIB / (stored - started):.0f}, down {HUGE_BYTES / MIB / (fetched - stored):.0f} MiB/s"
    with capsys.disabled():
        print(f"\n{HUGE_BYTES // MIB} MiB through the cluster ({rates}): {shown}")
    assert same
    assert {name: peak for name, peak in peaks.items() if peak >= MEMORY_BYTES_MAX} == {}
