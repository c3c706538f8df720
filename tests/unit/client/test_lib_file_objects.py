"""`Dfs.open`: reading by seek, writing by close."""

import gc
import io
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_cluster import FakeCluster

from dfs_client.api import Dfs
from dfs_client.executors import ThreadExecutor
from dfs_wire.errors import AlreadyExistsError, CorruptError, NotFoundError, UnavailableError, UsageError
from dfs_wire.limits import BLOCK_BYTES, MIB
from dfs_wire.messages import Commit, GetChunk, PutChunk


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Dfs:
    """A client in one thread."""
    return cluster.connect()


SIZE = 8 * MIB + 3 * BLOCK_BYTES + 17
CONTENT = random.Random(5).randbytes(SIZE)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, SIZE + 100)),
        st.tuples(st.just("skip"), st.integers(-100_000, 100_000)),
        st.tuples(st.just("end"), st.integers(-SIZE, 0)),
        st.tuples(st.just("read"), st.integers(0, 300_000)),
        st.tuples(st.just("border"), st.integers(-70_000, 70_000)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, threads=st.booleans())
def test_any_seeks_and_reads_give_what_bytes_give(steps: list[tuple[str, int]], threads: bool) -> None:
    """A reader behaves as `BytesIO` over the same content does, across blocks and chunks."""
    cluster = FakeCluster()
    with cluster.connect(executor=ThreadExecutor(2) if threads else None) as dfs:
        dfs.upload(io.BytesIO(CONTENT), "/file")
        expected = io.BytesIO(CONTENT)
        with dfs.open("/file") as found:
            for step, number in steps:
                for file in (expected, found):
                    _move(file, step, number)
                assert found.tell() == expected.tell()
                if step == "read":
                    assert found.read(number) == expected.read(number)


def _move(file: io.BufferedIOBase, step: str, number: int) -> None:
    if step == "seek":
        file.seek(number)
    elif step == "skip":
        file.seek(max(0, file.tell() + number))
    elif step == "end":
        file.seek(number, io.SEEK_END)
    elif step == "border":
        file.seek(8 * MIB + number)


def test_a_small_read_fetches_little(cluster: FakeCluster, dfs: Dfs) -> None:
    """A jump and 100 bytes cost at most two blocks, not a chunk."""
    dfs.upload(io.BytesIO(CONTENT), "/file")
    with dfs.open("/file") as file:
        file.seek(5 * MIB + 10)
        assert file.read(100) == CONTENT[5 * MIB + 10 : 5 * MIB + 110]
    assert sum(request.length for request in cluster.sent(GetChunk)) <= 2 * BLOCK_BYTES


def test_reading_in_order_takes_few_requests(cluster: FakeCluster, dfs: Dfs) -> None:
    """Read-ahead grows, so that a loop over small pieces is no loop over round trips."""
    dfs.upload(io.BytesIO(CONTENT), "/file")
    with dfs.open("/file") as file:
        assert b"".join(iter(lambda: file.read(10_000), b"")) == CONTENT
    assert len(cluster.sent(GetChunk)) < 12


def test_a_bad_block_is_read_from_another_copy(cluster: FakeCluster, dfs: Dfs) -> None:
    """Ranges are verified by their blocks, and the bad copy is reported."""
    dfs.upload(io.BytesIO(CONTENT), "/file")
    digest = cluster.versions[1].extents[0].digest
    bad = min(cluster.replicas[digest])
    cluster.spoil(bad, digest, 5 * MIB + 50)
    with dfs.open("/file") as file:
        file.seek(5 * MIB)
        assert file.read(100) == CONTENT[5 * MIB : 5 * MIB + 100]
    assert [report.ticket.node_id for report in cluster.reports] == [bad]


def test_bad_copies_only_are_an_error(cluster: FakeCluster, dfs: Dfs) -> None:
    """Wrong bytes never come out of `read`."""
    dfs.upload(io.BytesIO(b"content"), "/file")
    digest = cluster.versions[1].extents[0].digest
    for number in cluster.replicas[digest]:
        cluster.spoil(number, digest)
    with dfs.open("/file") as file, pytest.raises(CorruptError):
        file.read(1)


def test_a_reader_stays_with_its_version(dfs: Dfs) -> None:
    """A file that is replaced while it is read does not mix."""
    dfs.upload(io.BytesIO(CONTENT), "/file")
    with dfs.open("/file") as file:
        head = file.read(10)
        dfs.upload(io.BytesIO(b"newer"), "/file")
        assert head + file.read() == CONTENT


def test_opening_what_is_not_there(dfs: Dfs) -> None:
    """Missing files and unknown modes fail at `open`."""
    with pytest.raises(NotFoundError):
        dfs.open("/none")
    with pytest.raises(UsageError):
        dfs.open("/none", "r+")  # type: ignore[call-overload]


@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1])
def test_what_is_written_is_committed_on_close(cluster: FakeCluster, dfs: Dfs, size: int) -> None:
    """In pieces of odd size, at every chunk boundary."""
    data = os.urandom(size)
    with dfs.open("/file", "wb") as file:
        for start in range(0, size, 777_777):
            file.write(data[start : start + 777_777])
        assert file.tell() == size
        assert cluster.files == {}
    assert cluster.content("/file") == data
    assert file.uploaded is not None
    assert file.uploaded.size == size


def test_an_exception_leaves_nothing(cluster: FakeCluster, dfs: Dfs) -> None:
    """A `with` block that fails commits nothing and gives its buffers back."""
    with pytest.raises(RuntimeError):
        _write_and_fail(dfs)
    assert cluster.files == {}
    assert cluster.sent(Commit) == []
    assert dfs._parts().buffers._lent == 0


def _write_and_fail(dfs: Dfs) -> None:
    with dfs.open("/file", "wb") as file:
        file.write(bytes(9 * MIB))
        raise RuntimeError


def test_a_forgotten_writer_leaves_nothing(cluster: FakeCluster, dfs: Dfs) -> None:
    """An object that is thrown away unclosed does not commit half a file."""
    file = dfs.open("/file", "wb")
    file.write(b"half")
    del file
    gc.collect()
    assert cluster.files == {}
    assert dfs._parts().buffers._lent == 0


def test_a_failed_write_or_close_leaves_nothing(cluster: FakeCluster, dfs: Dfs) -> None:
    """The error comes out once; the writer is closed then."""
    cluster.fail(PutChunk, UnavailableError("gone"), times=1_000)
    file = dfs.open("/file", "wb")
    file.write(b"x")
    with pytest.raises(UnavailableError):
        file.close()
    file.close()
    assert file.closed
    assert cluster.files == {}
    with pytest.raises(ValueError, match="closed"):
        file.write(b"more")


def test_a_writer_obeys_no_clobber(cluster: FakeCluster, dfs: Dfs) -> None:
    """An existing file is refused at `open`."""
    dfs.upload(io.BytesIO(b"x"), "/file")
    with pytest.raises(AlreadyExistsError):
        dfs.open("/file", "wb", clobber=False)


def test_other_writers_work_on_it(cluster: FakeCluster, dfs: Dfs) -> None:
    """Text layers and `shutil` find what they expect of a binary file."""
    with io.TextIOWrapper(dfs.open("/file", "wb"), encoding="utf-8") as text:
        text.write("grüß\n")
    assert cluster.content("/file") == "grüß\n".encode()


def test_a_stale_ticket_in_the_middle_is_renewed(cluster: FakeCluster, dfs: Dfs) -> None:
    """A reader that rests longer than its tickets live goes on."""
    dfs.upload(io.BytesIO(CONTENT), "/file")
    with dfs.open("/file") as file:
        file.read(10)
        cluster.clock.advance(3_000)
        file.seek(7 * MIB)
        assert file.read(10) == CONTENT[7 * MIB : 7 * MIB + 10]


def test_idle_writers_do_not_hold_all_buffers(cluster: FakeCluster, dfs: Dfs) -> None:
    """Twenty writers that wait for their callers leave room for another upload."""
    writers = [dfs.open(f"/writers/{number}", "wb") for number in range(20)]
    for writer in writers:
        writer.write(b"begun")
    dfs.upload(io.BytesIO(CONTENT), "/file")
    for writer in writers:
        writer.close()
    assert len(cluster.files) == 21
