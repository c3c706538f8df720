"""Many files in groups."""

import os
from pathlib import Path

import pytest
from tests.support.fake_cluster import FakeCluster

from dfs_client import packing
from dfs_client.api import Dfs, ProgressEvent
from dfs_client.executors import ThreadExecutor
from dfs_client.packing import PACK_FILES_MAX, SMALL_BYTES_MAX
from dfs_client.sending import SEND_TRIES_MAX
from dfs_wire.errors import (
    AlreadyExistsError,
    BadTicketError,
    ConnectFailedError,
    NotFoundError,
    SourceChangedError,
    TooFewNodesError,
    UsageError,
    WrongKindError,
)
from dfs_wire.limits import MIB
from dfs_wire.messages import Commit, Header, Plan, PutChunk


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Dfs:
    """A client in one thread."""
    return cluster.connect()


def make_files(tmp_path: Path, count: int, size: int = 100) -> list[tuple[Path, str]]:
    """Local files with their remote names."""
    pairs = []
    for number in range(count):
        path = tmp_path / f"{number:04}"
        path.write_bytes(os.urandom(size))
        pairs.append((path, f"/tree/{number:04}"))
    return pairs


def test_small_files_share_plans_and_commits(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A thousand files take a handful of round trips to the master, and each has its own result in order."""
    pairs = make_files(tmp_path, 4 * PACK_FILES_MAX)
    results = list(dfs.upload_many(pairs))
    assert [(result.source, result.path) for result in results] == pairs
    assert all(result.ok for result in results)
    assert (len(cluster.sent(Plan)), len(cluster.sent(Commit))) == (4, 4)
    assert all(cluster.content(path) == source.read_bytes() for source, path in pairs)


def test_empty_files_need_no_chunk(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """They are committed without a plan."""
    pairs = make_files(tmp_path, 3, size=0)
    assert all(result.ok for result in dfs.upload_many(pairs))
    assert cluster.sent(Plan) == []
    assert cluster.content("/tree/0001") == b""


def test_equal_files_are_sent_once(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Ten copies of one content are one put."""
    pairs = make_files(tmp_path, 10)
    for source, _ in pairs:
        source.write_bytes(b"same")
    results = list(dfs.upload_many(pairs))
    assert sum(result.uploaded.bytes_sent for result in results if result.uploaded) == 4
    assert len(cluster.sent(PutChunk)) == 1


def test_a_failed_file_does_not_stop_the_others(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Each trouble has its own kind of error, all others are stored."""
    pairs = make_files(tmp_path, 20)
    pairs[3] = (tmp_path / "missing", "/tree/missing")
    pairs[5] = (tmp_path, "/tree/directory")
    pairs[7] = (pairs[7][0], "/tree/../up")
    cluster.directories["/tree/0009"] = cluster.directories["/tree"] = _directory()
    errors = {index: result.error for index, result in enumerate(dfs.upload_many(pairs)) if not result.ok}
    kinds = {index: type(error) for index, error in errors.items()}
    assert kinds == {3: NotFoundError, 5: WrongKindError, 7: UsageError, 9: WrongKindError}
    assert len(cluster.files) == 16


def _directory() -> object:
    from dfs_wire.messages import DirectorySpec

    return DirectorySpec("/tree/0009", 0o755, 0)


def test_large_files_go_in_chunks_between_small_ones(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The limit between small and large loses nothing on either side."""
    sizes = [10, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 17 * MIB, 10]
    pairs = make_files(tmp_path, len(sizes))
    for (source, _), size in zip(pairs, sizes, strict=True):
        source.write_bytes(os.urandom(size))
    results = list(dfs.upload_many(pairs))
    assert all(result.ok for result in results)
    assert {result.path for result in results} == {path for _, path in pairs}
    assert all(cluster.content(path) == source.read_bytes() for source, path in pairs)


@pytest.mark.parametrize("change", ["grown", "shrunk", "same size"])
def test_files_that_change_are_refused_alone(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A file that somebody writes to while it is read is an error, its neighbours are stored."""
    pairs = make_files(tmp_path, 3)
    contents = [source.read_bytes() for source, _ in pairs]
    fill = packing._fill
    reads: list[int] = []

    def write_meanwhile(descriptor: int, room: memoryview) -> int:
        reads.append(descriptor)
        if len(reads) == 2:
            pairs[1][0].write_bytes({"grown": b"x" * 101, "shrunk": b"x", "same size": b"x" * 100}[change])
            os.utime(pairs[1][0], ns=(1, 1))
        return fill(descriptor, room)

    monkeypatch.setattr(packing, "_fill", write_meanwhile)
    results = list(dfs.upload_many(pairs))
    assert [type(result.error) for result in results] == [type(None), SourceChangedError, type(None)]
    assert [cluster.content(pairs[index][1]) for index in (0, 2)] == [contents[0], contents[2]]
    assert cluster.put_bytes == 200, "its place in the pack went to the next file"


def test_no_clobber_keeps_existing_files(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Existing targets are errors of their own."""
    pairs = make_files(tmp_path, 3)
    list(dfs.upload_many(pairs[:1]))
    results = list(dfs.upload_many(pairs, clobber=False))
    assert [type(result.error) for result in results] == [AlreadyExistsError, type(None), type(None)]


def test_another_policy_in_the_group_is_met(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The plan follows the first file's directory; where another asks for more, the commit has it mended."""
    cluster.policies["/three"] = 3
    pairs = make_files(tmp_path, 2)
    pairs[1] = (pairs[1][0], "/three/file")
    assert all(result.ok for result in dfs.upload_many(pairs))
    digest = cluster.versions[cluster.files["/three/file"]].extents[0].digest
    assert len(cluster.replicas[digest]) == 3


def test_a_refused_first_path_does_not_spoil_the_group(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A plan that fails for one name is made for each file singly."""
    pairs = make_files(tmp_path, 3)

    def refuse(_address: str, request: Header) -> None:
        if isinstance(request, Plan) and request.path == "/tree/0000":
            raise WrongKindError("a file where a directory is needed")

    cluster.hook = refuse
    assert [result.ok for result in dfs.upload_many(pairs)] == [False, True, True]


def test_receipts_that_spoil_a_commit_are_renewed(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A request that is refused as a whole is mended and sent again."""
    pairs = make_files(tmp_path, 3)
    cluster.fail(Commit, BadTicketError("expired"))
    assert all(result.ok for result in dfs.upload_many(pairs))
    assert all(cluster.content(path) == source.read_bytes() for source, path in pairs)


def test_a_cluster_that_refuses_ends_all_at_once(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Too few nodes is asked once, not once a group; each file still has its result."""
    cluster.copies = 5
    results = list(dfs.upload_many(make_files(tmp_path, 3 * PACK_FILES_MAX)))
    assert len(results) == 3 * PACK_FILES_MAX
    assert {type(result.error) for result in results} == {TooFewNodesError}
    assert len(cluster.sent(Plan)) == 1


def test_a_policy_that_cannot_be_met_fails_its_own_files(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Those of other directories are stored, and each such directory is asked for once, however many files it has."""
    pairs = make_files(tmp_path, 2 * PACK_FILES_MAX)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(2 * MIB))
    cluster.policies["/strict"] = 5
    pairs = [(source, path if number % 2 else f"/strict/{number}") for number, (source, path) in enumerate(pairs)]
    pairs += [(large, "/strict/large"), (large, "/tree/large")]
    results = list(dfs.upload_many(pairs))
    assert {type(result.error) for result in results if result.path.startswith("/strict")} == {TooFewNodesError}
    assert all(result.ok for result in results if result.path.startswith("/tree"))
    assert sum(request.path.startswith("/strict") for request in cluster.sent(Plan)) == 1
    assert len(cluster.files) == PACK_FILES_MAX + 1


def test_a_policy_that_a_mended_pack_cannot_meet_fails_its_own_files(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """Where the commit asks for more copies, the most demanding file does not take the others along."""
    sources = [source for source, _ in make_files(tmp_path, 3)]
    cluster.policies.update({"/one": 1, "/two": 2, "/five": 5})
    results = list(dfs.upload_many(zip(sources, ["/one/a", "/two/b", "/five/c"], strict=True)))
    assert [type(result.error) for result in results] == [type(None), type(None), TooFewNodesError]


def test_nodes_that_go_meanwhile_fail_only_who_needs_them(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A pack that was planned for three copies goes with two, for those who ask for two."""
    sources = [source for source, _ in make_files(tmp_path, 2)]
    cluster.policies["/three"] = 3
    dead = cluster.nodes[3]

    def die(_address: str, request: Header) -> None:
        if isinstance(request, PutChunk):
            dead.up = False

    cluster.hook = die
    ticket = cluster._ticket

    def of_live(chunk: object, holders: set[int], missing: int, excluded: list[int]) -> object:
        return ticket(chunk, holders, missing, [*excluded, *([] if dead.up else [dead.id])])  # type: ignore[arg-type]

    cluster._ticket = of_live  # type: ignore[assignment, method-assign]
    results = list(dfs.upload_many(zip(sources, ["/three/a", "/two/b"], strict=True)))
    assert [type(result.error) for result in results] == [TooFewNodesError, type(None)]


def test_a_caller_may_stop_early(cluster: FakeCluster, tmp_path: Path) -> None:
    """Closing the iterator ends the work and gives all buffers back."""
    with cluster.connect(executor=ThreadExecutor(4)) as dfs:
        results = dfs.upload_many(make_files(tmp_path, 3 * PACK_FILES_MAX))
        assert next(results).ok
        results.close()  # type: ignore[attr-defined]
        assert dfs._parts().buffers._lent == 0


def test_threads_faults_and_many_files(cluster: FakeCluster, tmp_path: Path) -> None:
    """With eight workers and lost connections every file is right."""
    pairs = make_files(tmp_path, 700, size=5_000)
    cluster.fail(PutChunk, ConnectFailedError("gone"), times=SEND_TRIES_MAX - 1)
    cluster.fail(Commit, ConnectFailedError("gone"), after=True)
    events: list[ProgressEvent] = []
    with cluster.connect(executor=ThreadExecutor(8), receipts_home=tmp_path / "receipts") as dfs:
        assert all(result.ok for result in dfs.upload_many(pairs, progress=events.append))
    assert all(cluster.content(path) == source.read_bytes() for source, path in pairs)
    assert sum(event.kind == "done" for event in events) == 700
    assert not any(path.is_file() for path in (tmp_path / "receipts").rglob("*"))
