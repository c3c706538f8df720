"""Nodes that are down, paused or cut off: reads go on, writes go elsewhere or are refused, everything ends in time."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.client_command import Ran, run_client
from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload
from tests.support.oracle import examine
from tests.support.polling import poll_for

from dfs_client.api import Dfs
from dfs_wire.errors import DfsError

T = TypeVar("T")

#: A node that is gone refuses connections at once: nothing may wait for it.
GONE_SECONDS = 15.0
#: A paused one is noticed when a stream made no progress for 30 s, or an answer did not come for 30 s.
PAUSED_SECONDS = 60.0
#: Too few nodes: a few tries, each with a pause, then the refusal.
REFUSED_SECONDS = 45.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    """A fresh one each: they differ in who is missing."""
    with FaultCluster(tmp_path / "cluster") as cluster:
        yield cluster.start()


def store(dfs: Dfs, name: str, size: int) -> Upload:
    """One file."""
    upload = Upload(name, f"/{name}", size)
    dfs.upload(upload.stream(), upload.path)
    return upload


def reads_back(dfs: Dfs, upload: Upload, target: Path) -> bool:
    """Byte-equal."""
    dfs.download(upload.path, target, force=True)
    return target.read_bytes() == upload.content()


def upload_by_command(cluster: FaultCluster, upload: Upload) -> Ran:
    """As a user, with a fresh process."""
    return run_client(cluster, "upload", "-", upload.path, content=upload.content(), seconds=PAUSED_SECONDS)


def test_one_of_three_is_gone(cluster: FaultCluster, tmp_path: Path) -> None:
    """Kill -9 of a node: from the next moment on reads and writes go on within seconds, and two copies are two."""
    with cluster.client() as dfs:
        uploads = [store(dfs, f"before-{size}", size) for size in (0, 1, 70_000, 20 * MIB)]
        cluster.nodes["node-2"].kill()
        started = time.monotonic()
        assert all(reads_back(dfs, upload, tmp_path / "read-back") for upload in uploads)
        after = [store(dfs, f"after-{size}", size) for size in (0, 1, 70_000, 20 * MIB)]
        assert all(reads_back(dfs, upload, tmp_path / "read-back") for upload in after)
        assert time.monotonic() - started < GONE_SECONDS
    for upload in after[1:]:
        assert {node for node, _, _ in cluster.replica_files(upload.path)} == {"node-1", "node-3"}
    cluster.revive("node-2")
    assert examine(cluster).faults == []


@pytest.mark.parametrize("noticed", [False, True], ids=["just-now", "noticed"])
def test_two_of_three_are_gone(cluster: FaultCluster, tmp_path: Path, noticed: bool) -> None:
    """An upload is refused with one sentence and exit code 5, never stored once; reads go on where a copy is left."""
    with cluster.client() as dfs:
        uploads = [store(dfs, f"before-{place}", 50_000) for place in range(8)]
        readable = {upload.path: {node for node, _, _ in cluster.replica_files(upload.path)} for upload in uploads}
        for name in ("node-1", "node-2"):
            cluster.nodes[name].kill()
        if noticed:
            poll_for("the loss", lambda: list(cluster.states().values()).count("suspect") == 2, seconds=30)
        started = time.monotonic()
        refused = Upload("refused", "/refused", 100_000)
        ran = upload_by_command(cluster, refused)
        assert (ran.code, time.monotonic() - started < REFUSED_SECONDS) == (5, True)
        assert ran.sentence
        assert not dfs.exists(refused.path)
        for upload in uploads:
            if "node-3" in readable[upload.path]:
                assert reads_back(dfs, upload, tmp_path / "read-back")
        cluster.revive("node-1", "node-2")
        assert upload_by_command(cluster, refused).code == 0
        assert reads_back(dfs, refused, tmp_path / "read-back")
    assert examine(cluster).faults == []


def test_all_nodes_are_gone(cluster: FaultCluster, tmp_path: Path) -> None:
    """Reads end with one sentence and exit code 5, and leave no local file; names can still be listed."""
    with cluster.client() as dfs:
        upload = store(dfs, "file", 50_000)
    for node in cluster.nodes.values():
        node.kill()
    target = tmp_path / "target"
    ran = run_client(cluster, "download", upload.path, str(target), seconds=PAUSED_SECONDS)
    assert ran.code == 5
    assert ran.sentence
    assert not target.exists()
    assert list(tmp_path.glob("*.tmp")) == []
    listed = run_client(cluster, "list", "/")
    assert (listed.code, b"file" in listed.output) == (0, True)


@pytest.mark.timeout(300)
def test_a_paused_node_holds_nobody_up_for_ever(cluster: FaultCluster, tmp_path: Path) -> None:
    """SIGSTOP of a node under reads and writes: each ends well within its deadline; afterwards the node serves."""
    warm = cluster.client()

    def timed(work: Callable[[Dfs], T], *, fresh: bool) -> tuple[T, float]:
        """A fresh client meets the paused node with its Hello, a warm one in the middle of a connection."""
        started = time.monotonic()
        with cluster.client() if fresh else nullcontext(warm) as dfs:
            return work(dfs), time.monotonic() - started

    with closing(warm), ThreadPoolExecutor(16) as threads:
        before = [store(warm, f"before-{place}", size) for place, size in enumerate((70_000, 3 * MIB, 20 * MIB))]
        with cluster.nodes["node-1"].paused():
            writes = [
                threads.submit(timed, partial(store, name=f"paused-{fresh}-{place}", size=4 * MIB), fresh=fresh)
                for fresh in (False, True)
                for place in range(4)
            ]
            reads = [
                threads.submit(
                    timed, partial(reads_back, upload=upload, target=tmp_path / f"{fresh}-{upload.id}"), fresh=fresh
                )
                for fresh in (False, True)
                for upload in before
            ]
            written, read = [each.result() for each in writes], [each.result() for each in reads]
        assert all(right for right, _ in read)
        assert max(seconds for _, seconds in [*written, *read]) < PAUSED_SECONDS
        cluster.await_live()
        assert all(reads_back(warm, upload, tmp_path / "read-back") for upload, _ in written)
    assert examine(cluster).faults == []


def test_a_paused_master_only_delays(cluster: FaultCluster, tmp_path: Path) -> None:
    """A master that stands still for some seconds: operations wait for it, and nodes are not blamed."""
    with cluster.client() as dfs, ThreadPoolExecutor(4) as threads, ExitStack() as pause:
        store(dfs, "before", 1000)
        pause.enter_context(cluster.master.paused())
        uploads = [threads.submit(store, dfs, f"delayed-{place}", 2 * MIB) for place in range(4)]
        time.sleep(5)
        pause.close()
        assert all(reads_back(dfs, each.result(), tmp_path / "read-back") for each in uploads)
    assert set(cluster.states().values()) == {"live"}


def test_a_client_without_a_master_gives_up_in_time(cluster: FaultCluster) -> None:
    """A first connection is tried for 5 s, then exit code 5 and one sentence."""
    cluster.master.kill()
    started = time.monotonic()
    ran = run_client(cluster, "list", "/", seconds=30)
    assert ran.code == 5
    assert cluster.addresses["master"] in ran.sentence
    assert time.monotonic() - started < 15


def test_an_error_of_one_upload_spoils_no_other(cluster: FaultCluster) -> None:
    """Nodes come and go under many writers: each upload is stored in two copies or raises."""
    stored: list[Upload] = []
    with cluster.client() as dfs, ThreadPoolExecutor(4) as threads:

        def attempt(place: int) -> Upload | None:
            try:
                return store(dfs, f"many-{place}", 200_000 + place)
            except DfsError:
                return None

        tasks = [threads.submit(attempt, place) for place in range(120)]
        for name in ("node-1", "node-2", "node-3", "node-1"):
            cluster.nodes[name].kill()
            cluster.nodes[name].start()
            poll_for("some uploads", lambda: sum(task.done() for task in tasks) > len(stored), seconds=30)
        stored = [upload for task in tasks if (upload := task.result()) is not None]
    cluster.await_live()
    assert len(stored) > 100
    assert examine(cluster).faults == []
    assert {row["path"] for row in cluster.rows("SELECT DISTINCT path FROM file_replicas")} >= {
        each.path for each in stored
    }
