"""Small chunks on a disk: one write, the same promises; and the room that is kept for them in memory."""

import errno
from pathlib import Path

import pytest
from tests.support.volumes import (
    FaultyDisk,
    SmallDisk,
    WrappedDisk,
    chunk_of,
    store,
)

from dfs_node.disk_volume import DiskVolume
from dfs_node.small_chunks import SMALL_BYTES_MAX, SpaceGauge
from dfs_node.space_rules import upload_floor
from dfs_node.volume_health import VolumeHealth
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import CorruptError, NoSpaceError, VolumeFailedError
from dfs_wire.limits import GIB, MIB
from dfs_wire.messages import FindingKind, VolumeState

DATA, DIGEST = chunk_of(4_000)


def files_of(volume: Path) -> list[Path]:
    """All files below `chunks`."""
    return [path for path in (volume / "chunks").rglob("*") if path.is_file()]


def test_the_order_of_a_small_put(tmp_path: Path) -> None:
    """One write of header and data, fdatasync, name, fsync of the directory; nothing on the disk before."""
    disk = WrappedDisk()
    volume = DiskVolume(tmp_path, disk)
    with volume.create(DIGEST, len(DATA), 1) as writer:
        writer.write(memoryview(DATA))
        assert files_of(tmp_path) == []
        del disk.calls[:]
        writer.commit()
    assert disk.calls == ["open", "open_directory", "create", "pwrite", "fdatasync", "rename", "fsync_directory"]


def test_wrong_bytes_never_reach_the_disk(tmp_path: Path) -> None:
    """A body that is not the chunk makes no file, and its room is free again."""
    disk = WrappedDisk()
    volume = DiskVolume(tmp_path, disk)
    del disk.calls[:]
    with volume.create(DIGEST, len(DATA), 1) as writer:
        writer.write(memoryview(b"x" * len(DATA)))
        with pytest.raises(CorruptError):
            writer.commit()
    assert disk.calls == ["space"]


def test_io_error_at_every_call(tmp_path: Path) -> None:
    """An I/O error at the n-th call: the put is refused and the volume takes nothing, or it is whole."""
    nth = 0
    while True:
        nth += 1
        root = tmp_path / str(nth)
        root.mkdir()
        disk = FaultyDisk()
        volume = DiskVolume(root, disk)
        disk.arm(nth, errno.EIO)
        try:
            store(volume, DATA)
        except VolumeFailedError:
            assert volume.usage().state is VolumeState.FAILED
            with pytest.raises(VolumeFailedError):
                store(volume, chunk_of(100, 3)[0])
        else:
            fired = disk.fired
            disk.arm(0)
            assert volume.verify(DIGEST).kind is FindingKind.GOOD
            if fired is None:
                break
    assert nth > 6


def test_full_disk_at_every_call(tmp_path: Path) -> None:
    """A full disk refuses the put, leaves no file and harms nothing."""
    for name in ("create", "pwrite", "fdatasync", "rename"):
        root = tmp_path / name
        root.mkdir()
        disk = FaultyDisk()
        volume = DiskVolume(root, disk)
        disk.arm(1, errno.ENOSPC, only=name)
        with pytest.raises(NoSpaceError):
            store(volume, DATA)
        assert disk.fired == name
        assert volume.usage().state is VolumeState.OK
        assert files_of(root) == []
        store(volume, DATA)


def test_a_known_chunk_needs_no_room(tmp_path: Path) -> None:
    """What is here already is taken and confirmed on a full disk too."""
    disk, clock = SmallDisk(GIB, GIB), ManualClock()
    volume = DiskVolume(tmp_path, disk, clock)
    store(volume, DATA)
    disk.free_bytes = upload_floor(GIB)
    clock.advance(2.0)
    assert store(volume, DATA).generation == 1
    with pytest.raises(NoSpaceError):
        store(volume, chunk_of(100, 3)[0])


class TestSpaceGauge:
    """What was measured counts for a second, and not near the floor."""

    CAPACITY = 100 * GIB

    def gauge(self, tmp_path: Path, free_bytes: int) -> tuple[SpaceGauge, SmallDisk, ManualClock]:
        """Over a disk with so much room above the floor."""
        disk, clock = SmallDisk(self.CAPACITY, upload_floor(self.CAPACITY) + free_bytes), ManualClock()
        return SpaceGauge(disk, tmp_path, VolumeHealth(tmp_path), clock), disk, clock

    def test_a_measurement_counts_for_a_second(self, tmp_path: Path) -> None:
        """Many small puts, one look at the file system; later another."""
        gauge, disk, clock = self.gauge(tmp_path, GIB)
        for _ in range(50):
            gauge.take(SMALL_BYTES_MAX)
            gauge.give_back(SMALL_BYTES_MAX)
        assert disk.calls == ["space"]
        clock.advance(1.1)
        gauge.take(1)
        assert disk.calls == ["space"] * 2

    def test_near_the_floor_every_put_looks(self, tmp_path: Path) -> None:
        """An old measurement could be wrong by more than what is left."""
        gauge, disk, _ = self.gauge(tmp_path, MIB)
        for _ in range(5):
            gauge.take(1)
        assert disk.calls == ["space"] * 5

    def test_what_is_on_its_way_is_not_given_twice(self, tmp_path: Path) -> None:
        """Room that was kept and is not written yet is missing from each later measurement."""
        gauge, _, _ = self.gauge(tmp_path, 10)
        gauge.take(6)
        with pytest.raises(NoSpaceError):
            gauge.take(6)
        gauge.give_back(6)
        gauge.take(6)

    def test_the_floor_is_left(self, tmp_path: Path) -> None:
        """Not a byte of it goes to an upload."""
        gauge, _, _ = self.gauge(tmp_path, 10)
        with pytest.raises(NoSpaceError):
            gauge.take(11)
