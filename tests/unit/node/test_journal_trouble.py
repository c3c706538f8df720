"""The journal where threads meet and disks fail: nothing acknowledged is forgotten, and a start always serves."""

import errno
import threading
from pathlib import Path

import pytest
from tests.support.volumes import FaultyDisk, SmallDisk, VolatileDisk, WrappedDisk, chunk_of, journal_records, store

from dfs_node import verify_volume
from dfs_node.disk import Disk
from dfs_node.disk_volume import DiskVolume
from dfs_node.identity import Claim, claim_volume
from dfs_node.journal import DIRECTORY, HALVES
from dfs_node.volume_directory import chunk_path
from dfs_wire.errors import BusyError, DfsError, NoSpaceError, UnavailableError, VolumeFailedError
from dfs_wire.limits import MIB
from dfs_wire.messages import FindingKind, VolumeState

CAPACITY = 128 * MIB
CHUNKS = [chunk_of(3_000 + seed, seed) for seed in range(4)]
SECONDS = 10.0


def roomy() -> Disk:
    """The machine's disk, said to be small."""
    return SmallDisk(CAPACITY, CAPACITY)


def with_journal(root: Path, disk: Disk | None = None) -> DiskVolume:
    """A volume with an empty journal, opened on `disk`."""
    root.mkdir(exist_ok=True)
    volume = DiskVolume(root, roomy())
    volume.journal.make()
    volume.close()
    return DiskVolume(root, disk or roomy())


class HangingDisk(WrappedDisk):
    """Calls named `hangs` wait for `let_go`, where `armed`; then `fails` is raised, once."""

    def __init__(self, hangs: str, fails: OSError | None = None) -> None:
        super().__init__(roomy())
        self._hangs = hangs
        self._fails = fails
        self.armed = False
        self.entered, self.let_go = threading.Event(), threading.Event()

    def before(self, name: str) -> None:
        if self.armed and name == self._hangs:
            self.armed = False
            self.entered.set()
            assert self.let_go.wait(SECONDS)
            if self._fails is not None:
                raise self._fails


def outcome_of(work: object) -> tuple[threading.Thread, list[object]]:
    """Run something on a thread of its own; what it returned or raised is in the list then."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())  # type: ignore[operator]
        except DfsError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_a_failed_sync_is_not_tried_again_by_whoever_waited_for_it(tmp_path: Path) -> None:
    """1. One thread makes chunk files durable. 2. A delete waits for it. 3. The sync fails. 4. The delete must not ask
    the kernel once more, which would say that all is well, and forget what only the journal has.
    """
    disk = HangingDisk("sync_filesystem", OSError(errno.EIO, "Input/output error"))
    root = tmp_path / "v"
    volume = with_journal(root, disk)
    for data, _ in CHUNKS:
        store(volume, data)
    disk.armed = True
    first, flushed = outcome_of(volume.journal.flush)
    assert disk.entered.wait(SECONDS)
    second, deleted = outcome_of(lambda: volume.delete(CHUNKS[0][1], 1))
    second.join(0.2)
    assert second.is_alive()
    disk.let_go.set()
    for thread in (first, second):
        thread.join(SECONDS)
    assert [type(each) for each in (*flushed, *deleted)] == [VolumeFailedError, VolumeFailedError]
    assert len(journal_records(root)) == len(CHUNKS)


class SwitchingLock:
    """A lock; when the thread named `armed` lets go of it for the first time, another has its turn: `meanwhile`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.armed = ""
        self.meanwhile = lambda: None

    def acquire(self, *arguments: object) -> bool:
        return self._lock.acquire(*arguments)  # type: ignore[arg-type]

    def release(self) -> None:
        self._lock.release()
        if self.armed == threading.current_thread().name:
            self.armed = ""
            self.meanwhile()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_a_half_that_was_settled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """1. Two threads want to settle one half. 2. The first does; the half takes new chunks again. 3. The second has
    looked at it, and a put comes before its next step: that put's record must stay, and the half stay usable.
    """

    class HangingVolatileDisk(VolatileDisk):
        armed = False
        entered, let_go = threading.Event(), threading.Event()

        def fdatasync(self, descriptor: int) -> None:
            if self.armed:
                self.armed = False
                self.entered.set()
                assert self.let_go.wait(SECONDS)
            super().fdatasync(descriptor)

    root, disk = tmp_path / "v", HangingVolatileDisk(roomy())
    volume = with_journal(root, disk)
    journal, lock = volume.journal, SwitchingLock()
    journal._lock = lock  # type: ignore[assignment]
    journal._named = threading.Condition(lock)  # type: ignore[arg-type]
    half = journal._halves[0]
    data, digest = CHUNKS[0]
    puts: list[tuple[threading.Thread, list[object]]] = []

    def a_put_comes() -> None:
        disk.armed = True
        puts.append(outcome_of(lambda: store(volume, data, generation=5)))
        assert disk.entered.wait(SECONDS)

    second = threading.Thread(target=lambda: journal._settle_half(half), name="second")
    lock.meanwhile, lock.armed = a_put_comes, "second"
    second.start()
    second.join(SECONDS)
    disk.let_go.set()
    putter, stored = puts[0]
    putter.join(SECONDS)
    assert not isinstance(stored[0], DfsError)
    disk.calls.clear()
    store(volume, CHUNKS[1][0])
    assert "fdatasync" in disk.calls
    disk.lose_power(root)
    again = DiskVolume(root, roomy())
    assert [again.verify(each).kind for each in (digest, CHUNKS[1][1])] == [FindingKind.GOOD] * 2
    third, _ = outcome_of(volume.journal.flush)
    third.join(SECONDS)
    assert not third.is_alive()


def test_a_start_on_a_full_disk_serves_what_there_is(tmp_path: Path) -> None:
    """What the journal holds has no room for its file: reads go on, that chunk cannot be deleted and comes later."""
    root, disk = tmp_path / "v", FaultyDisk(roomy())
    volume = with_journal(root, disk)
    (there, there_digest), (late, late_digest) = CHUNKS[:2]
    store(volume, there)
    volume.journal.flush()
    disk.arm(1, errno.ENOSPC, only="create")
    with pytest.raises(NoSpaceError):
        store(volume, late)
    full = FaultyDisk(roomy())
    full.arm(1, errno.ENOSPC, only="create", forever=True)
    volume = DiskVolume(root, full)  # the process was killed
    assert volume.usage().state is VolumeState.OK
    assert volume.verify(there_digest).kind is FindingKind.GOOD
    with pytest.raises(BusyError):
        volume.delete(late_digest, 1)
    assert volume.delete(there_digest, 1)
    volume.journal.step()
    volume.journal.flush()
    assert [record.digest for record in journal_records(root)] == [late_digest]
    full.arm(0)  # somebody made room
    volume.journal.step()
    assert volume.verify(late_digest).kind is FindingKind.GOOD
    assert journal_records(root) == []
    store(volume, CHUNKS[2][0])
    assert [record.digest for record in journal_records(root)] == [CHUNKS[2][1]]
    assert volume.delete(late_digest, 1)


def test_no_lap_is_used_twice(tmp_path: Path) -> None:
    """A header that a power loss tore: the next lap of that half is later than the one whose records stand there, or a
    chunk that was deleted would come back.
    """
    root = tmp_path / "v"
    volume = with_journal(root)
    store(volume, CHUNKS[0][0])
    volume = DiskVolume(root, roomy())  # killed: the first half is begun anew with the highest lap of all
    data, digest = CHUNKS[1]
    store(volume, data, generation=5)
    half = root / DIRECTORY / HALVES[0]
    before = half.read_bytes()
    volume.journal.forget(digest)  # as a delete begins
    half.write_bytes(half.read_bytes()[:12] + before[12:])
    volume = DiskVolume(root, roomy())
    assert volume.delete(digest, 5)
    assert DiskVolume(root, roomy()).verify(digest).kind is FindingKind.MISSING


def test_a_journal_that_cannot_be_read_fails_the_volume_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads go on. A verifying pass over what there is clears the volume, which then does without the journal."""
    root = tmp_path / "v"
    data, digest = CHUNKS[0]
    root.mkdir()
    claim_volume(root, Claim(may_join=True)).join(cluster_id="c", node_id=1, node_key=b"k" * 32)
    volume = with_journal(root)
    store(volume, data)
    volume.close()

    def unreadable() -> Disk:
        disk = FaultyDisk(roomy())
        disk.arm(1, errno.EIO, only="pread_into")
        return disk

    volume = DiskVolume(root, unreadable())
    assert volume.usage().state is VolumeState.FAILED
    assert volume.verify(digest).kind is FindingKind.GOOD
    with pytest.raises(VolumeFailedError):
        store(volume, CHUNKS[1][0])
    monkeypatch.setattr("dfs_node.disk_volume.SystemDisk", unreadable)
    report = verify_volume.verify_directory(root)
    assert (report.chunks, report.bad, report.cleared) == (1, [], True)
    volume = DiskVolume(root, roomy())
    assert volume.usage().state is VolumeState.OK
    volume.journal.make()
    store(volume, CHUNKS[1][0])
    assert [record.digest for record in journal_records(root)] == [CHUNKS[1][1]]


def test_the_end_waits_for_a_put(tmp_path: Path) -> None:
    """Its files are not closed under it, which would look like a failed disk; what comes later is stored without."""
    root, disk = tmp_path / "v", HangingDisk("fdatasync")
    volume = with_journal(root, disk)
    disk.armed = True
    putter, stored = outcome_of(lambda: store(volume, CHUNKS[0][0]))
    assert disk.entered.wait(SECONDS)
    closer, _ = outcome_of(volume.journal.close)
    closer.join(0.2)
    assert closer.is_alive()
    disk.let_go.set()
    for thread in (putter, closer):
        thread.join(SECONDS)
    assert not isinstance(stored[0], DfsError)
    store(volume, CHUNKS[1][0])
    assert volume.usage().state is VolumeState.OK
    assert {record.digest for record in journal_records(root)} == {CHUNKS[0][1]}


def test_nothing_is_forgotten_after_the_end(tmp_path: Path) -> None:
    """A delete that is left behind by the end of its node is refused: the journal could not be made to forget."""
    root, disk = tmp_path / "v", HangingDisk("sync_filesystem")
    volume = with_journal(root, disk)
    for data, _ in CHUNKS[:2]:
        store(volume, data)
    disk.armed = True
    settler, _ = outcome_of(volume.journal.flush)
    assert disk.entered.wait(SECONDS)
    deleter, deleted = outcome_of(lambda: volume.delete(CHUNKS[0][1], 1))
    deleter.join(0.2)
    assert deleter.is_alive()
    closer, _ = outcome_of(volume.journal.close)
    closer.join(0.2)
    disk.let_go.set()
    for thread in (settler, deleter, closer):
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert isinstance(deleted[0], UnavailableError)
    assert chunk_path(root, CHUNKS[0][1]).exists()
