"""The journal of a volume: small chunks that arrive together become durable together.

A chunk file of its own costs two syncs, of the file and of its directory, and each of them a commit of the file
system. Here a chunk is first appended to a file that was written through before: one `fdatasync` changes no metadata,
and counts for everybody who waits. Then the chunk file gets its name, without a sync; it is read, verified and deleted
like any other. Later one sync of the file system makes all of them durable, and the journal is begun anew. What a crash
takes of them until then, the next start writes again from the journal.

There are two halves: while the chunks of one are made durable, the other takes new ones. Where neither has room, a
chunk is stored as large ones are, so nobody waits for the journal, and a volume may have none.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from dfs_node.disk import Disk
from dfs_node.journal_format import (
    RECORD_HEAD_BYTES,
    RECORDS_OFFSET,
    Record,
    decode_header,
    encode_header,
    encode_record,
    lap_of_records,
    records_of,
)
from dfs_node.space_rules import takes_upload
from dfs_node.volume_health import FULL, LIMITS, VolumeHealth
from dfs_runtime.clock import Clock
from dfs_runtime.workers import Periodic
from dfs_wire.errors import BusyError, NoSpaceError, UnavailableError
from dfs_wire.limits import MIB

DIRECTORY = "journal"
HALVES = ("0", "1")
#: A half at the most, and the share of a file system that it may take: on a small one the chunks need the room.
HALF_BYTES_MAX = 16 * MIB
_HALF_SHARE = 128
HALF_BYTES_MIN = MIB
#: Chunks of a half, however small: what a start after a crash may have to look at.
RECORDS_MAX = 8192
#: A volume gets its journal when so many small chunks came; one that keeps large files never needs it.
PUTS_BEFORE = 32
#: The oldest chunk that is durable in the journal only.
AGE_SECONDS_MAX = 30.0
_LOOK_SECONDS = 5.0
#: How long the end waits for puts and syncs that are under way.
_CLOSE_SECONDS = 8.0

log = logging.getLogger(__name__)


class _Half:
    """One of the two files. All but `durable` and `syncing` belong to the journal's lock."""

    def __init__(self, descriptor: int, size_bytes: int, lap: int) -> None:
        self.descriptor = descriptor
        self.size_bytes = size_bytes
        self.syncing = threading.Lock()
        self.begin(lap, 0.0)

    def begin(self, lap: int, now: float) -> None:
        """Empty from now on."""
        self.lap = lap
        self.tail = RECORDS_OFFSET
        self.digests: set[bytes] = set()
        self.oldest_at = now
        #: Records written and records synced, counted from the lap's begin.
        self.written = self.durable = 0
        #: Records whose chunk files have no name yet.
        self.unnamed = 0

    def has_room(self, record_bytes: int) -> bool:
        """Whether another record fits."""
        return self.tail + record_bytes <= self.size_bytes and self.written < RECORDS_MAX


class ChunkJournal:
    """Safe to share between threads. The caller holds the lock of a digest over everything it does with that digest."""

    def __init__(
        self, volume: Path, disk: Disk, health: VolumeHealth, clock: Clock, *, store_again: Callable[[Record], None]
    ) -> None:
        """Open the journal that a volume has; one that cannot be read fails the volume. `store_again` makes a chunk's
        file durable that a crash may have taken.

        Raises:
            OSError: it cannot be opened.
        """
        self._store_again = store_again
        self._volume = volume
        self._path = volume / DIRECTORY
        self._disk = disk
        self._health = health
        self._clock = clock
        self._lock = threading.Lock()
        self._named = threading.Condition(self._lock)
        #: Held while chunks are made durable: one half after the other.
        self._settling = threading.Lock()
        self._puts = 0
        self._lap = 0
        #: The volume's directory, open from before the first chunk file without a sync: it hears of each lost write.
        self._directory: int | None = None
        self._halves: list[_Half] = []
        #: Takes new records; None where both halves are to be settled, or there is no journal.
        self._active: _Half | None = None
        self._wake: Callable[[], None] = lambda: None
        self._closed = False
        #: Its bytes do not come back from the disk.
        self.unreadable = False
        #: What was found at the start, and may have no chunk file. Until `begin` nothing of it is forgotten.
        self._left = self._open()

    def store_what_is_left(self) -> bool:
        """Store anew what a crash took. False where the volume has no room for it: then the journal keeps it, takes
        nothing new, and `step` tries again.

        Raises:
            VolumeFailedError: an I/O error.
        """
        try:
            for record in self._left:
                self._store_again(record)
        except (NoSpaceError, BusyError) as error:
            log.warning("the journal keeps %d chunks until the volume has room for them: %s", len(self._left), error)
            return False
        if self._left:
            log.info("the journal held %d chunks at this start", len(self._left))
        return True

    def begin(self) -> None:
        """All chunks that were left are durable as files: take new ones, unless the volume came to a file system where
        it would not have been given a journal.

        Raises:
            VolumeFailedError: an I/O error.
        """
        for half in self._halves:
            if half.written:
                self._begin_anew(half)
        self._left = []
        if self._halves and not self._disk.reports_lost_writes(self._volume):
            self._close_files()
        elif self._halves:
            self._active = self._halves[0]

    def holds_back(self, digest: bytes) -> bool:
        """Whether the volume still owes a file for this chunk: it cannot be deleted before it has one."""
        return any(record.digest == digest for record in self._left)

    def keep(self, digest: bytes, generation: int, data: bytes) -> _Half | None:
        """Make a chunk durable in the journal; on return it is, and its file may get its name, which `named` must be
        told of in any case. None: the journal cannot take it now, and nothing was done.

        Raises:
            VolumeFailedError: an I/O error.
        """
        with self._lock:
            half = self._half_for(RECORD_HEAD_BYTES + len(data))
            if half is None:
                return None
            record = encode_record(half.lap, digest, generation, data)
            try:
                with self._health.guard("write the journal"):
                    self._disk.pwrite(half.descriptor, record, half.tail)
            except NoSpaceError:  # a file system that writes nothing in place: the next record comes to this place
                return None
            if not half.digests:
                half.oldest_at = self._clock.monotonic()
            half.tail += len(record)
            half.written += 1
            half.unnamed += 1
            half.digests.add(digest)
            number = half.written
        try:
            self._sync(half, number)
        except BaseException:
            self.named(half)
            raise
        return half

    def named(self, half: _Half) -> None:
        """A chunk that `keep` took has its name now, or will never have it."""
        with self._lock:
            half.unnamed -= 1
            if half.unnamed == 0:
                self._named.notify_all()

    def forget(self, digest: bytes) -> None:
        """Before a chunk is deleted: it must not come back from the journal.

        Raises:
            VolumeFailedError: an I/O error, now or before: what a failed volume's journal holds stays there.
        """
        for half in self._halves:
            if digest in half.digests:
                self._settle_half(half)

    def flush(self) -> None:
        """Make all chunk files durable; the journal is empty then, unless the volume has no room for what it holds.

        Raises:
            VolumeFailedError: an I/O error, now or before.
        """
        self._health.require_writable()
        for half in self._halves:
            if half.digests and not self._left:
                self._settle_half(half)

    def step(self) -> None:
        """What is due: make the journal, settle a half that is full or old, store what was left."""
        if self._health.reason is not None:
            return
        if self._left:
            if self.store_what_is_left() and self._directory is not None:
                with self._health.guard("sync chunk files", harmless=frozenset()):
                    self._disk.sync_filesystem(self._directory)
                self.begin()
            return
        if not self._halves:
            if self._puts >= PUTS_BEFORE:
                self.make()
            return
        for half in self._halves:
            old = self._clock.monotonic() - half.oldest_at >= AGE_SECONDS_MAX
            if half.digests and (old or half is not self._active):
                self._settle_half(half)

    def thread(self) -> Periodic:
        """Not started yet; `flush` when it has ended."""
        thread = Periodic("journal", _LOOK_SECONDS, self.step)
        self._wake = thread.wake
        return thread

    def close(self) -> None:
        """Close the files; nothing is kept or forgotten from now on. Puts and syncs under way end first; where one
        hangs, its files stay open: the process ends.
        """
        with self._lock:
            self._closed, self._active = True, None
        if self._settling.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._close_files()
            finally:
                self._settling.release()

    def discard(self) -> None:
        """Remove a journal that cannot be read. What it alone held is lost here, and found missing by the inventory.

        Raises:
            OSError: it cannot be removed.
        """
        for name in HALVES:
            with suppress(FileNotFoundError):
                self._disk.unlink(self._path / name)

    def _close_files(self) -> None:
        with self._lock:
            self._active = None
            if not self._named.wait_for(lambda: not any(half.unnamed for half in self._halves), _CLOSE_SECONDS):
                return
            for descriptor in (self._directory, *(half.descriptor for half in self._halves)):
                if descriptor is not None:
                    os.close(descriptor)
            self._halves, self._directory = [], None

    def _half_for(self, record_bytes: int) -> _Half | None:
        """The half that takes this record; called under the lock."""
        half = self._active
        if half is None:
            self._puts += 1
            if self._puts == PUTS_BEFORE:
                self._wake()
            return None
        if not half.has_room(record_bytes):
            half = self._active = self._empty_half()
            self._wake()
        return half

    def _sync(self, half: _Half, number: int) -> None:
        """Wait until record `number` is durable: by the sync of somebody who began after it was written, or by ours."""
        with half.syncing:
            # After a failed sync a second one would report success for bytes that the disk has not.
            self._health.require_writable()
            if half.durable >= number:
                return
            # Each record before this one has been written whole: that happens under the journal's lock.
            written = half.written
            with self._health.guard("fsync of the journal", harmless=frozenset()):
                self._disk.fdatasync(half.descriptor)
            half.durable = written

    def _settle_half(self, half: _Half) -> None:
        """Make the chunk files of a half durable, then begin it anew."""
        with self._settling:
            # Whoever settled while we waited may have failed: a second sync would report success for chunk files that
            # the disk has not.
            self._health.require_writable()
            if self._closed or self._directory is None:
                raise UnavailableError("the node is stopping; try again when it is back")
            with self._lock:
                if not half.written:
                    return  # by whoever settled while we waited; it may take new chunks already
                if self._active is half:
                    self._active = self._empty_half()
                # Those that were kept before now are named soon; new ones go elsewhere.
                self._named.wait_for(lambda: half.unnamed == 0)
            with self._health.guard("sync chunk files", harmless=frozenset()):
                self._disk.sync_filesystem(self._directory)
            self._health.require_writable()
            self._begin_anew(half)
            with self._lock:
                if self._active is None and not self._closed:
                    self._active = half

    def _empty_half(self) -> _Half | None:
        """One that takes new chunks; called under the lock, where the one in use has some."""
        return next((half for half in self._halves if not half.written), None)

    def _begin_anew(self, half: _Half) -> None:
        """Forget what is in a half, durably, before anything is written over it."""
        self._lap += 1
        with self._health.guard("begin the journal anew", harmless=frozenset()):
            self._disk.pwrite(half.descriptor, encode_header(self._lap), 0)
            self._disk.fdatasync(half.descriptor)
        with self._lock:
            half.begin(self._lap, self._clock.monotonic())

    def _open(self) -> list[Record]:
        """Open both halves; what is in them, in the order in which it was stored."""
        found: list[tuple[int, list[Record]]] = []
        halves: list[_Half] = []
        with ExitStack() as opened:
            directory = self._disk.open_directory(self._volume)
            opened.callback(os.close, directory)
            for name in HALVES:
                try:
                    descriptor = self._disk.open_to_write(self._path / name)
                except FileNotFoundError:
                    return []  # none, or one that a crash left half made
                opened.callback(os.close, descriptor)
                size_bytes = os.fstat(descriptor).st_size
                content = memoryview(bytearray(size_bytes))
                try:
                    self._disk.pread_into(descriptor, content, 0)
                except OSError as error:
                    self.unreadable = True
                    self._health.fail(f"read the journal: {error.strerror}")
                    return []
                lap = decode_header(content)
                records = [] if lap is None else list(records_of(content, lap))
                half = _Half(descriptor, size_bytes, lap_of_records(content) if lap is None else lap)
                # A header that does not say its lap is written anew as well.
                half.written = len(records) if lap is not None else 1
                half.digests = {record.digest for record in records}
                halves.append(half)
                found.append((half.lap, records))
            opened.pop_all()
        self._halves, self._directory = halves, directory
        self._lap = max(lap for lap, _ in found)
        return [record for _, records in sorted(found, key=lambda each: each[0]) for record in records]

    def make(self) -> None:
        """Make both halves, written through and durable; where there is too little room, after as many puts again.
        Not on a file system that may lose what it was asked to sync as a whole.
        """
        space = self._disk.space(self._volume)
        size_bytes = min(HALF_BYTES_MAX, space.capacity_bytes // _HALF_SHARE)
        needed_bytes = size_bytes * len(HALVES)
        roomy = size_bytes >= HALF_BYTES_MIN and takes_upload(space.capacity_bytes, space.free_bytes, needed_bytes)
        if not roomy or not self._disk.reports_lost_writes(self._volume):
            self._puts = 0
            return
        made: list[_Half] = []
        with ExitStack() as undo:
            directory = self._disk.open_directory(self._volume)
            undo.callback(os.close, directory)
            self._path.mkdir(mode=0o700, exist_ok=True)
            for lap, name in enumerate(HALVES, start=1):
                path = self._path / name
                with suppress(FileNotFoundError):
                    self._disk.unlink(path)
                with self._health.guard("make the journal", harmless=FULL | LIMITS):
                    descriptor = self._disk.create(path)
                    undo.callback(os.close, descriptor)
                    for at in range(0, size_bytes, MIB):
                        self._disk.pwrite(descriptor, bytes(min(MIB, size_bytes - at)), at)
                    self._disk.pwrite(descriptor, encode_header(lap), 0)
                    self._disk.fdatasync(descriptor)
                made.append(_Half(descriptor, size_bytes, lap))
            inside = self._disk.open_directory(self._path)
            try:
                with self._health.guard("make the journal", harmless=frozenset()):
                    self._disk.fsync_directory(inside)
                    self._disk.fsync_directory(directory)
            finally:
                os.close(inside)
            undo.pop_all()
        log.info("the volume has a journal of twice %d MiB now", size_bytes // MIB)
        with self._lock:
            self._lap = len(made)
            self._halves, self._directory = made, directory
            self._active = made[0]
