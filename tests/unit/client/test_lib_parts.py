"""Cuts, buffers, executors, the master's patience, the tree, and local errors."""

import errno
import io
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fake_cluster import ADMIN_KEY, MASTER, FakeCluster

from dfs_client.api import Dfs
from dfs_client.buffers import BufferPool
from dfs_client.chunking import chunk_bytes_for, cuts, stream_chunk_bytes
from dfs_client.executors import SerialExecutor, ThreadExecutor
from dfs_client.local_files import mapping_os_errors
from dfs_client.master import MasterClient
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import (
    AlreadyExistsError,
    BadCredentialError,
    BusyError,
    ConnectFailedError,
    DfsError,
    NoSpaceError,
    NotAllowedError,
    NotFoundError,
    UsageError,
    WrongKindError,
)
from dfs_wire.limits import (
    CHUNK_BYTES_DEFAULT,
    CHUNK_BYTES_MAX,
    EXTENTS_MAX,
    EXTENTS_SOFT_MAX,
    GIB,
    MIB,
    REQUEST_ID_BYTES,
)
from dfs_wire.messages import DirectorySpec, EntryKind, Hello, List, MakeDirectories, Role, Stat, StatMany
from dfs_wire.pool import ChannelPool


class TestChunking:
    @given(st.integers(0, 1 << 42))
    def test_chunks_are_of_legal_size_and_few(self, size: int) -> None:
        """Any file up to 4 TiB stays within the limits; up to 256 GiB it stays under the soft one."""
        chunk = chunk_bytes_for(size)
        extents = -(-size // chunk)
        assert CHUNK_BYTES_DEFAULT <= chunk <= CHUNK_BYTES_MAX
        assert extents <= EXTENTS_MAX
        assert size > 256 * GIB or extents <= EXTENTS_SOFT_MAX

    def test_chunks_double_only_when_needed(self) -> None:
        """The default holds up to its last byte."""
        limit = CHUNK_BYTES_DEFAULT * EXTENTS_SOFT_MAX
        assert (chunk_bytes_for(limit), chunk_bytes_for(limit + 1)) == (8 * MIB, 16 * MIB)

    @given(st.integers(0, 100 * MIB))
    def test_cuts_cover_the_file_exactly(self, size: int) -> None:
        """In order, without gap or overlap."""
        place = 0
        for offset, length in cuts(size):
            assert offset == place
            assert length > 0
            place += length
        assert place == size

    def test_streams_grow_to_the_largest_chunk(self) -> None:
        """A stream of 120 GiB stays under the soft limit."""
        assert stream_chunk_bytes(0) == CHUNK_BYTES_DEFAULT
        assert stream_chunk_bytes(1 << 20) == CHUNK_BYTES_MAX
        assert sum(map(stream_chunk_bytes, range(EXTENTS_SOFT_MAX))) == 120 * GIB


class TestBufferPool:
    def test_buffers_are_bounded_and_used_again(self) -> None:
        """What does not fit has to wait; a buffer comes back as the same one."""
        pool = BufferPool(10)
        first = pool.take(5)
        second = pool.take(5)
        assert pool.try_take(1) is None
        pool.give(second)
        assert pool.try_take(5) is second
        pool.give(first)

    def test_one_is_always_lent(self) -> None:
        """A chunk that is larger than the bound goes alone."""
        pool = BufferPool(10)
        assert len(pool.take(100)) == 100
        assert pool.try_take(1) is None

    def test_a_waiting_thread_goes_on_when_bytes_come_back(self) -> None:
        """No polling: `give` wakes it."""
        pool = BufferPool(10)
        held = pool.take(10)
        waiter = threading.Thread(target=pool.reserve, args=(10,))
        waiter.start()
        pool.give(held)
        waiter.join(10)
        assert not waiter.is_alive()


class TestExecutors:
    def test_tasks_run_at_the_same_time_and_errors_come_out(self) -> None:
        """Two tasks that wait for each other both end; a failing one raises at its future."""
        executor = ThreadExecutor(2)
        barrier = threading.Barrier(2)
        both = [executor.submit(lambda: barrier.wait(10)) for _ in range(2)]
        assert {future.result(10) for future in both} == {0, 1}
        with pytest.raises(ZeroDivisionError):
            executor.submit(lambda: 1 // 0).result(10)
        executor.close()
        executor.close()
        with pytest.raises(RuntimeError, match="closed"):
            executor.submit(int)

    def test_closing_leaves_no_threads(self) -> None:
        """All workers end."""
        before = threading.active_count()
        executor = ThreadExecutor(4)
        for future in [executor.submit(int) for _ in range(20)]:
            future.result(10)
        executor.close()
        assert threading.active_count() == before

    def test_the_serial_one_is_done_on_return(self) -> None:
        """Nothing runs later, and nothing elsewhere."""
        assert SerialExecutor().submit(threading.get_ident).result(0) == threading.get_ident()


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Dfs:
    """A client in one thread."""
    return cluster.connect()


class TestMaster:
    def test_a_first_connection_gives_up_after_5_seconds(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """The sentence names the address, the exit code is 5."""

        def down(_address: str, _request: object) -> None:
            raise ConnectFailedError("refused")

        cluster.hook = down
        before = cluster.clock.monotonic()
        with pytest.raises(ConnectFailedError, match=MASTER) as caught:
            dfs.exists("/")
        assert 5 <= cluster.clock.monotonic() - before < 6
        assert caught.value.exit_code == 5

    def test_a_busy_master_is_asked_again(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """With pauses, until it has time."""
        cluster.fail(Stat, BusyError("busy"), times=5)
        assert dfs.exists("/")

    def test_answers_are_not_retried(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """An error that says something is passed on at once."""
        cluster.fail(Stat, NotAllowedError("no"))
        with pytest.raises(NotAllowedError):
            dfs.exists("/")
        assert len(cluster.sent(Stat)) == 1

    def test_nodes_never_see_a_key(self, cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
        """At a node the ticket is the credential."""
        (tmp_path / "file").write_bytes(b"x")
        dfs.upload(tmp_path / "file", "/file")
        dfs.download("/file", tmp_path / "back")
        hellos = [hello for address, hello in cluster.dials if address != MASTER]
        assert hellos
        assert all((hello.role, hello.credential) == (Role.TICKET, b"") for hello in hellos)

    def test_status_uses_the_admin_key_and_nothing_else_does(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """Least privilege: the admin key opens its own connection."""
        dfs.exists("/")
        assert dfs.status().reply.copies == 2
        assert [hello.role for _, hello in cluster.dials] == [Role.CLIENT, Role.ADMIN]

    def test_status_without_the_admin_key_says_so(self, cluster: FakeCluster) -> None:
        """Exit code 6, without asking anybody."""
        with pytest.raises(NotAllowedError, match="admin key"):
            cluster.connect(admin_key=None).status()
        with pytest.raises(NotAllowedError, match="admin key"):
            cluster.connect(admin_key=None, key_given=True).status()

    def test_a_key_given_outright_may_be_the_admin_key(self, cluster: FakeCluster) -> None:
        """Then it does what a client key does, and the rest as well; a wrong one is refused."""
        dfs = cluster.connect(key=ADMIN_KEY, admin_key=None, key_given=True)
        assert dfs.exists("/")
        assert dfs.status().nodes
        with pytest.raises(BadCredentialError):
            cluster.connect(key=b"wrong", admin_key=None, key_given=True).exists("/")


class TestTree:
    def test_listing_goes_through_pages(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """By name, each once; a file lists itself."""
        cluster.page_entries = 7
        dfs.make_directories([DirectorySpec(f"/d/{number:03}", 0o755, 0) for number in range(50)])
        assert [entry.path for entry in dfs.list("d")] == [f"/d/{number:03}" for number in range(50)]
        with dfs.open("/d/file", "wb"):
            pass
        assert [entry.path for entry in dfs.list("/d/file/")] == ["/d/file"]

    def test_walk_gives_parents_first(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """A page spans directories; what vanishes behind it is left out, and the walk goes on."""
        for path in ("/a/b/c", "/a/x", "/z"):
            with dfs.open(path, "wb"):
                pass
        assert [entry.path for entry in dfs.walk("/")] == ["/a", "/a/b", "/a/b/c", "/a/x", "/z"]
        assert len(cluster.sent(List)) == 1
        cluster.page_entries = 1
        walk = dfs.walk("/")
        assert next(walk).path == "/a"
        dfs.remove("/a", recursive=True)
        assert [entry.path for entry in walk] == ["/a/b", "/z"], "one page was fetched ahead"

    def test_many_stats_are_few_round_trips(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """Each path has its own answer, in order; what is not there is an error among the others."""
        dfs.upload(io.BytesIO(b"x"), "/d/f")
        found = list(dfs.stat_many(["/d/f", "/none", "d", *["/d/f"] * 1_000]))
        assert found[0] == found[3] == dfs.stat("/d/f").entry
        assert isinstance(found[1], NotFoundError)
        assert found[2] == dfs.stat("/d").entry
        assert (len(found), len(cluster.sent(StatMany))) == (1_003, 2)
        with pytest.raises(UsageError):
            dfs.stat_many(["/a/../b"])
        with pytest.raises(NotFoundError):
            list(dfs.walk("/a"))

    def test_make_directory_follows_pathlib(self, dfs: Dfs) -> None:
        """Parents and existing ones as `Path.mkdir` treats them."""
        with pytest.raises(NotFoundError):
            dfs.make_directory("/a/b")
        dfs.make_directory("/a/b", parents=True)
        with pytest.raises(AlreadyExistsError):
            dfs.make_directory("/a/b")
        dfs.make_directory("/a/b", exist_ok=True)
        with dfs.open("/a/file", "wb"):
            pass
        with pytest.raises(AlreadyExistsError):
            dfs.make_directory("/a/file", exist_ok=True)

    def test_an_existing_directory_is_left_as_it_is(self, cluster: FakeCluster, dfs: Dfs) -> None:
        """`exist_ok` gives it no new time."""
        dfs.make_directories([DirectorySpec("/d", 0o700, 42)])
        dfs.make_directory("/d", exist_ok=True)
        assert dfs.stat("/d").entry.mtime_ns == 42
        assert len(cluster.sent(MakeDirectories)) == 1

    def test_names_are_moved_removed_and_measured(self, dfs: Dfs) -> None:
        """Each verb reaches the master with canonical paths."""
        with dfs.open("dir//file/", "wb") as file:
            file.write(b"12345")
        assert dfs.stat("/dir/file").entry.kind is EntryKind.FILE
        dfs.rename("/dir/file", "/dir/other")
        assert not dfs.exists("/dir/file")
        assert dfs.disk_usage("/dir")[0].size == 5
        dfs.set_policy("/dir", 3)
        assert dfs.stat("/dir/other").copies_wanted == 3
        dfs.remove("/dir/other")
        assert not dfs.exists("/dir/other")
        assert dfs.space().nodes == 3

    @pytest.mark.parametrize("path", ["", "a/../b", "nul\0", "x" * 256, "\udcff"])
    def test_impossible_paths_are_refused_here(self, cluster: FakeCluster, dfs: Dfs, path: str) -> None:
        """Before any connection is made."""
        with pytest.raises(UsageError):
            dfs.exists(path)
        assert cluster.dials == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, NotFoundError),
        (errno.EACCES, NotAllowedError),
        (errno.EEXIST, AlreadyExistsError),
        (errno.EISDIR, WrongKindError),
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EIO, DfsError),
    ],
)
def test_errors_of_the_system_keep_their_kind_and_name_the_file(number: int, kind: type[DfsError]) -> None:
    """Also where the system does not name it."""
    with pytest.raises(kind, match="/the/file"), mapping_os_errors("/the/file"):
        raise OSError(number, "text")


def test_request_ids_of_one_moment_lie_together_and_yet_differ() -> None:
    """The time in front keeps the master's pages few; a clock before 1970 still gives ids."""
    clock = ManualClock()
    pool = ChannelPool(FakeCluster(), lambda _: Hello(role=Role.CLIENT))  # type: ignore[arg-type]
    master = MasterClient(MASTER, pool, clock, random.Random(1))
    same = [master.request_id() for _ in range(200)]
    assert len(set(same)) == 200
    assert {len(each) for each in same} == {REQUEST_ID_BYTES}
    clock.advance(0.002)
    assert master.request_id() > max(same)
    clock = ManualClock(wall_ms=-5)
    assert len(MasterClient(MASTER, pool, clock, random.Random(1)).request_id()) == REQUEST_ID_BYTES


def test_listing_needs_no_hashing() -> None:
    """The import that every command pays leaves out what only transfers need."""
    heavy = ["blake3", "crc32c", "rich", "ssl", "tomli_w", "asyncio"]
    code = f"import sys, dfs_client.api; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_small_files_need_no_threads_and_no_openssl() -> None:
    """What loads for the first small file leaves out what only large ones, resumed ones and servers need."""
    heavy = ["concurrent.futures", "hashlib", "hmac", "secrets", "dataclasses", "dfs_client.journal"]
    ways = "dfs_client.engine, dfs_client.upload, dfs_client.download"
    code = f"import sys, {ways}; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
