"""A node is killed and its volume wiped: everything has its copies again without a hand, and how long that takes.

`DFS_REPAIR_MIB` sets how much is stored (64; 2048 for the figures in the documents), `DFS_DRAIN_MIB` the same for the
drain (24; 4096 puts 2 GiB on each of four nodes).
"""

import io
import itertools
import json
import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from tests.support.polling import poll_for
from tests.support.process_cluster import ProcessCluster

from dfs_client.api import Dfs
from dfs_deploy.client_health import connect_as_operator
from dfs_deploy.state import StateStore
from dfs_node.chunk_file import verify
from dfs_node.disk import SystemDisk
from dfs_runtime.clock import SystemClock
from dfs_wire.errors import DfsError, NotFoundError
from dfs_wire.limits import MIB
from dfs_wire.messages import NodeInfo

STORED_MIB = int(os.environ.get("DFS_REPAIR_MIB", "64"))
FILE_MIB = 32
DRAINED_MIB = int(os.environ.get("DFS_DRAIN_MIB", "24"))
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


@pytest.mark.timeout(300)
def test_rotten_sources_are_found_and_mended_on_the_way(tmp_path: Path) -> None:
    """Three copies on four nodes; all of one node's are rotten, unread; another is wiped. Nothing rotten spreads."""
    cluster = ProcessCluster(tmp_path / "home", "rotten", "--nodes", "4", "--copies", "3", *SETTINGS)
    try:
        contents = {f"/f{number}": random.Random(number).randbytes(300_000) for number in range(12)}
        with cluster.client() as dfs:
            for path, data in contents.items():
                dfs.upload(io.BytesIO(data), path)
            wiped = volume(cluster, "node-2")
            rotten = [file for file in (volume(cluster, "node-1") / "chunks").rglob("*") if file.is_file()]
            assert rotten
            cluster.kill("node-2")
            for file in rotten:
                flip_a_bit(file)
            shutil.rmtree(wiped / "chunks")
            poll_for("the death", lambda: any(node.state == "dead" for node in admin_nodes(cluster)), seconds=30)
            # Found by the repair itself, or by the readers below; both end with good copies on three nodes.
            poll_for("redundancy", lambda: is_whole(cluster), seconds=60)
            for path, data in contents.items():
                target = io.BytesIO()
                dfs.download(path, target)
                assert target.getvalue() == data
        cluster.dfs("node", "verify", "node-1")
        poll_for("good copies everywhere", lambda: damaged_files(cluster) == [], seconds=90)
        print(f"\n{len(rotten)} rotten sources mended, {len(contents)} files equal")
    finally:
        cluster.close()


def flip_a_bit(file: Path) -> None:
    """In the last byte of a chunk file: its header stays in order."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def damaged_files(cluster: ProcessCluster) -> list[str]:
    """Chunk files of nodes that run whose data is not what their name says."""
    bad = []
    for role in ("node-1", "node-3", "node-4"):
        for file in (volume(cluster, role) / "chunks").rglob("*"):
            if file.is_file() and len(file.name) == 64 and not is_sound(file):
                bad.append(f"{role}/{file.name}")
    return bad


def is_sound(file: Path) -> bool:
    """By the node's own reader of chunk files."""
    try:
        verify(file, SystemDisk())
    except (DfsError, FileNotFoundError):
        return False
    return True


@pytest.mark.timeout(1200)
def test_a_node_is_drained_under_an_upload_load(tmp_path: Path) -> None:
    """Uploads go on without an error; nothing is below two copies at any time; a cancel half-way serves on.

    The node is called safe to stop only when nothing needs it.
    """
    cluster = ProcessCluster(tmp_path / "home", "drained", "--nodes", "4")
    try:
        stop, failures, samples, unsafe = threading.Event(), [], [], []
        with cluster.client() as dfs:
            for number in range(DRAINED_MIB):
                dfs.upload(io.BytesIO(random.Random(number).randbytes(MIB)), f"/before-{number}")

            def load() -> None:
                for number in itertools.count():
                    if stop.is_set():
                        return
                    try:
                        dfs.upload(io.BytesIO(random.Random(1_000 + number).randbytes(200_000)), f"/load-{number}")
                    except DfsError as error:
                        failures.append(error)

            def sample() -> None:
                while not stop.wait(0.2):
                    said_safe = is_called_safe(cluster, "node-4")
                    samples.append(fewest_copies(cluster))
                    if said_safe and needing(cluster, "node-4"):
                        unsafe.append(needing(cluster, "node-4"))

            threads = [threading.Thread(target=work) for work in (load, sample)]
            for thread in threads:
                thread.start()
            cluster.dfs("node", "drain", "node-4")
            cluster.dfs("node", "cancel", "node-4")
            told = json.loads(cluster.dfs("node", "drain", "node-4", "--json").stdout)
            assert told["draining"]
            cluster.dfs("node", "remove", "node-4")
            stop.set()
            for thread in threads:
                thread.join()
        assert failures == []
        assert unsafe == []
        assert len(samples) > 3
        assert min(samples) >= 2
        print(f"\n{DRAINED_MIB} MiB drained, no upload failed; in {len(samples)} looks {min(samples)} copies or more")
        nodes = cluster.status()["nodes"]
        assert sorted(node["name"] for node in nodes) == ["node-1", "node-2", "node-3"]  # type: ignore[attr-defined]
        assert is_whole(cluster)
    finally:
        cluster.close()


def rows_of(cluster: ProcessCluster, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the metadata database, read-only, while the master serves."""
    uri = f"file:{cluster.paths.root / 'master' / 'metadata.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=20)) as connection:
        return connection.execute(query, values).fetchall()


def fewest_copies(cluster: ProcessCluster) -> int:
    """The fewest good copies that a slice of a current file has, by the database's own view."""
    rows = rows_of(cluster, "SELECT count(*) FROM file_replicas WHERE state = 'good' GROUP BY path, ordinal")
    return min((count for (count,) in rows), default=2)


def is_called_safe(cluster: ProcessCluster, name: str) -> bool:
    """Whether the master says that a node is drained."""
    with operator(cluster) as dfs:
        found = [node for node in dfs.status().nodes if node.name == name]
        if not found or found[0].state != "draining":
            return False
        try:
            return dfs.admin.drain_progress(found[0].id).chunks_left == 0
        except NotFoundError:  # it was let go meanwhile
            return False


def needing(cluster: ProcessCluster, name: str) -> int:
    """Chunks that have too few good copies on other nodes, by the database."""
    query = (
        "SELECT count(*) FROM chunks c WHERE c.copies_wanted > 0 AND (SELECT count(*) FROM replicas r"
        " JOIN nodes n ON n.id = r.node_id WHERE r.chunk_id = c.id AND r.state = 'good' AND n.name <> ?)"
        " < c.copies_wanted"
    )
    return int(rows_of(cluster, query, name)[0][0])


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


def operator(cluster: ProcessCluster) -> Dfs:
    """A connection with the admin key."""
    store = StateStore(cluster.home, SystemClock())
    return connect_as_operator(cluster.spec, store.credentials(cluster.name))


def admin_nodes(cluster: ProcessCluster) -> list[NodeInfo]:
    """The nodes as the master sees them now."""
    with operator(cluster) as dfs:
        return dfs.status().nodes


def is_whole(cluster: ProcessCluster) -> bool:
    """Nothing has too few copies, and repair has nothing to do."""
    with operator(cluster) as dfs:
        told = dfs.admin.repair_status()
        return told.state == "idle" and not told.counting and dfs.admin.status().reply.under_replicated == 0
