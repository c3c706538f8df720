"""Uploads against the fake cluster: every way in which a node, the master or the source can fail."""

import io
import os
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.fake_cluster import CLUSTER_ID, MASTER, FakeCluster

from dfs_client.api import Dfs, ProgressEvent
from dfs_client.executors import ThreadExecutor
from dfs_client.sending import SEND_TRIES_MAX
from dfs_client.source import LocalSource
from dfs_wire.errors import (
    AlreadyExistsError,
    BusyError,
    ChunksMissingError,
    ConnectFailedError,
    DfsError,
    InternalError,
    NoSpaceError,
    NotFoundError,
    SourceChangedError,
    TimedOutError,
    TooFewNodesError,
    UnavailableError,
    WrongKindError,
)
from dfs_wire.limits import CHUNK_BYTES_DEFAULT, KIB, MIB, RECEIPT_SECONDS
from dfs_wire.messages import Commit, Header, Plan, PutChunk, RenewReceipts


def random_bytes(size: int) -> bytes:
    """Content that no other chunk of the test has."""
    return os.urandom(size)


def file_with(tmp_path: Path, data: bytes, name: str = "source") -> Path:
    """A local file."""
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster, tmp_path: Path) -> Dfs:
    """A client in one thread."""
    return cluster.connect(receipts_home=tmp_path / "receipts")


SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("streamed", [False, True])
def test_content_and_digest_are_exact_at_every_boundary(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, size: int, streamed: bool
) -> None:
    """What is stored is what was given, under the BLAKE3 of the whole, with as few chunks as possible."""
    data = random_bytes(size)
    done = dfs.upload(io.BytesIO(data) if streamed else file_with(tmp_path, data), "/a/file")
    assert cluster.content("/a/file") == data
    assert (done.size, done.digest, done.bytes_sent) == (size, blake3(data).digest(), size)
    assert len(cluster.versions[done.version].extents) == -(-size // CHUNK_BYTES_DEFAULT)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_empty_file_is_one_commit_and_nothing_else(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, streamed: bool
) -> None:
    """No plan, no node, no journal; and its errors and events are those of any other file."""
    events: list[ProgressEvent] = []
    source = io.BytesIO() if streamed else file_with(tmp_path, b"")
    dfs.upload(source, "/a/file", progress=events.append)
    assert [(address, type(request)) for address, request in cluster.requests] == [(MASTER, Commit)]
    assert [event.kind for event in events] == ["start", "done"]
    assert not (tmp_path / "receipts").exists()
    with pytest.raises(WrongKindError):
        dfs.upload(source, "/a")


def test_each_chunk_goes_to_as_many_nodes_as_wanted_and_once_over_the_first_link(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """The client sends each byte once; the chain makes the other copy."""
    data = random_bytes(20 * MIB)
    dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.put_bytes == len(data)
    assert all(len(nodes) == 2 for nodes in cluster.replicas.values())


def test_time_and_mode_are_kept(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The version has the local file's permission bits and time to the nanosecond."""
    source = file_with(tmp_path, b"x")
    source.chmod(0o640)
    os.utime(source, ns=(1, 1_234_567_890_123_456_789))
    commit = cluster.versions[dfs.upload(source, "file").version]
    assert (commit.path, commit.mode, commit.mtime_ns) == ("/file", 0o640, 1_234_567_890_123_456_789)


def test_equal_chunks_are_sent_once(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A file of zeros is one chunk many times."""
    done = dfs.upload(file_with(tmp_path, bytes(24 * MIB)), "/zeros")
    assert done.bytes_sent == cluster.put_bytes == 8 * MIB
    assert cluster.content("/zeros") == bytes(24 * MIB)


def test_known_chunks_are_not_sent(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A second upload of the same content moves no bytes."""
    source = file_with(tmp_path, random_bytes(9 * MIB))
    dfs.upload(source, "/first")
    sent = cluster.put_bytes
    assert dfs.upload(source, "/second").bytes_sent == 0
    assert cluster.put_bytes == sent


@pytest.mark.parametrize(
    "error", [ConnectFailedError("gone"), TimedOutError("slow"), NoSpaceError("full"), InternalError("?")]
)
def test_a_failed_first_hop_means_another_placement(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, error: DfsError
) -> None:
    """Whatever the first node says, the chunk ends on two others that work."""
    data = random_bytes(100)
    cluster.fail(PutChunk, error, times=100, address="node-2:1")
    dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.content("/file") == data
    assert cluster.replicas[blake3(data).digest()] == {1, 3}


def test_a_dead_node_is_dialled_at_most_twice_for_many_chunks(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The nodes that failed are left out of the next plans."""
    cluster.nodes[2].up = False
    dfs.upload(file_with(tmp_path, random_bytes(64 * MIB)), "/file")
    first_hops = [request for request in cluster.sent(PutChunk) if request.ticket.hops[0].node_id == 2]
    assert len(first_hops) + sum(1 for address, _ in cluster.dials if address == "node-2:1") <= 4


def test_a_failed_second_hop_keeps_the_first_receipt(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The next plan carries the receipt of the first hop, and asks one more node only."""
    data = random_bytes(100)
    second = cluster.nodes[3]
    cluster.fail(PutChunk, NoSpaceError("full"), times=100, address=second.address)
    dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.replicas[blake3(data).digest()] == {1, 2}
    assert [len(request.ticket.hops) for request in cluster.sent(PutChunk)] == [2, 1]


@pytest.mark.parametrize(("error", "seconds"), [(NoSpaceError("full"), 3), (InternalError("?"), 15)])
def test_a_node_is_left_out_until_the_master_knows_better(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, error: DfsError, seconds: float
) -> None:
    """A full one until its next heartbeat; one that broke until its silence would have told."""
    cluster.fail(PutChunk, error, times=1, address="node-2:1")
    dfs.upload(file_with(tmp_path, random_bytes(100)), "/first")
    plans = len(cluster.sent(Plan))
    cluster.clock.sleep(seconds - 0.5)
    dfs.upload(file_with(tmp_path, random_bytes(2 * MIB)), "/second")
    cluster.clock.sleep(1)
    dfs.upload(file_with(tmp_path, random_bytes(3 * MIB)), "/third")
    avoided = [body.exclude_nodes for body in cluster.plan_bodies[plans:]]
    assert avoided == [[2], []]


def test_a_busy_node_is_waited_for(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Busy is no failure: more busy answers than tries are survived, with pauses between them."""
    before = cluster.clock.monotonic()
    cluster.fail(PutChunk, BusyError("busy"), times=3 * SEND_TRIES_MAX)
    data = random_bytes(100)
    dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.content("/file") == data
    assert cluster.clock.monotonic() - before > 5


def test_a_cluster_that_stays_busy_is_an_error(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Waiting is bounded."""
    cluster.fail(PutChunk, BusyError("busy"), times=100_000)
    before = cluster.clock.monotonic()
    with pytest.raises(BusyError):
        dfs.upload(file_with(tmp_path, b"x"), "/file")
    assert 60 <= cluster.clock.monotonic() - before < 70
    assert cluster.files == {}


def test_tries_are_bounded(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Nodes that all fail end the upload with their error, and nothing is visible."""
    cluster.fail(PutChunk, InternalError("broken"), times=100_000)
    with pytest.raises(InternalError):
        dfs.upload(file_with(tmp_path, b"x"), "/file")
    assert len(cluster.sent(PutChunk)) == SEND_TRIES_MAX
    assert cluster.files == {}


def test_too_few_nodes_is_final(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The master waited for nodes already; the client refuses clearly and at once."""
    cluster.copies = 4
    with pytest.raises(TooFewNodesError):
        dfs.upload(file_with(tmp_path, b"x"), "/file")
    assert len(cluster.sent(Plan)) == 1


def test_avoided_nodes_are_used_again_when_there_are_too_few_others(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """With as many nodes as copies, a node that failed once gets another chance."""
    cluster.nodes.pop(3)
    cluster.fail(PutChunk, TimedOutError("slow"), times=2)
    data = random_bytes(10)
    dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.content("/file") == data


def test_a_lost_commit_reply_is_repeated_under_the_same_request_id(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """The repeat finds the outcome of the first: one version, not two."""
    cluster.fail(Commit, ConnectFailedError("lost"), after=True)
    dfs.upload(file_with(tmp_path, b"x"), "/file", clobber=False)
    first, second = cluster.sent(Commit)
    assert first.request_id == second.request_id
    assert len(cluster.versions) == 1


def test_a_master_that_restarts_within_patience_is_not_noticed(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The operation goes on when the master is back after 20 seconds."""
    assert not dfs.exists("/file")
    until = cluster.clock.monotonic() + 20

    def down(address: str, _request: Header) -> None:
        if address == MASTER and cluster.clock.monotonic() < until:
            raise ConnectFailedError("refused")

    cluster.hook = down
    dfs.upload(file_with(tmp_path, b"x"), "/file")
    assert cluster.content("/file") == b"x"


def test_a_master_that_stays_away_ends_the_operation_after_30_seconds(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """Patience is bounded, and the error has exit code 5."""
    assert not dfs.exists("/file")
    cluster.fail(Plan, ConnectFailedError("refused"), times=100_000)
    before = cluster.clock.monotonic()
    with pytest.raises(ConnectFailedError, match="did not come back") as caught:
        dfs.upload(file_with(tmp_path, b"x"), "/file")
    assert 30 <= cluster.clock.monotonic() - before < 35
    assert caught.value.exit_code == 5


def test_nodes_that_do_not_answer_are_told_as_what_they_mean(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The master still believes in nodes that are gone: the error speaks of the upload, not of one address."""
    cluster.fail(PutChunk, ConnectFailedError("refused"), times=100_000)
    with pytest.raises(UnavailableError, match="too few nodes answer to store /file") as caught:
        dfs.upload(file_with(tmp_path, b"x"), "/file")
    assert caught.value.exit_code == 5
    assert not dfs.exists("/file")


def test_a_master_that_stays_unavailable_keeps_its_word(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """It answers, only never well: its own sentence is shown, not that it went away."""
    cluster.fail(Commit, UnavailableError("the disk is out of reach; look at it"), times=100_000)
    with pytest.raises(UnavailableError, match="out of reach"):
        dfs.upload(file_with(tmp_path, b"x"), "/file")


@pytest.mark.parametrize(("size", "missed"), [(20 * MIB, slice(8 * MIB, 16 * MIB)), (4 * KIB, slice(4 * KIB))])
def test_a_chunk_that_the_plan_called_stored_is_sent_when_the_commit_misses_it(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, size: int, missed: slice
) -> None:
    """`Commit` decides: the client reads those chunks again and commits under a new request id."""
    data = random_bytes(size)
    cluster.wrong_hints.add(blake3(data[missed]).digest())
    dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.content("/file") == data
    first, second = cluster.sent(Commit)
    assert first.request_id != second.request_id


def test_a_stream_cannot_be_read_again(cluster: FakeCluster, dfs: Dfs) -> None:
    """Where the bytes are gone, the commit's answer is the error."""
    cluster.wrong_hints.add(blake3(b"gone").digest())
    with pytest.raises(ChunksMissingError):
        dfs.upload(io.BytesIO(b"gone"), "/file")
    assert cluster.files == {}


@pytest.mark.parametrize("size", [20 * MIB, 4 * KIB])
def test_expired_receipts_are_renewed_without_bytes(cluster: FakeCluster, dfs: Dfs, tmp_path: Path, size: int) -> None:
    """An upload that took longer than a receipt lives asks the nodes to sign again."""
    data = random_bytes(size)

    def slow(_address: str, request: Header) -> None:
        if isinstance(request, Commit) and len(cluster.sent(Commit)) == 1:
            cluster.clock.advance(RECEIPT_SECONDS + 1)

    cluster.hook = slow
    dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.content("/file") == data
    assert cluster.sent(RenewReceipts)


def test_renewals_wait_for_a_busy_node(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """One that renews for others is asked again: no byte is sent twice for that."""
    data = b"".join(bytes([number]) * (8 * MIB) for number in range(3))
    asked: list[int] = []

    def slow(_address: str, request: Header) -> None:
        if isinstance(request, Commit) and len(cluster.sent(Commit)) == 1:
            cluster.clock.advance(RECEIPT_SECONDS + 1)
        if isinstance(request, RenewReceipts):
            asked.append(len(cluster.sent(PutChunk)))
            if len(asked) == 1:
                raise BusyError("as many as it can")

    cluster.hook = slow
    dfs.upload(file_with(tmp_path, data), "/file")
    assert len(asked) > 1
    assert asked[0] == len(cluster.sent(PutChunk)), "no chunk was sent again"


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_source_that_changes_is_not_stored(cluster: FakeCluster, dfs: Dfs, tmp_path: Path, change: str) -> None:
    """Nothing is committed of a file that did not stand still."""
    source = file_with(tmp_path, random_bytes(48 * MIB))

    def interfere(_address: str, request: Header) -> None:
        if isinstance(request, Plan) and len(cluster.sent(Plan)) == 1:
            if change == "grow":
                with source.open("ab") as file:
                    file.write(b"more")
            elif change == "shrink":
                os.truncate(source, 40 * MIB)
            else:
                os.utime(source, ns=(1, 1))

    cluster.hook = interfere
    with pytest.raises(SourceChangedError):
        dfs.upload(source, "/file")
    assert cluster.sent(Commit) == []


def test_an_upload_started_again_sends_only_what_is_missing(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The journal's receipts spare what the nodes hold; after the commit the journal is empty."""
    data = random_bytes(40 * MIB)
    source = file_with(tmp_path, data)
    puts = 0

    def die(_address: str, request: Header) -> None:
        nonlocal puts
        if isinstance(request, PutChunk) and request.hop == 0:
            puts += 1
            if puts == 4:
                raise KeyboardInterrupt

    cluster.hook = die
    with pytest.raises(KeyboardInterrupt):
        dfs.upload(source, "/file")
    cluster.hook = None
    assert cluster.put_bytes == 24 * MIB
    journals = tmp_path / "receipts" / CLUSTER_ID
    assert list(journals.iterdir())

    again = cluster.connect(receipts_home=tmp_path / "receipts")
    assert again.upload(source, "/file").bytes_sent == 16 * MIB
    assert cluster.content("/file") == data
    assert list(journals.iterdir()) == []


def test_no_clobber_refuses_before_anything_is_sent(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """An existing target costs no transfer."""
    source = file_with(tmp_path, b"x")
    dfs.upload(source, "/file")
    with pytest.raises(AlreadyExistsError):
        dfs.upload(file_with(tmp_path, b"other", "other"), "/file", clobber=False)
    assert len(cluster.sent(PutChunk)) == 1


def test_no_clobber_is_judged_by_the_commit(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A file that appears between the first look and the commit is not replaced."""

    def race(_address: str, request: Header) -> None:
        if isinstance(request, Commit) and len(cluster.sent(Commit)) == 1:
            cluster.files["/file"] = 99

    cluster.hook = race
    with pytest.raises(AlreadyExistsError):
        dfs.upload(file_with(tmp_path, b"x"), "/file", clobber=False)
    assert cluster.files["/file"] == 99
    assert len(cluster.sent(Commit)) == 1, "a refusal is an answer"


def test_local_trouble_has_the_kind_of_error_that_it_is(dfs: Dfs, tmp_path: Path) -> None:
    """A missing source and a directory are told apart."""
    with pytest.raises(NotFoundError, match="missing"):
        dfs.upload(tmp_path / "missing", "/file")
    with pytest.raises(WrongKindError):
        dfs.upload(tmp_path, "/file")
    with pytest.raises(WrongKindError):
        dfs.upload("/dev/zero", "/file")


def test_short_reads_of_a_stream_are_no_end(cluster: FakeCluster, dfs: Dfs) -> None:
    """A pipe gives what it has; only nothing at all is the end."""

    class Trickle(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = data

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            count = min(len(buffer), 100_003, len(self.rest))
            buffer[:count] = self.rest[:count]
            self.rest = self.rest[count:]
            return count

    data = random_bytes(9 * MIB)
    dfs.upload(Trickle(data), "/file")  # type: ignore[arg-type]
    assert cluster.content("/file") == data


def test_progress_counts_every_byte_once(dfs: Dfs, tmp_path: Path) -> None:
    """Events begin with start, end with done, and never go back."""
    events: list[ProgressEvent] = []
    dfs.upload(file_with(tmp_path, bytes(20 * MIB)), "/file", progress=events.append)
    assert [events[0].kind, events[-1].kind] == ["start", "done"]
    assert events[-1].bytes_done == events[-1].bytes_total == 20 * MIB
    counts = [event.bytes_done for event in events]
    assert counts == sorted(counts)


def test_threads_store_the_same_as_one(cluster: FakeCluster, tmp_path: Path) -> None:
    """With eight workers and faults the content is right, and the workers end with the connection."""
    data = random_bytes(50 * MIB)
    cluster.fail(PutChunk, ConnectFailedError("gone"), times=5)
    cluster.fail(PutChunk, BusyError("busy"), times=5)
    with cluster.connect(executor=ThreadExecutor(8)) as dfs:
        dfs.upload(file_with(tmp_path, data), "/file")
    assert cluster.content("/file") == data


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_small_source_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    """It is read in one go, and looked at before and after."""
    source = file_with(tmp_path, b"x" * 4_096)
    with LocalSource(source) as local:
        if change == "grow":
            source.write_bytes(b"x" * 4_097)
        elif change == "shrink":
            os.truncate(source, 4_095)
        else:
            os.utime(source, ns=(1, 1))
        with pytest.raises(SourceChangedError):
            local.read_whole()
