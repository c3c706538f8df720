"""Downloads against the fake cluster: fail-over, verification, tickets, and nothing half-done."""

import io
import os
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.fake_cluster import FakeCluster

from dfs_client.api import Dfs
from dfs_client.executors import ThreadExecutor
from dfs_wire.errors import (
    AlreadyExistsError,
    BusyError,
    ConnectFailedError,
    CorruptError,
    DfsError,
    NoSpaceError,
    NotFoundError,
    UnavailableError,
    VersionGoneError,
    WrongKindError,
)
from dfs_wire.limits import KIB, MIB, TICKET_SECONDS
from dfs_wire.messages import GetChunk, Header, Open


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Dfs:
    """A client in one thread."""
    return cluster.connect()


def stored(dfs: Dfs, data: bytes, path: str = "/file") -> bytes:
    """Upload; returns the digest of the first chunk."""
    dfs.upload(io.BytesIO(data), path)
    return blake3(data[: 8 * MIB]).digest()


def best_node(cluster: FakeCluster, digest: bytes) -> int:
    """The node whose copy the fake master names first."""
    return min(cluster.replicas[digest])


@pytest.mark.parametrize("size", [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1])
@pytest.mark.parametrize("streamed", [False, True])
def test_every_size_comes_back(dfs: Dfs, tmp_path: Path, size: int, streamed: bool) -> None:
    """To a file and to a file object, at every boundary."""
    data = os.urandom(size)
    stored(dfs, data)
    if streamed:
        target = io.BytesIO()
        dfs.download("/file", target)
        assert target.getvalue() == data
    else:
        done = dfs.download("/file", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == data
        assert (done.size, done.digest) == (size, blake3(data).digest())


def test_time_and_mode_come_back(dfs: Dfs, tmp_path: Path) -> None:
    """The local file has what the source had."""
    source = tmp_path / "source"
    source.write_bytes(b"x")
    source.chmod(0o751)
    os.utime(source, ns=(5, 1_234_567_890_123_456_789))
    dfs.upload(source, "/file")
    dfs.download("/file", tmp_path / "target")
    found = (tmp_path / "target").stat()
    assert (found.st_mode & 0o7777, found.st_mtime_ns) == (0o751, 1_234_567_890_123_456_789)


@pytest.mark.parametrize("error", [ConnectFailedError("gone"), BusyError("busy"), UnavailableError("?")])
def test_another_copy_is_used_when_a_node_does_not_answer(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, error: DfsError
) -> None:
    """An absent or busy node is not reported: the master knows better."""
    data = os.urandom(20 * MIB)
    stored(dfs, data)
    cluster.fail(GetChunk, error, times=100, address="node-1:1")
    dfs.download("/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data
    assert cluster.reports == []


@pytest.mark.parametrize(("size", "place"), [(8 * MIB, 0), (8 * MIB, 3 * MIB), (8 * MIB, -1), (4_096, 0), (4_096, -1)])
def test_a_corrupt_copy_is_reported_and_another_one_used(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, size: int, place: int
) -> None:
    """One flipped bit anywhere never reaches the file."""
    data = os.urandom(size)
    digest = stored(dfs, data)
    bad = best_node(cluster, digest)
    cluster.spoil(bad, digest, place)
    dfs.download("/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data
    assert [(report.ticket.node_id, report.ticket.digest) for report in cluster.reports] == [(bad, digest)]


@pytest.mark.parametrize("damage", ["truncated", "extended"])
def test_a_copy_of_another_length_is_corrupt(cluster: FakeCluster, dfs: Dfs, tmp_path: Path, damage: str) -> None:
    """A short or long copy is noticed before its bytes are used."""
    data = os.urandom(100_000)
    digest = stored(dfs, data)
    bad = cluster.nodes[best_node(cluster, digest)]
    bad.chunks[digest] = data[:-1] if damage == "truncated" else data + b"x"
    dfs.download("/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data
    assert len(cluster.reports) == 1


def test_a_lost_copy_is_reported(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A node that does not hold what the master thinks is a finding."""
    digest = stored(dfs, b"data")
    del cluster.nodes[best_node(cluster, digest)].chunks[digest]
    dfs.download("/file", tmp_path / "target")
    assert [report.finding for report in cluster.reports] == ["missing"]


def test_a_report_that_fails_does_not_hinder(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The reader's bytes matter more than the report."""
    digest = stored(dfs, b"data")
    cluster.spoil(best_node(cluster, digest), digest)
    cluster.hook = _refuse_reports
    dfs.download("/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"data"


def _refuse_reports(_address: str, request: Header) -> None:
    if type(request).__name__ == "ReportCopy":
        raise ConnectFailedError("gone")


def test_only_bad_copies_are_an_error_and_leave_nothing(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Exit code 7, no target, no temporary file."""
    digest = stored(dfs, b"data")
    for number in cluster.replicas[digest]:
        cluster.spoil(number, digest)
    with pytest.raises(CorruptError) as caught:
        dfs.download("/file", tmp_path / "target")
    assert caught.value.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_dead_nodes_end_the_download_after_a_bounded_wait(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Exit code 5 after some 30 seconds."""
    stored(dfs, b"data")
    for node in cluster.nodes.values():
        node.up = False
    before = cluster.clock.monotonic()
    with pytest.raises(UnavailableError) as caught:
        dfs.download("/file", tmp_path / "target")
    assert caught.value.exit_code == 5
    assert 30 <= cluster.clock.monotonic() - before < 40
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_comes_back_is_used(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Patience ends with the first good copy."""
    stored(dfs, b"data")
    until = cluster.clock.monotonic() + 10

    def restart(address: str, _request: Header) -> None:
        if address.startswith("node") and cluster.clock.monotonic() < until:
            raise ConnectFailedError("refused")

    cluster.hook = restart
    dfs.download("/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"data"


def test_tickets_are_renewed_for_the_same_version(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A download that is slower than a ticket lives goes on with the version that it began with."""
    data = os.urandom(40 * MIB)
    stored(dfs, data)

    def slow(_address: str, request: Header) -> None:
        if isinstance(request, GetChunk):
            cluster.clock.advance(TICKET_SECONDS / 2)
            if len(cluster.sent(GetChunk)) == 2:
                dfs.upload(io.BytesIO(b"newer"), "/file")

    cluster.hook = slow
    dfs.download("/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data
    opens = cluster.sent(Open)
    assert len(opens) > 1
    assert {request.version for request in opens[1:]} == {1}


def test_an_expired_ticket_is_replaced(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A node that refuses a ticket is asked again with a fresh one."""
    stored(dfs, b"data")
    jumped = False

    def jump(_address: str, request: Header) -> None:
        nonlocal jumped
        if isinstance(request, GetChunk) and not jumped:
            jumped = True
            cluster.clock.advance(TICKET_SECONDS + 1)

    cluster.hook = jump
    dfs.download("/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"data"


def test_a_version_that_is_gone_is_an_error_not_a_mixture(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """When the hour of grace is over, the download ends and leaves nothing."""
    stored(dfs, os.urandom(40 * MIB))

    def slow(_address: str, request: Header) -> None:
        if isinstance(request, GetChunk):
            cluster.clock.advance(TICKET_SECONDS)
            cluster.gone.add(1)

    cluster.hook = slow
    with pytest.raises(VersionGoneError):
        dfs.download("/file", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_needs_force(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Without force the file stays, and nothing is fetched; with it, it is replaced whole."""
    stored(dfs, b"new")
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(AlreadyExistsError):
        dfs.download("/file", target)
    assert target.read_bytes() == b"old"
    assert cluster.sent(GetChunk) == []
    dfs.download("/file", target, force=True)
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_appears_meanwhile_is_not_replaced(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The name is taken in one step, or not at all."""
    stored(dfs, b"new")

    def race(_address: str, request: Header) -> None:
        if isinstance(request, GetChunk):
            (tmp_path / "target").write_bytes(b"theirs")

    cluster.hook = race
    with pytest.raises(AlreadyExistsError):
        dfs.download("/file", tmp_path / "target")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"theirs"]


def test_force_writes_through_a_link_and_refuses_devices(dfs: Dfs, tmp_path: Path) -> None:
    """A symbolic link stays a link; a device is never replaced by a file."""
    stored(dfs, b"new")
    real, link, pipe = tmp_path / "real", tmp_path / "link", tmp_path / "pipe"
    real.write_bytes(b"old")
    link.symlink_to(real)
    os.mkfifo(pipe)
    dfs.download("/file", link, force=True)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    with pytest.raises(WrongKindError):
        dfs.download("/file", pipe, force=True)
    with pytest.raises(WrongKindError):
        dfs.download("/file", tmp_path, force=True)


def test_a_missing_file_or_directory_is_told_apart_and_leaves_nothing(dfs: Dfs, tmp_path: Path) -> None:
    """Neither the remote nor the local miss leaves a temporary file."""
    with pytest.raises(NotFoundError):
        dfs.download("/none", tmp_path / "target")
    stored(dfs, b"x", "/directory/file")
    with pytest.raises(WrongKindError):
        dfs.download("/directory", tmp_path / "target")
    with pytest.raises(NotFoundError, match="nowhere"):
        dfs.download("/directory/file", tmp_path / "nowhere" / "target")
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_fits(dfs: Dfs, tmp_path: Path) -> None:
    """The temporary name does not outgrow the 255 bytes that a name may have."""
    stored(dfs, b"x")
    target = tmp_path / ("ü" * 127)
    dfs.download("/file", target)
    assert target.read_bytes() == b"x"


def test_a_disk_that_is_too_full_is_told_before_anything_is_fetched(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte short is refused; a file system that tells nothing is not asked again."""
    size = 2 * MIB
    stored(dfs, os.urandom(size))
    space = os.statvfs_result((4096, 1, 10, 10, size - 1, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda _: space)
    with pytest.raises(NoSpaceError, match="make room"):
        dfs.download("/file", tmp_path / "target")
    assert cluster.sent(GetChunk) == []
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "fstatvfs", lambda _: os.statvfs_result((0,) * 10))
    assert dfs.download("/file", tmp_path / "target").size == size


def test_an_interruption_leaves_nothing(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Ctrl-C in the middle removes the temporary file."""
    stored(dfs, os.urandom(20 * MIB))

    def interrupt(_address: str, request: Header) -> None:
        if isinstance(request, GetChunk) and len(cluster.sent(GetChunk)) == 2:
            raise KeyboardInterrupt

    cluster.hook = interrupt
    with pytest.raises(KeyboardInterrupt):
        dfs.download("/file", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("streamed", [False, True])
def test_threads_fetch_the_same_as_one(cluster: FakeCluster, tmp_path: Path, streamed: bool) -> None:
    """Eight workers, a corrupt copy and an absent node."""
    data = os.urandom(70 * MIB)
    with cluster.connect(executor=ThreadExecutor(8)) as dfs:
        digest = stored(dfs, data)
        cluster.spoil(best_node(cluster, digest), digest, 12_345)
        cluster.fail(GetChunk, ConnectFailedError("gone"), times=6)
        target = tmp_path / "target"
        if streamed:
            with target.open("wb") as file:
                dfs.download("/file", file)
        else:
            dfs.download("/file", target)
    assert target.read_bytes() == data


def test_a_full_output_ends_a_streamed_download(cluster: FakeCluster, tmp_path: Path) -> None:
    """Buffers come back, so that the next download works."""
    with cluster.connect(executor=ThreadExecutor(4)) as dfs:
        data = os.urandom(90 * MIB)
        stored(dfs, data)
        with pytest.raises(DfsError), open("/dev/full", "wb", buffering=0) as full:
            dfs.download("/file", full)  # type: ignore[arg-type]
        dfs.download("/file", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == data
        assert dfs._parts().buffers._lent == 0


def test_many_files_come_back_and_a_failed_one_does_not_stop_the_others(cluster: FakeCluster, tmp_path: Path) -> None:
    """Small files side by side, a large one among them, each with its own result in order."""
    with cluster.connect(executor=ThreadExecutor(4)) as dfs:
        contents = {f"/tree/{number:03}": os.urandom(number * 10) for number in range(60)}
        contents["/tree/030"] = os.urandom(17 * MIB)
        for path, data in contents.items():
            dfs.upload(io.BytesIO(data), path)
        entries = list(dfs.list("/tree"))
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "007").write_bytes(b"in the way")
        results = list(dfs.download_many((entry, tmp_path / entry.path[1:]) for entry in entries))
    assert [result.path for result in results] == list(contents)
    assert [result.path for result in results if not result.ok] == ["/tree/007"]
    assert isinstance(results[7].error, AlreadyExistsError)
    for path, data in contents.items():
        if path != "/tree/007":
            assert (tmp_path / path[1:]).read_bytes() == data
