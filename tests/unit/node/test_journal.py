"""The journal of small chunks: one sync for many, the same promises, and nothing that comes back from it wrongly."""

import errno
import shutil
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
    journal_records,
    store,
)

from dfs_node.disk import Disk
from dfs_node.disk_volume import DiskVolume
from dfs_node.journal import AGE_SECONDS_MAX, DIRECTORY, PUTS_BEFORE
from dfs_node.journal_format import Record
from dfs_node.volume_directory import chunk_path
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import NoSpaceError, VolumeFailedError
from dfs_wire.limits import MIB
from dfs_wire.messages import FindingKind, VolumeState

#: Large enough for halves of 1 MiB, the smallest.
CAPACITY = 128 * MIB
CHUNKS = [chunk_of(3_000 + seed, seed) for seed in range(4)]


def roomy() -> Disk:
    """The machine's disk, said to be small."""
    return SmallDisk(CAPACITY, CAPACITY)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with an empty journal."""
    path = tmp_path_factory.mktemp("template")
    volume = DiskVolume(path, roomy())
    volume.journal.make()
    volume.close()
    return path


def fresh(template: Path, path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(template, path)
    return path


def files_of(volume: Path) -> list[Path]:
    """All files below `chunks`."""
    return [path for path in (volume / "chunks").rglob("*") if path.is_file()]


class TestPuts:
    """What a put does, and in which order."""

    def test_the_order_of_a_put(self, template: Path, tmp_path: Path) -> None:
        """Written and synced in the journal; only then the file gets its name, and no sync of its own."""
        disk = WrappedDisk()
        volume = DiskVolume(fresh(template, tmp_path / "v"), disk)
        data, digest = CHUNKS[0]
        with volume.create(digest, len(data), 7) as writer:
            writer.write(memoryview(data))
            del disk.calls[:]
            assert writer.commit().generation == 7
        assert disk.calls == ["pwrite", "fdatasync", "create", "pwrite"]
        assert volume.verify(digest).kind is FindingKind.GOOD
        assert journal_records(tmp_path / "v") == [Record(digest, 7, data)]

    def test_what_has_the_name_is_kept_or_replaced(self, template: Path, tmp_path: Path) -> None:
        """A good copy of this generation or a newer one stays; an older one and a bad one are written anew."""
        root = fresh(template, tmp_path / "v")
        volume = DiskVolume(root, roomy())
        data, digest = CHUNKS[0]
        assert [store(volume, data, generation=each).generation for each in (5, 4, 6)] == [5, 5, 6]
        chunk_path(root, digest).write_bytes(bytes(chunk_path(root, digest).stat().st_size))
        assert store(volume, data, generation=1).generation == 1
        assert volume.verify(digest).kind is FindingKind.GOOD
        assert volume.usage().used_bytes == sum(path.stat().st_size for path in files_of(root))

    def test_a_file_that_is_being_written_is_not_a_bad_one(self, template: Path, tmp_path: Path) -> None:
        """Whoever opens or verifies it meanwhile waits until it is whole."""
        disk = SlowFile()
        root = fresh(template, tmp_path / "v")
        volume = DiskVolume(root, disk)
        data, digest = CHUNKS[0]
        found: list[object] = []
        readers = [
            threading.Thread(target=lambda: found.append(volume.verify(digest).kind)),
            threading.Thread(target=lambda: found.append(volume.open(digest).size)),
        ]
        putter = threading.Thread(target=store, args=(volume, data))
        disk.hold.clear()
        putter.start()
        assert disk.entered.wait(10)
        assert chunk_path(root, digest).stat().st_size == 0
        for reader in readers:
            reader.start()
            reader.join(0.1)
            assert reader.is_alive()
        disk.hold.set()
        for thread in (putter, *readers):
            thread.join(10)
        assert sorted(map(str, found)) == sorted([str(FindingKind.GOOD), str(len(data))])

    def test_a_full_disk_leaves_no_half_of_a_file(self, template: Path, tmp_path: Path) -> None:
        """The put is refused, what the journal holds is no chunk to anybody, and the volume is well."""
        for name, nth in (("create", 1), ("pwrite", 2)):
            root = fresh(template, tmp_path / name)
            disk = FaultyDisk(roomy())
            volume = DiskVolume(root, disk)
            disk.arm(nth, errno.ENOSPC, only=name)
            with pytest.raises(NoSpaceError):
                store(volume, CHUNKS[0][0])
            assert files_of(root) == []
            assert volume.usage().state is VolumeState.OK
            volume.journal.flush()
            store(volume, CHUNKS[0][0])

    def test_what_repair_stores_is_on_the_disk_itself(self, template: Path, tmp_path: Path) -> None:
        """It is read back from there before it counts."""
        disk = WrappedDisk()
        volume = DiskVolume(fresh(template, tmp_path / "v"), disk)
        data, digest = CHUNKS[0]
        with volume.create(digest, len(data), 1, for_repair=True) as writer:
            writer.write(memoryview(data))
            del disk.calls[:]
            writer.commit()
        assert disk.calls == ["open", "open_directory", "create", "pwrite", "fdatasync", "rename", "fsync_directory"]
        assert journal_records(tmp_path / "v") == []

    def test_one_sync_for_all_that_wait(self, template: Path, tmp_path: Path) -> None:
        """Who comes while a sync is under way shares the next one with everybody else who came."""
        disk = SlowSync()
        volume = DiskVolume(fresh(template, tmp_path / "v"), disk)
        puts = [threading.Thread(target=store, args=(volume, chunk_of(2_000, 100 + n)[0])) for n in range(12)]
        disk.hold.clear()
        for put in puts:
            put.start()
        assert disk.entered.wait(10)
        while disk.calls.count("pwrite") < len(puts):
            threading.Event().wait(0.01)
        disk.hold.set()
        for put in puts:
            put.join(10)
        assert disk.calls.count("fdatasync") == 2
        assert len(journal_records(tmp_path / "v")) == len(puts)

    def test_a_full_journal_is_no_reason_to_wait(self, template: Path, tmp_path: Path) -> None:
        """Where neither half has room, chunks are stored as large ones are, until a half is settled."""
        disk = WrappedDisk()
        volume = DiskVolume(fresh(template, tmp_path / "v"), disk)
        stored = [chunk_of(60_000, seed) for seed in range(40)]
        for data, _ in stored:
            store(volume, data)
        assert disk.calls[-1] == "fsync_directory"
        volume.journal.step()
        store(volume, CHUNKS[0][0])
        assert disk.calls[-4:] == ["pwrite", "fdatasync", "create", "pwrite"]
        for data, digest in stored:
            assert volume.open(digest).read(0, len(data)) == data


class SlowSync(WrappedDisk):
    """`fdatasync` waits for `hold`, and says that it was entered."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Event()

    def before(self, name: str) -> None:
        if name == "fdatasync":
            self.entered.set()
            assert self.hold.wait(10)


class SlowFile(SlowSync):
    """The second `pwrite`, that of the chunk file behind the journal's, waits for `hold`."""

    def before(self, name: str) -> None:
        if name == "pwrite" and self.calls.count("pwrite") == 2:
            super().before("fdatasync")


class TestMaking:
    """When a volume gets a journal."""

    def test_a_volume_that_is_used_for_small_chunks_gets_one(self, tmp_path: Path) -> None:
        """After some puts, at the next step; before, and on a volume of large files, there is none."""
        volume = DiskVolume(tmp_path, roomy())
        for seed in range(PUTS_BEFORE):
            volume.journal.step()
            assert not (tmp_path / DIRECTORY).exists()
            store(volume, chunk_of(100, seed)[0])
        volume.journal.step()
        store(volume, CHUNKS[0][0])
        assert [record.data for record in journal_records(tmp_path)] == [CHUNKS[0][0]]

    def test_a_small_disk_keeps_its_room_for_chunks(self, tmp_path: Path) -> None:
        """No journal below halves of 1 MiB, or where uploads have no room left."""
        for disk in (SmallDisk(CAPACITY // 2, CAPACITY // 2), SmallDisk(CAPACITY, CAPACITY // 20)):
            volume = DiskVolume(tmp_path, disk)
            volume.journal.make()
            assert not (tmp_path / DIRECTORY).exists()

    def test_none_where_a_sync_may_not_reach_the_disk(self, tmp_path: Path) -> None:
        """A file system of another machine, or one that answers for itself, gets none."""
        disk = SmallDisk(CAPACITY, CAPACITY)
        disk.reports_lost_writes = lambda _path: False  # type: ignore[method-assign]
        volume = DiskVolume(tmp_path, disk)
        volume.journal.make()
        assert not (tmp_path / DIRECTORY).exists()

    def test_half_made_is_made_anew(self, tmp_path: Path) -> None:
        """Wherever the making was cut off, the next start works, and makes it in the end."""
        nth, made = 0, False
        while not made:
            nth += 1
            root = tmp_path / str(nth)
            root.mkdir()
            volatile = VolatileDisk(roomy())
            disk = CrashingDisk(volatile)
            volume = DiskVolume(root, disk)
            disk.arm(nth)
            try:
                volume.journal.make()
                made = True
            except CrashError:
                pass
            volatile.lose_power(root)
            again = DiskVolume(root, roomy())
            again.journal.make()
            store(again, CHUNKS[0][0])
            assert [record.data for record in journal_records(root)] == [CHUNKS[0][0]]
        assert nth > 6


class TestCrashes:
    """Power is lost at any call: what was acknowledged is there, what was deleted stays away."""

    def test_at_every_call_of_puts_and_settling(self, template: Path, tmp_path: Path) -> None:
        """Puts, a half that is settled, more puts, a delete: each acknowledged outcome survives."""
        nth, done = 0, False
        while not done:
            nth += 1
            root = fresh(template, tmp_path / str(nth))
            volatile = VolatileDisk(roomy())
            disk = CrashingDisk(volatile)
            volume = DiskVolume(root, disk)
            disk.arm(nth)
            outcomes: dict[bytes, int] = {}
            unsure: set[bytes] = set()
            try:
                for step, (data, digest) in enumerate(CHUNKS):
                    unsure = {digest}
                    outcomes[digest] = store(volume, data, generation=step + 1).generation
                    if step == 1:
                        volume.journal.flush()
                data, digest = CHUNKS[0]
                unsure = {digest}
                outcomes[digest] = store(volume, data, generation=9).generation
                unsure = {CHUNKS[3][1]}
                assert volume.delete(CHUNKS[3][1], 4)
                del outcomes[CHUNKS[3][1]]
                unsure = set()
                done = True
            except CrashError:
                pass
            volatile.lose_power(root)
            again = DiskVolume(root, WrappedDisk())
            for data, digest in CHUNKS:
                found = again.verify(digest)
                if digest in unsure:
                    assert found.kind is not FindingKind.CORRUPT, f"call {nth}"
                elif digest in outcomes:
                    assert (found.kind, found.generation) == (FindingKind.GOOD, outcomes[digest]), f"call {nth}"
                    assert again.open(digest).read(0, len(data)) == data
                else:
                    assert found.kind is FindingKind.MISSING, f"call {nth}"
            assert journal_records(root) == []
        assert nth > 40

    def test_an_io_error_at_every_call_fails_the_volume(self, template: Path, tmp_path: Path) -> None:
        """Nothing is acknowledged that is not stored, and after an error nothing is acknowledged at all."""
        nth = 0
        while True:
            nth += 1
            root = fresh(template, tmp_path / str(nth))
            disk = FaultyDisk(roomy())
            volume = DiskVolume(root, disk)
            disk.arm(nth, errno.EIO)
            acknowledged = []
            try:
                for data, digest in CHUNKS:
                    store(volume, data)
                    acknowledged.append(digest)
                volume.journal.flush()
            except VolumeFailedError:
                assert volume.usage().state is VolumeState.FAILED
                with pytest.raises(VolumeFailedError):
                    store(volume, chunk_of(100, 50)[0])
            if disk.fired is None:
                break
            (root / "failed").unlink(missing_ok=True)
            again = DiskVolume(root, WrappedDisk())
            assert all(again.verify(digest).kind is FindingKind.GOOD for digest in acknowledged)
        assert nth > 20

    def test_a_failed_sync_is_not_tried_again(self, template: Path, tmp_path: Path) -> None:
        """Those who waited for it are refused too: a second sync would report success for lost bytes."""
        disk = FailingSync()
        volume = DiskVolume(fresh(template, tmp_path / "v"), disk)
        outcomes: list[str] = []

        def put(number: int) -> None:
            try:
                store(volume, chunk_of(2_000, number)[0])
                outcomes.append("stored")
            except VolumeFailedError:
                outcomes.append("refused")

        disk.hold.clear()
        puts = [threading.Thread(target=put, args=(number,)) for number in range(6)]
        for each in puts:
            each.start()
        while disk.calls.count("pwrite") < len(puts):
            threading.Event().wait(0.01)
        disk.hold.set()
        for each in puts:
            each.join(10)
        assert outcomes == ["refused"] * len(puts)
        assert disk.calls.count("fdatasync") == 1
        assert files_of(tmp_path / "v") == []


class FailingSync(SlowSync):
    """The first sync of file data fails, all others would report success."""

    def before(self, name: str) -> None:
        super().before(name)
        if name == "fdatasync" and self.calls.count("fdatasync") == 1:
            raise OSError(errno.EIO, "Input/output error")


class TestStarts:
    """What a start finds in the journal."""

    def test_lost_files_come_back_and_others_stay_as_they_are(self, template: Path, tmp_path: Path) -> None:
        """A file that is gone or damaged is written again; one of a newer generation is not touched."""
        root = fresh(template, tmp_path / "v")
        volume = DiskVolume(root, roomy())
        for data, _ in CHUNKS:
            store(volume, data, generation=1)
        paths = [chunk_path(root, digest) for _, digest in CHUNKS]
        paths[0].unlink()
        paths[1].write_bytes(bytes(len(paths[1].read_bytes())))
        paths[2].write_bytes(b"")
        with volume.create(CHUNKS[3][1], len(CHUNKS[3][0]), 5, for_repair=True) as writer:
            writer.write(memoryview(CHUNKS[3][0]))
            writer.commit()
        again = DiskVolume(root, roomy())
        found = {digest: again.verify(digest) for _, digest in CHUNKS}
        assert {finding.kind for finding in found.values()} == {FindingKind.GOOD}
        assert [found[digest].generation for _, digest in CHUNKS] == [1, 1, 1, 5]
        assert again.usage().used_bytes == sum(path.stat().st_size for path in files_of(root))
        assert journal_records(root) == []

    def test_a_deleted_chunk_does_not_come_back(self, template: Path, tmp_path: Path) -> None:
        """Before a file goes that the journal holds, the journal lets go of it."""
        root = fresh(template, tmp_path / "v")
        volume = DiskVolume(root, roomy())
        for data, _ in CHUNKS:
            store(volume, data, generation=1)
        assert volume.delete(CHUNKS[0][1], 1)
        again = DiskVolume(root, roomy())
        assert again.verify(CHUNKS[0][1]).kind is FindingKind.MISSING
        assert all(again.verify(digest).kind is FindingKind.GOOD for _, digest in CHUNKS[1:])

    def test_what_is_old_is_settled(self, template: Path, tmp_path: Path) -> None:
        """After half a minute all files are durable, and then nothing is left in the journal."""
        root, disk, clock = fresh(template, tmp_path / "v"), WrappedDisk(), ManualClock()
        volume = DiskVolume(root, disk, clock)
        for data, _ in CHUNKS:
            store(volume, data)
        volume.journal.step()
        assert len(journal_records(root)) == len(CHUNKS)
        clock.advance(AGE_SECONDS_MAX)
        del disk.calls[:]
        volume.journal.step()
        assert journal_records(root) == []
        assert disk.calls == ["sync_filesystem", "pwrite", "fdatasync"]

    def test_a_clean_stop_leaves_nothing(self, template: Path, tmp_path: Path) -> None:
        """`close` settles; the next start writes nothing."""
        root = fresh(template, tmp_path / "v")
        volume = DiskVolume(root, roomy())
        store(volume, CHUNKS[0][0])
        volume.close()
        disk = WrappedDisk()
        again = DiskVolume(root, disk)
        assert "pwrite" not in disk.calls
        assert again.verify(CHUNKS[0][1]).kind is FindingKind.GOOD

    def test_a_failed_volume_keeps_its_journal(self, template: Path, tmp_path: Path) -> None:
        """It is read and nothing of it is written or forgotten, until a verifying pass has cleared the volume."""
        root = fresh(template, tmp_path / "v")
        volume = DiskVolume(root, roomy())
        for data, _ in CHUNKS[:2]:
            store(volume, data, generation=1)
        chunk_path(root, CHUNKS[0][1]).unlink()
        volume.health.fail("a test")
        failed = DiskVolume(root, roomy())
        assert failed.verify(CHUNKS[0][1]).kind is FindingKind.MISSING
        assert failed.open(CHUNKS[1][1]).size == len(CHUNKS[1][0])
        with pytest.raises(VolumeFailedError):
            failed.delete(CHUNKS[1][1], 1)
        failed.close()
        assert len(journal_records(root)) == 2
        failed.health.clear()
        again = DiskVolume(root, roomy())
        assert again.verify(CHUNKS[0][1]).kind is FindingKind.GOOD
        assert journal_records(root) == []

    def test_a_volume_that_moved_where_none_may_be(self, template: Path, tmp_path: Path) -> None:
        """What its journal holds is stored; from then on chunks go the long way."""
        root = fresh(template, tmp_path / "v")
        store(DiskVolume(root, roomy()), CHUNKS[0][0])
        chunk_path(root, CHUNKS[0][1]).unlink()
        disk = SmallDisk(CAPACITY, CAPACITY)
        disk.reports_lost_writes = lambda _path: False  # type: ignore[method-assign]
        volume = DiskVolume(root, disk)
        assert volume.verify(CHUNKS[0][1]).kind is FindingKind.GOOD
        store(volume, CHUNKS[1][0])
        assert disk.calls[-1] == "fsync_directory"
        assert journal_records(root) == []

    def test_a_damaged_header_is_an_empty_half(self, template: Path, tmp_path: Path) -> None:
        """It can only be one whose chunks were durable, for nothing else overwrites it; it works again at once."""
        root = fresh(template, tmp_path / "v")
        (root / DIRECTORY / "0").write_bytes(b"x" * MIB)
        volume = DiskVolume(root, roomy())
        store(volume, CHUNKS[0][0])
        assert [record.data for record in journal_records(root)] == [CHUNKS[0][0]]
