"""A node is killed and its volume wiped: everything has its copies again without a hand, and how long that takes.

`DFS_REPAIR_MIB` sets how much is stored (64; 2048 for the figures in the documents).
"""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.polling import poll_for
from tests.support.process_cluster import ProcessCluster

from dfs_client.api import Dfs
from dfs_wire.limits import MIB

STORED_MIB = int(os.environ.get("DFS_REPAIR_MIB", "64"))
FILE_MIB = 32
SETTINGS = ("--set", "suspect_seconds=5", "--set", "dead_seconds=8")
#: Detection, and 4 MiB/s on the worst of machines.
SECONDS = 60 + STORED_MIB / 4


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ProcessCluster]:
    """Three nodes that are dead after eight seconds."""
    made = ProcessCluster(tmp_path / "home", "repair", "--nodes", "3", *SETTINGS)
    yield made
    made.close()


def fill(cluster: ProcessCluster, directory: Path) -> dict[str, str]:
    """Large files and small ones; the digest of each."""
    directory.mkdir()
    randomness = random.Random(STORED_MIB)
    digests = {}
    for number in range(max(1, STORED_MIB // FILE_MIB)):
        data = randomness.randbytes(FILE_MIB * MIB)
        (directory / f"large-{number}").write_bytes(data)
        digests[f"large-{number}"] = blake3(data).hexdigest()
    for number in range(40):
        data = randomness.randbytes(randomness.choice([1, 5_000, 200_000]))
        (directory / f"small-{number}").write_bytes(data)
        digests[f"small-{number}"] = blake3(data).hexdigest()
    cluster.dfs_client("upload", "-r", str(directory), "/data")
    shutil.rmtree(directory)
    return digests


def assert_all_equal(dfs: Dfs, digests: dict[str, str], target: Path) -> None:
    """Every file reads as it was stored."""
    root = "/data" if dfs.exists(f"/data/{next(iter(digests))}") else "/data/source"
    for name, digest in digests.items():
        dfs.download(f"{root}/{name}", target, force=True)
        assert blake3(target.read_bytes()).hexdigest() == digest, name


def volume(cluster: ProcessCluster, role: str) -> Path:
    """Where a node keeps its chunks."""
    (found,) = [path.parent for path in cluster.paths.root.rglob("identity") if role in str(path)]
    return found


def repair(cluster: ProcessCluster) -> dict[str, object]:
    """What `dfs repair status --json` prints."""
    found = json.loads(cluster.dfs("repair", "status", "--json").stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.timeout(1200)
def test_a_wiped_node_is_mended(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Kill -9, volume gone: detection, then copies of all that it held, each read back; every file is equal."""
    digests = fill(cluster, tmp_path / "source")
    assert cluster.status()["under_replicated"] == 0
    wiped = volume(cluster, "node-2")
    lost_bytes = sum(file.stat().st_size for file in (wiped / "chunks").rglob("*") if file.is_file())
    cluster.kill("node-2")
    killed_at = time.monotonic()
    shutil.rmtree(wiped / "chunks")
    print("\n--- right after\n" + cluster.dfs("status").stdout)

    def state() -> str:
        return next(node["state"] for node in cluster.status()["nodes"] if node["name"] == "node-2")  # type: ignore[attr-defined]

    poll_for("suspicion", lambda: state() == "suspect", seconds=30)
    print("--- suspect\n" + cluster.dfs("status").stdout)
    with cluster.client() as dfs:
        # The status command takes a while: the library asks faster.
        poll_for("the death", lambda: any(n.state == "dead" for n in admin_nodes(cluster)), seconds=30)
        dead_at = time.monotonic()
        print("--- dead\n" + cluster.dfs("status").stdout)
        poll_for("full redundancy", lambda: is_whole(cluster), seconds=SECONDS)
        whole_at = time.monotonic()
        print("--- whole\n" + cluster.dfs("status").stdout)
        assert_all_equal(dfs, digests, tmp_path / "read-back")
    seconds = whole_at - dead_at
    machine = copy_seconds(volume(cluster, "node-1"), tmp_path / "copy", lost_bytes)
    print(
        f"repaired {lost_bytes / MIB:.0f} MiB in {seconds:.1f} s after it was dead "
        f"({lost_bytes / MIB / seconds:.0f} MiB/s); dead {dead_at - killed_at:.1f} s after the kill; "
        f"the machine's own copy of as many bytes, fsynced: {machine:.1f} s ({lost_bytes / MIB / machine:.0f} MiB/s)"
    )
    found = repair(cluster)
    assert (found["state"], found["chunks_left"]) == ("idle", 0)


def copy_seconds(source: Path, target: Path, size: int) -> float:
    """How long this machine takes to copy so many bytes of chunk files, each fsynced, with nothing in between."""
    files = [file for file in sorted((source / "chunks").rglob("*")) if file.is_file()]
    target.mkdir()
    began, copied = time.monotonic(), 0
    for number, file in enumerate(files):
        if copied >= size:
            break
        with file.open("rb") as reader, (target / str(number)).open("wb") as writer:
            shutil.copyfileobj(reader, writer, MIB)
            writer.flush()
            os.fsync(writer.fileno())
        copied += file.stat().st_size
    seconds = time.monotonic() - began
    shutil.rmtree(target)
    return seconds


def admin_nodes(cluster: ProcessCluster) -> list:  # type: ignore[type-arg]
    """The nodes as the master sees them now."""
    from dfs_deploy.client_health import connect_as_operator
    from dfs_deploy.state import StateStore
    from dfs_runtime.clock import SystemClock

    store = StateStore(cluster.home, SystemClock())
    with connect_as_operator(cluster.spec, store.credentials(cluster.name)) as dfs:
        return list(dfs.admin.status().nodes)


def is_whole(cluster: ProcessCluster) -> bool:
    """Nothing has too few copies, and repair has nothing to do."""
    from dfs_deploy.client_health import connect_as_operator
    from dfs_deploy.state import StateStore
    from dfs_runtime.clock import SystemClock

    store = StateStore(cluster.home, SystemClock())
    with connect_as_operator(cluster.spec, store.credentials(cluster.name)) as dfs:
        told = dfs.admin.repair_status()
        return told.state == "idle" and not told.counting and dfs.admin.status().reply.under_replicated == 0
