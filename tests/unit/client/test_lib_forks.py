"""A `Dfs` that was made before a fork: what children may not share with their parent."""

import io
import os
import random
import threading
from pathlib import Path

import pytest
from tests.support.fake_cluster import FakeCluster
from tests.support.forking import Child, in_child

from dfs_client.api import Dfs
from dfs_client.executors import ThreadExecutor
from dfs_client.journal import ReceiptJournal
from dfs_wire.errors import UsageError
from dfs_wire.limits import MIB
from dfs_wire.messages import MakeDirectories, PutChunk, Receipt, TakeTickets
from dfs_wire.transport import connect, listen

CONTENT = random.Random(11).randbytes(20 * MIB)


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies; each process has its own from the fork on."""
    return FakeCluster()


@pytest.fixture
def threaded(cluster: FakeCluster) -> Dfs:
    """A client whose threads run."""
    dfs = cluster.connect(executor=ThreadExecutor(2))
    dfs.upload(io.BytesIO(CONTENT), "/before")
    return dfs


def test_a_child_has_threads_of_its_own(threaded: Dfs) -> None:
    """Uploads and downloads of many chunks end there, and in the parent."""

    def work() -> bool:
        threaded.upload(io.BytesIO(CONTENT[::-1]), "/child")
        found = io.BytesIO()
        threaded.download("/child", found)
        return found.getvalue() == CONTENT[::-1]

    assert in_child(work)
    assert threaded.upload(io.BytesIO(CONTENT[1:]), "/parent").size == len(CONTENT) - 1


def test_locks_that_threads_held_at_the_fork_are_free_in_the_child(cluster: FakeCluster, threaded: Dfs) -> None:
    """All of them: the threads that would release them are not there."""
    engine = threaded._parts()
    holders = [engine.executor, engine.master, engine.sender.ahead, engine.sender._troubles, threaded]
    holders += [cluster, cluster.clock]
    locks = [holder._lock for holder in holders] + [pool._lock for pool in threaded._pools]  # type: ignore[attr-defined]
    locks.append(engine.buffers._changed)
    for lock in locks:
        lock.acquire()

    def work() -> int:
        threaded.upload(io.BytesIO(CONTENT[::-1]), "/child")
        engine.sender._troubles.add(1)
        return len(list(threaded.list("/")))

    child = Child(work)
    for lock in locks:
        lock.release()
    assert child.result() == 2


def test_processes_make_other_ids(cluster: FakeCluster) -> None:
    """A request under the id of another process would be taken for its repeat, and not be done."""
    dfs = cluster.connect()
    dfs.exists("/")

    def work() -> str:
        dfs.make_directory("/d")
        return cluster.sent(MakeDirectories)[-1].request_id.hex()

    children = [in_child(work), in_child(work)]
    assert len({*children, work()}) == 3


def test_tickets_taken_ahead_stay_with_the_parent(cluster: FakeCluster, tmp_path: Path) -> None:
    """A child takes its own, under a secret of its own."""
    dfs = cluster.connect()
    source = tmp_path / "small"

    def store(name: str) -> None:
        source.write_bytes(os.urandom(100))
        dfs.upload(source, f"/{name}")

    def secrets() -> set[str]:
        return {put.secret.hex() for put in cluster.sent(PutChunk)} - {""}

    store("a")
    store("b")
    before = secrets()

    def work() -> tuple[list[str], int]:
        taken = len(cluster.sent(TakeTickets))
        store("c")
        store("d")
        return list(secrets() - before), len(cluster.sent(TakeTickets)) - taken

    theirs, taken = in_child(work)
    assert (len(before), len(theirs), taken) == (1, 1, 1)
    store("e")
    assert secrets() == before


def test_a_writer_is_committed_by_the_parent_alone(cluster: FakeCluster) -> None:
    """In the child it is closed, also by the end of its block."""
    with cluster.connect() as dfs:
        with dfs.open("/file", "wb") as file:
            file.write(b"content")

            def work() -> tuple[str, list[str]]:
                try:
                    file.write(b"more")
                except ValueError as error:
                    told = str(error)
                file.close()
                return told, list(cluster.files)

            assert in_child(work) == ["the file was closed", []]
        assert cluster.content("/file") == b"content"


def test_a_reader_goes_on_in_both(threaded: Dfs) -> None:
    """What was being fetched ahead comes to the parent; the child fetches it itself."""
    with threaded.open("/before") as file:
        first = file.read(9 * MIB)

        def work() -> bool:
            return first + file.read() == CONTENT

        assert in_child(work)
        assert first + file.read() == CONTENT


def test_what_is_under_way_is_refused_in_the_child(cluster: FakeCluster) -> None:
    """Rather than waited for: nobody does it there."""
    executor = ThreadExecutor(1)
    go_on = threading.Event()
    running, queued = executor.submit(go_on.wait), executor.submit(lambda: 1)

    def work() -> list[str]:
        return [type(future.exception(timeout=1)).__name__ for future in (running, queued)]

    assert in_child(work) == [UsageError.__name__] * 2
    go_on.set()
    assert (running.result(), queued.result()) == (True, 1)
    executor.close()


def test_the_journal_of_an_upload_stays_with_the_parent(tmp_path: Path) -> None:
    """A child that ends the upload's objects neither removes the file nor writes to it."""
    journal = ReceiptJournal(tmp_path, 0)
    receipt = Receipt(
        digest=b"d" * 32, size=10, node_id=1, generation=1, stored_at_ms=0, expires_at_ms=10**15, mac=b"m" * 32
    )
    journal.append([receipt])
    journal.committed([receipt.digest])

    def work() -> int:
        journal.append([receipt])
        journal.close()
        return len(list(tmp_path.iterdir()))

    assert in_child(work) == 1
    (own,) = tmp_path.iterdir()
    size = own.stat().st_size
    journal.append([receipt])
    assert own.stat().st_size == 2 * size
    journal.close()


def test_a_connection_is_closed_in_the_child_without_a_word(cluster: FakeCluster) -> None:
    """Its peer goes on with the parent, whatever the child closes."""
    with listen("127.0.0.1:0") as listening:
        transport = connect(f"127.0.0.1:{listening.getsockname()[1]}")
        peer, _ = listening.accept()

        def work() -> bool:
            closed = transport.closed
            transport.close()
            return closed

        with peer:
            assert in_child(work)
            transport.set_deadline(5.0)
            transport.send(b"parent")
            assert peer.recv(100) == b"parent"
            transport.close()
            assert peer.recv(100) == b""
