"""A disk that reports an error: the volume takes nothing more, nothing false is acknowledged, readers go elsewhere."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.support.client_command import client_environment
from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload
from tests.support.oracle import examine, temporary_files
from tests.support.polling import poll_for
from tests.support.traces import attached, needs_strace

from dfs_client.api import Dfs
from dfs_deploy.programs import NODE_PROGRAM, program_command

#: A volume's state comes with its next heartbeat, and the master judges it within a second.
NOTICED_SECONDS = 15.0
#: A client waits 30 s for a master that went away.
REFUSED_SECONDS = 60.0

pytestmark = needs_strace


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    """A fresh one each: a failed volume stays failed."""
    with FaultCluster(tmp_path / "cluster") as cluster:
        yield cluster.start()


def failing(cluster: FaultCluster, role: str, calls: str, how: str) -> AbstractContextManager[None]:
    """Let some system calls of a role fail for the length of the block."""
    inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:{how}")
    return attached(cluster.daemons[role].pid, *inject, output=cluster.root / f"{role}.trace")


def store_many(dfs: Dfs, name: str, count: int = 12) -> list[Upload]:
    """So many that each node gets some."""
    uploads = [Upload(f"{name}-{place}", f"/{name}/{place}", 400_000 + place) for place in range(count)]
    for upload in uploads:
        dfs.upload(upload.stream(), upload.path)
    return uploads


def all_read_back(dfs: Dfs, uploads: list[Upload], scratch: Path) -> bool:
    """Byte-equal, each of them."""
    target = scratch / "read-back"
    for upload in uploads:
        dfs.download(upload.path, target, force=True)
        if target.read_bytes() != upload.content():
            return False
    return True


def chunk_files(cluster: FaultCluster, node: str) -> set[str]:
    """The names of all chunks in a volume."""
    return {path.name for path in (cluster.volumes[node] / "chunks").glob("??/" + "?" * 64)}


@contextmanager
def uploading(cluster: FaultCluster, upload: Upload, scratch: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A client that stores a file meanwhile; it is gone after the block."""
    command = [*program_command("dfs-client"), "upload", str(upload.write_to(scratch / upload.id)), upload.path]
    client = subprocess.Popen(command, env=client_environment(cluster), stdout=subprocess.DEVNULL)
    try:
        yield client
    finally:
        client.kill()
        client.wait()


@pytest.mark.parametrize("call", ["fdatasync", "fsync", "pwrite64", "rename"])
def test_a_failed_write_fails_the_volume_for_good(cluster: FaultCluster, tmp_path: Path, call: str) -> None:
    """One error: uploads go to the others, and the volume takes nothing until it was verified, restart or not."""
    node = cluster.nodes["node-1"]
    with cluster.client() as dfs:
        before = store_many(dfs, "before")
        with failing(cluster, "node-1", call, "error=EIO:when=1"):
            uploads = store_many(dfs, "during")
        poll_for("the failed volume", lambda: cluster.states()["node-1"] == "failed", seconds=NOTICED_SECONDS)
        held = chunk_files(cluster, "node-1")
        uploads += store_many(dfs, "after")
        assert chunk_files(cluster, "node-1") == held
        # A restart does not clear it.
        node.stop()
        node.start()
        again = "SELECT 1 FROM nodes WHERE name = 'node-1' AND registration = 2"
        poll_for("the node's return", lambda: cluster.rows(again), seconds=NOTICED_SECONDS)
        assert cluster.states()["node-1"] == "failed"
        uploads += store_many(dfs, "restarted")
        assert chunk_files(cluster, "node-1") == held
        assert all_read_back(dfs, before + uploads, tmp_path)
        good = [node for upload in uploads for node, _, _ in cluster.replica_files(upload.path)]
        assert set(good) == {"node-2", "node-3"}
        # Only a full verifying pass does.
        node.stop()
        verified = subprocess.run(
            [*program_command(NODE_PROGRAM), "verify", "--volume", str(cluster.volumes["node-1"]), "--json"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert json.loads(verified.stdout)["cleared"] is True
        node.start()
        cluster.await_live()
    # The first client still avoids a node that failed it a moment ago.
    with cluster.client() as dfs:
        store_many(dfs, "cleared")
    assert chunk_files(cluster, "node-1") > held
    assert examine(cluster).faults == []
    assert temporary_files(cluster) == []


def test_unreadable_copies_are_read_elsewhere(cluster: FaultCluster, tmp_path: Path) -> None:
    """A disk that gives EIO for every read: readers get the right bytes from other copies, and the node lives on."""
    with cluster.client() as dfs:
        uploads = store_many(dfs, "read")
        with failing(cluster, "node-1", "sendfile,pread64,preadv,preadv2", "error=EIO:when=1+"):
            assert all_read_back(dfs, uploads, tmp_path)
        assert all_read_back(dfs, uploads, tmp_path)
    assert cluster.nodes["node-1"].alive


def test_a_master_whose_sync_fails_acknowledges_nothing(cluster: FaultCluster, tmp_path: Path) -> None:
    """The commit's sync fails: the master ends itself, and started again it knows that file whole or not at all."""
    with cluster.client() as dfs:
        before = store_many(dfs, "before", 3)
    unknown = Upload("unknown", "/unknown", 10_000)
    with failing(cluster, "master", "fdatasync", "error=EIO:when=1"), uploading(cluster, unknown, tmp_path) as client:
        assert cluster.master.wait(REFUSED_SECONDS) == 5
        assert client.poll() is None, "it was told something"
    cluster.master.start()
    cluster.await_live()
    with cluster.client() as dfs:
        assert not dfs.exists(unknown.path) or all_read_back(dfs, [unknown], tmp_path)
        again = Upload("again", unknown.path, MIB)
        dfs.upload(again.stream(), again.path)
        assert all_read_back(dfs, [*before, again], tmp_path)
    assert examine(cluster).faults == []


def test_an_upload_outlives_a_master_whose_sync_fails(cluster: FaultCluster, tmp_path: Path) -> None:
    """Started again in time, the master acknowledges the same upload, once."""
    upload = Upload("once", "/once", MIB)
    with failing(cluster, "master", "fdatasync", "error=EIO:when=1"), uploading(cluster, upload, tmp_path) as client:
        cluster.master.wait(REFUSED_SECONDS)
        cluster.master.start()
        assert client.wait(REFUSED_SECONDS) == 0
    with cluster.client() as dfs:
        assert all_read_back(dfs, [upload], tmp_path)
    assert len(cluster.rows("SELECT id FROM versions")) == 1
