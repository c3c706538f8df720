"""Nothing is acknowledged before it is durable: file, directory and metadata, as the kernel saw it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.support.faults import FaultCluster
from tests.support.history import Upload
from tests.support.polling import poll_for
from tests.support.traces import RECORD, Call, attached, needs_strace, read_trace

from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.initialise import initialise
from dfs_node.journal import DIRECTORY, PUTS_BEFORE
from dfs_runtime.clock import SystemClock
from dfs_wire.frame import Kind
from dfs_wire.messages import Commit, PutChunk
from dfs_wire.verbs import BY_REQUEST

PUT_REPLY = (Kind.REPLY, BY_REQUEST[PutChunk].number)
COMMIT_REQUEST = (Kind.REQUEST, BY_REQUEST[Commit].number)
COMMIT_REPLY = (Kind.REPLY, BY_REQUEST[Commit].number)
CALLS = "trace=openat,pwrite64,fdatasync,fsync,rename,sendto,recvfrom"

#: One chunk, and one that waits for the node's "go on".
SIZES = [5_000, 3_000_000]


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultCluster, dict[str, list[Call]]]]:
    """Each process's system calls while two files were stored."""
    with FaultCluster(tmp_path_factory.mktemp("order")) as cluster:
        cluster.start()
        with ExitStack() as tracers, cluster.client() as dfs:
            for name, daemon in cluster.daemons.items():
                tracers.enter_context(attached(daemon.pid, "-e", CALLS, output=cluster.root / f"{name}.trace"))
            for size in SIZES:
                upload = Upload(f"order-{size}", f"/{size}", size)
                dfs.upload(upload.stream(), upload.path)
        yield cluster, {name: read_trace(cluster.root / f"{name}.trace") for name in cluster.daemons}


def only(calls: list[Call], name: str, of: str) -> Call:
    """The one call of this name whose arguments hold the text `of`."""
    found = [call for call in calls if call.name == name and of in call.arguments]
    assert len(found) == 1, f"{name} of {of}: {found}"
    return found[0]


def put_reply(calls: list[Call], after: Call) -> Call:
    """The acknowledgement that the thread sent which made a chunk durable."""
    sent = [
        call for call in calls if call.thread == after.thread and call.name == "sendto" and call.began >= after.began
    ]
    return next(call for call in sent if call.frame() == PUT_REPLY)


@needs_strace
@pytest.mark.parametrize("size", SIZES)
def test_a_node_syncs_before_it_acknowledges(traces: tuple[FaultCluster, dict[str, list[Call]]], size: int) -> None:
    """On both nodes: write, fdatasync of the file, rename, fsync of the directory, and only then the receipt."""
    cluster, by_role = traces
    copies = cluster.replica_files(f"/{size}")
    assert len({node for node, _, _ in copies}) == 2
    for node, digest, path in copies:
        calls = [call for call in by_role[node] if call.result != "-1"]
        rename = only(calls, "rename", f'"{path}"')
        temporary = rename.arguments.split('"')[1]
        writes = [call for call in calls if call.name == "pwrite64" and temporary in call.arguments]
        synced = only(calls, "fdatasync", temporary)
        directory = only(calls, "fsync", f"<{path.parent}>")
        order = [
            max(call.ended for call in writes),
            *(synced.began, synced.ended),
            *(rename.began, rename.ended),
            *(directory.began, directory.ended),
            put_reply(calls, rename).began,
        ]
        assert order == sorted(order), f"{digest} on {node}"
        assert (synced.result, directory.result) == ("0", "0")


@needs_strace
def test_a_node_with_a_journal_syncs_that_before_it_acknowledges(tmp_path: Path) -> None:
    """On both nodes: written to the journal, the journal synced, the file made, and only then the receipt."""
    with FaultCluster(tmp_path, nodes=2) as cluster:
        cluster.start()
        with ExitStack() as tracers, cluster.client() as dfs:
            for number in range(2 * PUTS_BEFORE):
                upload = Upload(f"first-{number}", f"/first/{number}", 100)
                dfs.upload(upload.stream(), upload.path)
            for volume in cluster.volumes.values():
                poll_for("the journal", (volume / DIRECTORY / "1").exists, seconds=30)
            upload = Upload("settled", "/settled", 100)
            dfs.upload(upload.stream(), upload.path)
            for name, daemon in cluster.nodes.items():
                tracers.enter_context(attached(daemon.pid, "-e", CALLS, output=tmp_path / f"{name}.trace"))
            upload = Upload("traced", "/traced", 5_000)
            dfs.upload(upload.stream(), upload.path)
        copies = cluster.replica_files("/traced")
        assert len(copies) == 2
        for node, digest, path in copies:
            calls = [call for call in read_trace(tmp_path / f"{node}.trace") if call.result != "-1"]
            journal = f"<{cluster.volumes[node]}/{DIRECTORY}/"
            kept = only(calls, "pwrite64", journal)
            synced = only(calls, "fdatasync", journal)
            made = only(calls, "openat", f'"{path}"')
            order = [kept.ended, synced.began, synced.ended, made.began, made.ended, put_reply(calls, made).began]
            assert order == sorted(order), f"{digest} on {node}"
            assert synced.result == "0"
            assert "O_EXCL" in made.arguments


@needs_strace
def test_the_master_syncs_before_it_acknowledges(traces: tuple[FaultCluster, dict[str, list[Call]]]) -> None:
    """Between a commit's request and its acknowledgement the log is written, and synced behind the last write."""
    cluster, by_role = traces
    calls = by_role["master"]
    log = f"<{cluster.data}/metadata.db-wal>"
    requests = [call for call in calls if call.name == "recvfrom" and call.frame() == COMMIT_REQUEST]
    replies = [call for call in calls if call.name == "sendto" and call.frame() == COMMIT_REPLY]
    assert len(requests) == len(replies) == len(SIZES)
    for request, reply in zip(requests, replies, strict=True):
        during = [
            call
            for call in calls
            if request.ended <= call.began and call.ended <= reply.began and log in call.arguments
        ]
        written = [call.ended for call in during if call.name == "pwrite64"]
        synced = [call.began for call in during if call.name == "fdatasync" and call.result == "0"]
        assert written
        assert synced
        assert max(written) <= max(synced)


@needs_strace
def test_nodes_acknowledge_before_the_master_does(traces: tuple[FaultCluster, dict[str, list[Call]]]) -> None:
    """Both copies are acknowledged by their nodes before the master even hears of the commit."""
    cluster, by_role = traces
    requests = [call for call in by_role["master"] if call.name == "recvfrom" and call.frame() == COMMIT_REQUEST]
    for size, request in zip(SIZES, requests, strict=True):
        for node, _, path in cluster.replica_files(f"/{size}"):
            calls = by_role[node]
            rename = only(calls, "rename", f'"{path}"')
            assert put_reply(calls, rename).began < request.ended


@needs_strace
def test_a_fresh_log_file_is_durable_itself(tmp_path: Path) -> None:
    """A master that makes the database's log file syncs the directory before it serves."""
    with FaultCluster(tmp_path, nodes=1) as cluster:
        cluster.initialise()
        trace = tmp_path / "start.trace"
        cluster.master.start(["strace", "-D", *RECORD, "-o", str(trace), "-e", CALLS])
        cluster.nodes["node-1"].start()
        cluster.await_live()
        cluster.master.stop()
        calls = read_trace(trace)
    log = f'{cluster.data}/metadata.db-wal"'
    made = [call for call in calls if call.name == "openat" and log in call.arguments and "O_CREAT" in call.arguments]
    synced = [call for call in calls if call.name in ("fsync", "fdatasync") and f"<{cluster.data}>" in call.arguments]
    first_reply = next(call for call in calls if call.name == "sendto" and (call.frame() or (0, 0))[0] == Kind.REPLY)
    assert any(made[0].ended <= call.began <= first_reply.began for call in synced)


def test_sqlite_is_told_to_sync(tmp_path: Path) -> None:
    """The committer's connection runs with a write-ahead log and `synchronous=FULL`, foreign keys on."""
    initialise(tmp_path / "master", SystemClock(), copies=2)
    with closing(connect_raw(open_engine(tmp_path / "master" / "metadata.db"))) as connection:
        cursor = connection.cursor()
        found = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
