"""A disk that is full refuses, and nothing else: what is stored stays readable, what is refused leaves no trace."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.client_command import Ran, run_client
from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload
from tests.support.oracle import examine, temporary_files
from tests.support.polling import poll_for
from tests.support.small_disks import small_disk
from tests.support.traces import attached, needs_strace

from dfs_client.api import Dfs
from dfs_wire.errors import DfsError, NoSpaceError

DISK_BYTES = 48 * MIB
FILE_BYTES = 5 * MIB
#: A volume's state comes with its next heartbeat.
HEARTBEAT_SECONDS = 10.0


@pytest.fixture
def small_cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    """Three nodes with small disks of their own."""
    with ExitStack() as mounts:
        names = ("node-1", "node-2", "node-3")
        volumes = {name: mounts.enter_context(small_disk(tmp_path / "disks" / name, DISK_BYTES)) for name in names}
        with FaultCluster(tmp_path / "cluster", volumes=volumes) as cluster:
            yield cluster.start()


def fill(dfs: Dfs) -> tuple[list[Upload], DfsError]:
    """Store files until one is refused."""
    stored: list[Upload] = []
    while True:
        upload = Upload(f"fill-{len(stored)}", f"/fill/{len(stored)}", FILE_BYTES)
        try:
            dfs.upload(upload.stream(), upload.path)
        except DfsError as error:
            return stored, error
        stored.append(upload)
        assert len(stored) * FILE_BYTES < 2 * DISK_BYTES, "more than the disks can hold"


def test_full_volumes_refuse_and_serve(small_cluster: FaultCluster, tmp_path: Path) -> None:
    """The volumes fill up: one sentence and exit code 5; all that was acknowledged reads back, the rest is absent."""
    cluster = small_cluster
    with cluster.client() as dfs:
        stored, error = fill(dfs)
        assert isinstance(error, NoSpaceError), repr(error)
        # Well over half of three disks in two copies each, the reserve left out.
        assert len(stored) * FILE_BYTES > 0.9 * DISK_BYTES
        assert not dfs.exists(f"/fill/{len(stored)}")
        late = Upload("late", "/fill/late", FILE_BYTES)
        refused = run_client(cluster, "upload", "-", late.path, content=late.content())
        assert refused.code == 5
        assert "full" in refused.sentence or "space" in refused.sentence
        for upload in stored:
            dfs.download(upload.path, tmp_path / "read-back", force=True)
            assert (tmp_path / "read-back").read_bytes() == upload.content()
        # Metadata still goes on: names can be removed and changed.
        dfs.remove(stored[0].path)
        dfs.rename(stored[1].path, "/moved")
    assert temporary_files(cluster) == []
    assert examine(cluster).faults == []
    assert set(cluster.states().values()) == {"live"}


def test_one_full_volume_is_left_out(tmp_path: Path) -> None:
    """While one disk is full, uploads go to the others without an error."""
    with (
        small_disk(tmp_path / "disk", DISK_BYTES) as volume,
        FaultCluster(tmp_path / "cluster", volumes={"node-2": volume}) as cluster,
    ):
        cluster.start()
        ballast = volume / "ballast"
        ballast.write_bytes(bytes(DISK_BYTES - 6 * MIB))
        with cluster.client() as dfs:
            uploads = [Upload(f"past-{place}", f"/past/{place}", 2 * FILE_BYTES) for place in range(6)]
            for upload in uploads:
                dfs.upload(upload.stream(), upload.path)
        assert examine(cluster).faults == []
        nodes = {node for upload in uploads for node, _, _ in cluster.replica_files(upload.path)}
        assert nodes >= {"node-1", "node-3"}
        states = {row["name"]: row["state"] for row in cluster.rows("SELECT name, state FROM nodes")}
        assert "failed" not in states.values()
        # Now it is needed: a clear refusal until there is room again, and no single copy meanwhile.
        cluster.nodes["node-3"].stop()
        late = Upload("late", "/late", 2 * FILE_BYTES)

        def upload_late() -> Ran:
            return run_client(cluster, "upload", "-", late.path, content=late.content())

        refused = upload_late()
        assert refused.code == 5
        assert refused.sentence
        with cluster.client() as dfs:
            assert not dfs.exists(late.path)
        ballast.unlink()
        poll_for("node-2 to take data again", lambda: upload_late().code == 0, seconds=HEARTBEAT_SECONDS)
        assert {node for node, _, _ in cluster.replica_files(late.path)} == {"node-1", "node-2"}


@needs_strace
def test_a_full_metadata_disk_refuses_changes_and_serves_reads(tmp_path: Path) -> None:
    """The master's disk is full: an upload is refused, nothing is visible, reads go on, and it recovers by itself."""
    with FaultCluster(tmp_path) as cluster, cluster.client_when_started() as dfs:
        before = Upload("before", "/before", 300_000)
        dfs.upload(before.stream(), before.path)
        calls = "pwrite64,ftruncate,fallocate"
        inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:error=ENOSPC:when=1+")
        with attached(cluster.master.pid, *inject, output=tmp_path / "full.trace"):
            refused = run_client(cluster, "upload", "-", "/refused", content=b"refused")
            assert refused.code == 5
            assert "full" in refused.sentence
            assert not dfs.exists("/refused")
            dfs.download(before.path, tmp_path / "read-back")
            assert (tmp_path / "read-back").read_bytes() == before.content()
        after = Upload("after", "/after", 300_000)
        dfs.upload(after.stream(), after.path)
        assert dfs.stat(after.path).entry.size == after.size
        assert cluster.master.alive
