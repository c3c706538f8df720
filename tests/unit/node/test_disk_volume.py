"""DiskVolume: what is on the disk at every moment, whatever fails."""

import errno
import os
import threading
from pathlib import Path

import pytest
from tests.support.volumes import (
    CrashError,
    CrashingDisk,
    FaultyDisk,
    SmallDisk,
    VolatileDisk,
    WrappedDisk,
    chunk_of,
    store,
)

from dfs_node.disk import SystemDisk, kinds_of
from dfs_node.disk_volume import DiskVolume
from dfs_node.space_rules import upload_floor
from dfs_node.volume_directory import chunk_path, hold_volume
from dfs_wire.errors import (
    BusyError,
    ChunkCorruptError,
    DfsError,
    NoSpaceError,
    VolumeFailedError,
    VolumeInUseError,
)
from dfs_wire.limits import GIB, MIB
from dfs_wire.messages import FindingKind, VolumeState

DATA, DIGEST = chunk_of(200_000)
#: Long enough for the disk to be started early.
LONG, LONG_DIGEST = chunk_of(1_200_000)


def files_of(volume: Path) -> list[Path]:
    """All files below `chunks`."""
    return [path for path in (volume / "chunks").rglob("*") if path.is_file()]


def test_the_order_of_a_put(tmp_path: Path) -> None:
    """Space first; bytes, fdatasync, name, fsync of the directory; only then the answer."""
    disk = WrappedDisk()
    volume = DiskVolume(tmp_path, disk)
    del disk.calls[:]
    store(volume, DATA)
    wanted = ["create", "reserve", "pwrite", "fdatasync", "rename", "fsync_directory"]
    order = [disk.calls.index(name) for name in wanted]
    assert order == sorted(order)
    assert max(at for at, name in enumerate(disk.calls) if name == "pwrite") < disk.calls.index("fdatasync")
    changing = [name for name in disk.calls if name not in ("open", "pread_into", "forget_cached", "space")]
    assert changing[-2:] == ["fsync_directory", "unlink"] or changing[-1] == "fsync_directory"


def test_the_volume_is_made_with_256_directories(tmp_path: Path) -> None:
    """They exist before the first chunk, so that a put has only one directory to sync."""
    DiskVolume(tmp_path, WrappedDisk())
    names = sorted(path.name for path in (tmp_path / "chunks").iterdir())
    assert names == [f"{number:02x}" for number in range(256)]


def test_space_is_reserved_before_the_body(tmp_path: Path) -> None:
    """When `create` returns, the file has its full length and its blocks."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    with volume.create(DIGEST, MIB, 1):
        (temporary,) = files_of(tmp_path)
        assert temporary.stat().st_size == MIB + 4096
        assert temporary.stat().st_blocks * 512 >= MIB
    assert files_of(tmp_path) == []


def test_a_start_removes_what_a_crash_left(tmp_path: Path) -> None:
    """Temporary files go, chunks and foreign files stay, and used bytes are counted again."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    store(volume, DATA)
    used = volume.usage().used_bytes
    left = chunk_path(tmp_path, DIGEST).with_name(f".{DIGEST.hex()}.abc.tmp")
    left.write_bytes(b"half")
    stranger = chunk_path(tmp_path, DIGEST).with_name("notes.txt")
    stranger.write_bytes(b"mine")
    disk = WrappedDisk()
    again = DiskVolume(tmp_path, disk)
    assert not left.exists()
    assert stranger.exists()
    assert "sync_filesystem" in disk.calls
    assert again.usage().used_bytes == used
    assert again.verify(DIGEST).kind is FindingKind.GOOD
    assert [item.digest for item in again.inventory(DIGEST[0])] == [DIGEST]


def test_a_bad_copy_is_written_anew(tmp_path: Path) -> None:
    """A put of a chunk whose stored copy is bad replaces it, whatever generation that one claims."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    store(volume, DATA, generation=9)
    path = chunk_path(tmp_path, DIGEST)
    bad = bytearray(path.read_bytes())
    bad[-1] ^= 1
    path.write_bytes(bad)
    assert volume.verify(DIGEST).kind is FindingKind.CORRUPT
    assert store(volume, DATA, generation=4).generation == 4
    assert volume.verify(DIGEST).kind is FindingKind.GOOD


def test_a_bad_header_cannot_be_opened_and_is_set_aside_by_a_delete(tmp_path: Path) -> None:
    """Nothing is known of such a file's generation: it is listed as damaged, and kept until the next start."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    store(volume, DATA)
    path = chunk_path(tmp_path, DIGEST)
    path.write_bytes(b"\0" * 5_000)
    with pytest.raises(ChunkCorruptError):
        volume.open(DIGEST)
    (item,) = volume.inventory(DIGEST[0])
    assert item.damage
    assert volume.delete(DIGEST, 1)
    assert volume.verify(DIGEST).kind is FindingKind.MISSING
    assert [item.name for item in files_of(tmp_path)] == [f"{DIGEST.hex()}.damaged"]
    assert list(volume.inventory(DIGEST[0])) == []
    DiskVolume(tmp_path, WrappedDisk())
    assert files_of(tmp_path) == []


def test_crash_at_every_call_of_a_put(tmp_path: Path) -> None:
    """The process dies at the n-th call, n going up until the put ends: afterwards the chunk is whole or absent."""
    nth, acknowledged = 0, False
    while not acknowledged:
        nth += 1
        root = tmp_path / str(nth)
        root.mkdir()
        disk = CrashingDisk()
        volume = DiskVolume(root, disk)
        disk.arm(nth)
        try:
            store(volume, DATA)
            acknowledged = True
        except CrashError:
            pass
        again = DiskVolume(root, WrappedDisk())
        found = again.verify(DIGEST).kind
        assert found is FindingKind.GOOD or (found is FindingKind.MISSING and not acknowledged)
        assert files_of(root) in ([], [chunk_path(root, DIGEST)])
        assert store(again, DATA).generation == 1
    assert nth > 8


@pytest.mark.parametrize("size", [4_000, 200_000], ids=["small", "large"])
@pytest.mark.parametrize("replacing", [False, True], ids=["new", "replacing"])
def test_power_loss_at_every_call_of_a_put(tmp_path: Path, replacing: bool, size: int) -> None:
    """As above, and all that was not fsynced is lost: an acknowledged chunk is there, and an older copy survives."""
    data, digest = chunk_of(size)
    nth, acknowledged = 0, False
    while not acknowledged:
        nth += 1
        root = tmp_path / str(nth)
        root.mkdir()
        if replacing:
            store(DiskVolume(root, WrappedDisk()), data, generation=1)
        volatile = VolatileDisk()
        disk = CrashingDisk(volatile)
        volume = DiskVolume(root, disk)
        disk.arm(nth)
        try:
            store(volume, data, generation=2)
            acknowledged = True
        except CrashError:
            pass
        volatile.lose_power(root)
        found = DiskVolume(root, WrappedDisk()).verify(digest)
        if acknowledged:
            assert (found.kind, found.generation) == (FindingKind.GOOD, 2)
        else:
            assert found.kind is FindingKind.GOOD or (found.kind is FindingKind.MISSING and not replacing)
        assert files_of(root) in ([], [chunk_path(root, digest)])
    assert nth > 6


@pytest.mark.parametrize("forever", [False, True], ids=["once", "forever"])
def test_io_error_at_every_call_of_a_put(tmp_path: Path, forever: bool) -> None:
    """An I/O error at the n-th call: the put is acknowledged and whole, or refused and the volume takes nothing."""
    nth = 0
    while True:
        nth += 1
        root = tmp_path / str(nth)
        root.mkdir()
        disk = FaultyDisk()
        volume = DiskVolume(root, disk)
        disk.arm(nth, errno.EIO, forever=forever)
        try:
            store(volume, LONG, piece=600_000)
        except VolumeFailedError:
            disk.arm(0)
            assert volume.usage().state is VolumeState.FAILED
            with pytest.raises(VolumeFailedError):
                store(volume, LONG)
            # A restart does not clear it.
            assert DiskVolume(root, WrappedDisk()).usage().state is VolumeState.FAILED
        else:
            fired = disk.fired
            disk.arm(0)
            assert fired in (None, "open", "pread_into", "unlink")
            assert volume.verify(LONG_DIGEST).kind is FindingKind.GOOD
            if fired is None:
                assert "start_writing" in disk.calls
                break
    assert nth > 10


def test_full_disk_at_every_call_of_a_put(tmp_path: Path) -> None:
    """A full disk refuses the put and harms nothing; only a directory that cannot be synced fails the volume."""
    nth = 0
    while True:
        nth += 1
        root = tmp_path / str(nth)
        root.mkdir()
        disk = FaultyDisk()
        volume = DiskVolume(root, disk)
        disk.arm(nth, errno.ENOSPC)
        try:
            store(volume, DATA)
        except NoSpaceError:
            assert disk.fired in ("create", "reserve", "pwrite", "fdatasync", "rename")
            assert volume.usage().state is VolumeState.OK
            assert files_of(root) == []
            store(volume, DATA)
        except VolumeFailedError:
            assert disk.fired in ("space", "open_directory", "fsync_directory")
        else:
            if disk.fired is None:
                break


def test_reads_go_on_after_a_failure(tmp_path: Path) -> None:
    """A failed volume takes nothing and still gives what it has."""
    disk = FaultyDisk()
    volume = DiskVolume(tmp_path, disk)
    store(volume, DATA)
    disk.arm(1, errno.EIO, only="fdatasync")
    other, _ = chunk_of(1_000, 5)
    with pytest.raises(VolumeFailedError):
        store(volume, other)
    with pytest.raises(VolumeFailedError):
        store(volume, other)
    with volume.open(DIGEST) as chunk:
        assert chunk.read(0, len(DATA)) == DATA


def test_a_failure_beside_a_put_takes_its_receipt(tmp_path: Path) -> None:
    """1. A put is under way. 2. Another's fsync fails. 3. The first is not acknowledged any more."""
    disk = FaultyDisk()
    volume = DiskVolume(tmp_path, disk)
    with volume.create(DIGEST, len(DATA), 1) as writer:
        writer.write(memoryview(DATA))
        disk.arm(1, errno.EIO, only="fdatasync")
        with pytest.raises(VolumeFailedError):
            store(volume, chunk_of(1_000, 5)[0])
        with pytest.raises(VolumeFailedError):
            writer.commit()


def test_out_of_descriptors_is_busy(tmp_path: Path) -> None:
    """The process ran out of something: the disk is well, and the volume stays in service."""
    disk = FaultyDisk()
    volume = DiskVolume(tmp_path, disk)
    disk.arm(1, errno.EMFILE, only="create")
    with pytest.raises(BusyError):
        store(volume, DATA)
    store(volume, DATA)
    disk.arm(1, errno.EMFILE, only="open")
    with pytest.raises(BusyError):
        volume.open(DIGEST)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("call", ["open", "pread_into"])
def test_out_of_descriptors_is_no_finding(tmp_path: Path, code: int, call: str) -> None:
    """What could not be looked at is not bad: a good copy would count as lost until the next inventory."""
    disk = FaultyDisk()
    volume = DiskVolume(tmp_path, disk)
    store(volume, DATA)
    disk.arm(1, code, only=call)
    with pytest.raises(BusyError):
        volume.verify(DIGEST)
    assert volume.verify(DIGEST).kind is FindingKind.GOOD


@pytest.mark.parametrize("capacity", [GIB, 1_000 * GIB], ids=["small", "large"])
def test_uploads_leave_the_floor_free(tmp_path: Path, capacity: int) -> None:
    """The last 5 % or 10 GiB are not for uploads; below that the volume says that it is full."""
    disk = SmallDisk(capacity, upload_floor(capacity) + len(DATA) + 4096)
    volume = DiskVolume(tmp_path, disk)
    store(volume, DATA)
    disk.free_bytes -= 1
    assert volume.usage().state is VolumeState.OK
    with pytest.raises(NoSpaceError):
        store(volume, chunk_of(len(DATA), 3)[0])
    disk.free_bytes = upload_floor(capacity) - 1
    assert volume.usage().state is VolumeState.FULL
    assert volume.delete(DIGEST, 1)


def test_two_processes_cannot_hold_one_volume(tmp_path: Path) -> None:
    """The second is told so in one sentence; after the first let go, it may."""
    with hold_volume(tmp_path), pytest.raises(VolumeInUseError, match="another process"), hold_volume(tmp_path):
        pass
    with hold_volume(tmp_path):
        pass


def test_a_second_put_waits_for_the_first_ones_directory(tmp_path: Path) -> None:
    """1. A put has renamed its file, and its directory fsync hangs. 2. A second put of the digest sees the file.
    3. It is not acknowledged before that fsync has returned.
    """
    at_fsync, let_go = threading.Event(), threading.Event()

    class HangingDisk(WrappedDisk):
        def fsync_directory(self, directory: int) -> None:
            at_fsync.set()
            assert let_go.wait(10)
            super().fsync_directory(directory)

    volume = DiskVolume(tmp_path, HangingDisk())
    ended: list[str] = []

    def put(name: str) -> None:
        store(volume, DATA)
        ended.append(name)

    threads = [threading.Thread(target=put, args=(name,)) for name in ("first", "second")]
    threads[0].start()
    assert at_fsync.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    assert threads[1].is_alive()
    assert ended == []
    let_go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(ended) == ["first", "second"]


def test_descriptors_do_not_leak(tmp_path: Path) -> None:
    """Puts, known puts, aborted puts, reads and errors give their descriptors back."""
    disk = FaultyDisk()
    volume = DiskVolume(tmp_path, disk)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    store(volume, DATA)
    store(volume, DATA)
    with volume.create(DIGEST, len(DATA), 9) as writer:
        writer.write(memoryview(DATA)[:10])
    volume.open(DIGEST).close()
    volume.verify(DIGEST)
    list(volume.inventory(DIGEST[0]))
    for name in ("reserve", "pwrite", "fdatasync", "rename"):
        disk.arm(1, errno.ENOSPC, only=name)
        with pytest.raises(DfsError):
            store(volume, chunk_of(70_000, 77)[0])
    for name in ("create", "pwrite", "fdatasync", "rename"):
        disk.arm(1, errno.ENOSPC, only=name)
        with pytest.raises(DfsError):
            store(volume, chunk_of(500, 77)[0])
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_the_real_disk_can_sync_its_file_system(tmp_path: Path) -> None:
    """`syncfs` through the C library works, and says so when it cannot."""
    SystemDisk().sync_filesystem(tmp_path)
    with pytest.raises(FileNotFoundError):
        SystemDisk().sync_filesystem(tmp_path / "absent")


@pytest.mark.parametrize("size", [1_000, 3_000_000], ids=["small", "large"])
def test_a_directory_under_a_chunks_name_is_set_aside(tmp_path: Path, size: int) -> None:
    """It is somebody's mistake, not the disk's failure: the copy is made, and the next start leaves the rest alone."""
    volume = DiskVolume(tmp_path)
    data, digest = chunk_of(size)
    path = chunk_path(tmp_path, digest)
    path.mkdir()
    (path / "strange").write_bytes(b"x")
    assert volume.verify(digest).kind is FindingKind.CORRUPT
    store(volume, data)
    assert volume.verify(digest).kind is FindingKind.GOOD
    assert volume.usage().state is VolumeState.OK
    assert DiskVolume(tmp_path).verify(digest).kind is FindingKind.GOOD


def test_a_delete_is_confirmed_only_when_it_is_durable(tmp_path: Path) -> None:
    """The file lost its name, and the sync of the directory failed, even for want of room: ordered again, the delete
    must not be confirmed because nothing is there; after a power loss it could be back.
    """
    for number, code in enumerate((errno.EIO, errno.ENOSPC)):
        disk = FaultyDisk()
        root = tmp_path / str(number)
        root.mkdir()
        volume = DiskVolume(root, disk)
        store(volume, DATA, generation=3)
        disk.arm(1, code, only="fsync_directory")
        for _ in range(2):
            with pytest.raises(VolumeFailedError):
                volume.delete(DIGEST, 3)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_out_of_descriptors_at_a_directory(tmp_path: Path, code: int) -> None:
    """Whoever used them up, the disk is well: the put or the delete is refused, and leaves everything as it was."""
    disk = FaultyDisk()
    volume = DiskVolume(tmp_path, disk)
    for data in (chunk_of(3_000)[0], DATA, LONG):
        disk.arm(1, code, only="open_directory")
        with pytest.raises(BusyError):
            store(volume, data)
        assert files_of(tmp_path) == []
    store(volume, DATA, generation=3)
    disk.arm(1, code, only="open_directory")
    with pytest.raises(BusyError):
        volume.delete(DIGEST, 3)
    assert volume.verify(DIGEST).kind is FindingKind.GOOD
    assert volume.usage().state is VolumeState.OK


@pytest.mark.parametrize("listing", ["names", "inventory"])
def test_a_directory_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    """Out of descriptors it is tried again; an I/O error fails the volume: nobody would miss what is in there."""
    volume = DiskVolume(tmp_path)
    store(volume, DATA)
    codes = [errno.EMFILE, errno.EIO]
    scan = os.scandir

    def failing(path: object) -> object:
        if codes:
            code = codes.pop(0)
            raise OSError(code, os.strerror(code))
        return scan(path)  # type: ignore[call-overload]

    monkeypatch.setattr("os.scandir", failing)
    for error, state in ((BusyError, VolumeState.OK), (VolumeFailedError, VolumeState.FAILED)):
        with pytest.raises(error):
            list(getattr(volume, listing)(DIGEST[0]))
        assert volume.usage().state is state
    assert len(list(getattr(volume, listing)(DIGEST[0]))) == 1


def test_a_header_is_verified_from_the_disk(tmp_path: Path) -> None:
    """A page that the disk has lost may still be right in memory: nothing is read before that is dropped."""
    disk = WrappedDisk()
    volume = DiskVolume(tmp_path, disk)
    store(volume, DATA)
    disk.calls.clear()
    volume.verify(DIGEST)
    assert disk.calls[:3] == ["open", "forget_cached", "pread_into"]
    disk.calls.clear()
    store(volume, DATA)
    assert disk.calls.index("forget_cached") < disk.calls.index("pread_into")


def test_kinds_of_file_systems_on_a_device() -> None:
    """Lines as the kernel writes them: optional fields, mount points of any bytes, and what is none."""
    mounts = (
        b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue\n"
        b"37 35 98:0 / /M\xfcll\\040- rw - btrfs /dev/root rw\n"
        b"38 35 98:1 / /other rw - xfs /dev/other rw\n"
        b"98:0\n"
    )
    assert kinds_of(mounts, "98:0") == {"ext4", "btrfs"}
    assert kinds_of(mounts, "98:1") == {"xfs"}
    assert kinds_of(mounts, "8:1") == set()
