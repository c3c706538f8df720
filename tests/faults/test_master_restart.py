"""A master that dies under a large upload and comes back: the upload ends well, and nothing it knew is gone.

`DFS_LARGE_MIB` is the size of the upload.
"""

import os
import time
from collections.abc import Iterator

import pytest
from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload, read_history
from tests.support.oracle import examine
from tests.support.polling import poll_for
from tests.support.upload_process import UploadProcess

LARGE_BYTES = int(os.environ.get("DFS_LARGE_MIB", "256")) * MIB
UPLOAD_SECONDS = 60 + LARGE_BYTES / (4 * MIB)

pytestmark = pytest.mark.timeout(2 * UPLOAD_SECONDS + 60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """One for all tests; each has paths of its own."""
    with FaultCluster(tmp_path_factory.mktemp("restart")) as cluster:
        yield cluster.start()


@pytest.fixture
def worker(cluster: FaultCluster) -> Iterator[UploadProcess]:
    """The client that stores."""
    worker = UploadProcess(cluster)
    worker.start()
    yield worker
    worker.end()


def stored_bytes(cluster: FaultCluster) -> int:
    """How much all nodes hold together."""
    files = (path for volume in cluster.volumes.values() for path in (volume / "chunks").glob("??/" + "?" * 64))
    return sum(path.stat().st_size for path in files)


def begin_and_await(cluster: FaultCluster, worker: UploadProcess, upload: Upload, wanted_bytes: int) -> None:
    """Start an upload; returns when the nodes hold so many bytes of it, in all copies."""
    before = stored_bytes(cluster)
    worker.begin([upload])
    poll_for("the upload to get on", lambda: stored_bytes(cluster) - before >= wanted_bytes, seconds=UPLOAD_SECONDS)


def reads_back(cluster: FaultCluster, upload: Upload) -> bool:
    """Whether a fresh client gets the right bytes, piece by piece."""
    with cluster.client() as dfs, dfs.open(upload.path) as file:
        return all(file.read(len(piece)) == piece for piece in upload.pieces()) and not file.read(1)


def knowledge(cluster: FaultCluster) -> dict[str, object]:
    """What the master's answers, and its database, tell of nodes, files and copies."""
    with cluster.client() as dfs:
        entries = [
            (entry.path, entry.size, {copy.node for copy in entry.copies}) for entry in dfs.walk("/", copies=True)
        ]
    replicas = "SELECT path, ordinal, digest, node, address, state FROM file_replicas ORDER BY path, ordinal, node"
    return {"nodes": sorted(cluster.states()), "entries": entries, "replicas": cluster.rows(replicas)}


@pytest.mark.parametrize("away_seconds", [0, 12])
def test_an_upload_outlives_its_master(
    cluster: FaultCluster, worker: UploadProcess, away_seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """The master is killed in mid-upload, stays away for a while, and the same upload is acknowledged."""
    name = f"away-{away_seconds}"
    small = Upload(f"{name}-small", f"/{name}/small", 1_000_000)
    large = Upload(f"{name}-large", f"/{name}/large", LARGE_BYTES)
    worker.begin([small])
    assert worker.finish(seconds=UPLOAD_SECONDS)
    started = time.monotonic()
    begin_and_await(cluster, worker, large, LARGE_BYTES // 2)
    cluster.master.kill()
    time.sleep(away_seconds)
    cluster.master.start()
    assert worker.finish(seconds=UPLOAD_SECONDS)
    took = time.monotonic() - started
    assert read_history(worker.history).errors == {}
    cluster.await_live()
    assert reads_back(cluster, small)
    assert reads_back(cluster, large)
    assert examine(cluster).faults == []
    with capsys.disabled():
        print(f"\n{LARGE_BYTES // MIB} MiB with the master killed and {away_seconds} s away: stored in {took:.1f} s")


def test_an_upload_is_taken_up_again(cluster: FaultCluster, worker: UploadProcess) -> None:
    """Master and client die in mid-upload: nothing is visible, and the repeat sends only what was not stored."""
    large = Upload("again", "/again", LARGE_BYTES)
    begin_and_await(cluster, worker, large, LARGE_BYTES)
    cluster.master.kill()
    worker.kill()
    cluster.master.start()
    cluster.await_live()
    with cluster.client() as dfs:
        assert not dfs.exists(large.path)
    worker.start()
    worker.begin([large])
    assert worker.finish(seconds=UPLOAD_SECONDS)
    outcomes = read_history(worker.history)
    assert outcomes.errors == {}
    # Half of the bytes were stored twice; what was under way at the kill is sent again.
    assert outcomes.sent["again"] < 0.8 * LARGE_BYTES
    assert reads_back(cluster, large)


def test_a_restarted_master_knows_all_it_knew(cluster: FaultCluster, worker: UploadProcess) -> None:
    """Nodes, files, copies, keys: the same after kill -9 of the master, and after kill -9 of everything."""
    batch = [Upload(f"file-{place}", f"/a/b{place % 3}/{place}", 1 << place) for place in range(22)]
    worker.begin(batch)
    assert worker.finish(seconds=UPLOAD_SECONDS)
    with cluster.client() as dfs:
        dfs.make_directory("/empty")
        dfs.rename("/a/b1", "/moved")
        dfs.remove("/a/b2", recursive=True)
    before = knowledge(cluster)
    for victims in ([cluster.master], list(cluster.daemons.values())):
        for daemon in victims:
            daemon.kill()
        for daemon in victims:
            daemon.start()
        cluster.await_live()
        assert knowledge(cluster) == before
    for upload in batch:
        path = upload.path.replace("/a/b1/", "/moved/")
        assert path.startswith("/a/b2/") or reads_back(cluster, Upload(upload.id, path, upload.size))
