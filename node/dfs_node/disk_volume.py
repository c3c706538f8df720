"""A volume on a disk: one file a chunk, under its digest.

A chunk arrives in a temporary file beside its final place: space reserved, data written as it comes, digest
checked, header written, fdatasync, rename, fsync of the directory. Only then is it acknowledged.
"""

import itertools
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from dfs_node.chunk_file import (
    ChunkChecks,
    ChunkHeader,
    digest_from_name,
    header_bytes_for,
    read_start,
    unreadable,
    verify,
)
from dfs_node.disk import AnyPath, Disk, Space, SystemDisk
from dfs_node.disk_reader import OpenChunkFile
from dfs_node.disk_writers import KnownChunkWriter, NewChunkWriter
from dfs_node.journal import ChunkJournal
from dfs_node.journal_format import Record
from dfs_node.small_chunks import SMALL_BYTES_MAX, SmallChunkWriter, SpaceGauge, require_room
from dfs_node.space_rules import is_full
from dfs_node.volume import ChunkWriter, InventoryItem, StoredChunk, Usage
from dfs_node.volume_directory import (
    DAMAGED_SUFFIX,
    chunk_path,
    clean_chunks,
    filesystem_id,
    make_chunk_directories,
    prefix_path,
    prefix_paths,
    using,
)
from dfs_node.volume_health import FULL, LIMITS, VolumeHealth
from dfs_runtime.clock import Clock, SystemClock
from dfs_runtime.files import TEMPORARY_SUFFIX
from dfs_wire.errors import (
    BusyError,
    ChunkCorruptError,
    NoSpaceError,
    NotFoundError,
    UnavailableError,
    VolumeFailedError,
)
from dfs_wire.messages import Finding, FindingKind, VolumeState

log = logging.getLogger(__name__)


class DiskVolume:
    """The `Volume` of a node. The caller holds the directory (`hold_volume`).

    Safe to share between threads: what happens to a name happens under the lock of its digest's first byte, which
    is also its directory; bodies arrive outside of it, so that nobody waits for another's network.
    """

    def __init__(self, path: Path, disk: Disk | None = None, clock: Clock | None = None) -> None:
        self._path = path
        self._disk = disk or SystemDisk()
        self.health = VolumeHealth(path)
        clock = clock or SystemClock()
        self._gauge = SpaceGauge(self._disk, path, self.health, clock)
        self._temporary_numbers = itertools.count(1)
        self._prefixes = prefix_paths(path)
        self._locks = [threading.Lock() for _ in range(256)]
        self._used_lock = threading.Lock()
        with using(path):
            make_chunk_directories(path)
            self._used_bytes = clean_chunks(path, self._disk)
            self._filesystem_id = filesystem_id(path)
            self.journal = ChunkJournal(path, self._disk, self.health, clock, store_again=self._store_again)
        # A failed volume is written by nobody. What its journal holds waits until a verifying pass has cleared it.
        complete = self.health.reason is None and self.journal.store_what_is_left()
        # A file may have been left between its rename and the directory's fsync: it becomes durable here, so that a
        # later put may trust what it finds under a name.
        with self.health.guard("sync at start", harmless=frozenset()):
            self._disk.sync_filesystem(path)
        if complete:
            self.journal.begin()

    def close(self) -> None:
        """Leave nothing to do for the next start. Nothing may be put any more."""
        try:
            self.journal.flush()
        except (VolumeFailedError, BusyError) as error:
            log.warning("the next start makes the newest chunks durable: %s", error)
        self.journal.close()

    def create(self, digest: bytes, size: int, generation: int, *, for_repair: bool = False) -> ChunkWriter:
        """Reserve the space, unless a good copy of this generation or a newer one is here already."""
        self.health.require_writable()
        if size <= SMALL_BYTES_MAX:
            # Whether it is here is asked when its bytes are, once; where there is no room, that may still save it.
            with suppress(NoSpaceError):
                # What repair stores is read back from the disk: it gets there at once.
                store = partial(self._store_small, in_journal=not for_repair)
                return SmallChunkWriter(self._gauge, digest, size, generation, store=store)
        with self._locks[digest[0]]:
            known = self._good_copy(digest, generation) is not None
        if known:
            return KnownChunkWriter(digest, size, confirm=lambda: self._confirm(digest, generation))
        space = self._gauge.measure()
        require_room(space, space.free_bytes, size + header_bytes_for(size), for_repair=for_repair)
        return NewChunkWriter(
            self._disk, self.health, chunk_path(self._path, digest), digest, size, generation, publish=self._publish
        )

    def open(self, digest: bytes) -> OpenChunkFile:
        """Open the file and check its header."""
        try:
            return self._open_checked(digest)
        except ChunkCorruptError:
            # It may be one that is just being written: then its lock is held until it is whole.
            with self._locks[digest[0]]:
                return self._open_checked(digest)

    def _open_checked(self, digest: bytes, *, from_disk: bool = False) -> OpenChunkFile:
        descriptor = self._open(digest)
        try:
            start = read_start(self._disk, descriptor, digest, from_disk=from_disk)
            return OpenChunkFile(self._disk, descriptor, *start)
        except BaseException:
            os.close(descriptor)
            raise

    def verify(self, digest: bytes) -> Finding:
        """Read the file whole, from the disk; a bad one twice, as for `open`.

        Raises:
            BusyError: the process is out of descriptors or memory: nothing was found out.
        """
        found = self._verify(digest)
        if found.kind is FindingKind.CORRUPT:
            with self._locks[digest[0]]:
                found = self._verify(digest)
        return found

    def _verify(self, digest: bytes) -> Finding:
        try:
            header = verify(chunk_path(self._path, digest), self._disk)
        except FileNotFoundError:
            return Finding(digest, 0, FindingKind.MISSING)
        except ChunkCorruptError as error:
            return Finding(digest, 0, FindingKind.CORRUPT, str(error.details["finding"]))
        return Finding(digest, header.generation, FindingKind.GOOD)

    def delete(self, digest: bytes, generation: int) -> bool:
        """Unlink the file, unless a newer one has its name; one whose header says nothing is set aside."""
        path = chunk_path(self._path, digest)
        aside: Path | None = None
        with self._locks[digest[0]]:
            if self.journal.holds_back(digest):
                self.health.require_writable()
                raise BusyError(f"the volume has no room to put chunk {digest.hex()} in order; make room, try again")
            try:
                with self._open_checked(digest) as chunk:
                    if chunk.generation > generation:
                        return False
            except NotFoundError:
                # It may have lost its name a moment ago, in a delete whose sync failed: that would not be durable.
                self.health.require_writable()
                return False
            except ChunkCorruptError as error:
                # Nobody can read it, and its generation is unknown: it makes room for its name, not for good.
                aside = path.with_name(path.name + DAMAGED_SUFFIX)
                log.warning("a damaged file is set aside as %s: %s", aside, error)
            self.journal.forget(digest)
            with self._directory(path.parent) as directory:
                with self.health.guard("delete"):
                    file_bytes = path.stat().st_size
                    if aside is None:
                        self._disk.unlink(path)
                    else:
                        self._disk.rename(path, aside)
                self._sync_names(directory)
            self._count_used(-file_bytes)
            return True

    def usage(self) -> Usage:
        """Measure the file system; `used_bytes` is counted along."""
        try:
            space = self._disk.space(self._path)
        except OSError as error:
            self.health.fail(f"measure space: {error.strerror}")
            space = Space(0, 0)
        if self.health.reason is not None:
            state = VolumeState.FAILED
        elif is_full(space.capacity_bytes, space.free_bytes):
            state = VolumeState.FULL
        else:
            state = VolumeState.OK
        with self._used_lock:
            used = self._used_bytes
        return Usage(space.capacity_bytes, used, space.free_bytes, self._filesystem_id, state, self.health.verified)

    def registered(self) -> None:
        """Forget that the volume was verified: the next failure needs a pass of its own."""
        self.health.forget_verified()

    def inventory(self, prefix: int) -> Iterator[InventoryItem]:
        """Read the headers of one directory."""
        for digest, _ in self.names(prefix):
            try:
                with self.open(digest) as chunk:
                    stored_at_ms = int(os.fstat(chunk.fileno()).st_mtime * 1000)
                    yield InventoryItem(digest, chunk.size, chunk.generation, stored_at_ms)
            except NotFoundError:
                continue
            except ChunkCorruptError as error:
                yield InventoryItem(digest, 0, 0, 0, str(error.details["finding"]))

    def names(self, prefix: int) -> list[tuple[bytes, int]]:
        """Read one directory, and no file in it."""
        found: list[tuple[bytes, int]] = []
        # Where it cannot be listed, nobody would miss what is in it: that fails the volume.
        with (
            self.health.guard("list a directory", harmless=LIMITS),
            os.scandir(prefix_path(self._path, prefix)) as entries,
        ):
            for entry in entries:
                digest = digest_from_name(entry.name)
                if digest is not None and digest[0] == prefix:
                    with suppress(FileNotFoundError):
                        found.append((digest, entry.stat(follow_symlinks=False).st_size))
        return found

    def _publish(self, temporary: Path, header: ChunkHeader) -> StoredChunk:
        """Give a durable temporary file its name, durably.

        Whoever comes second for the same digest waits here for the first one's directory fsync.
        """
        target = chunk_path(self._path, header.digest)
        with self._locks[header.digest[0]]:
            self.health.require_writable()
            existing = self._good_copy(header.digest, header.generation)
            if existing is not None:
                return existing
            with self._directory(target.parent) as directory:
                with self.health.guard("rename"):
                    replaced_bytes = target.stat().st_size if target.exists() else 0
                    self._rename_over(temporary, target)
                self._sync_names(directory)
            self.health.require_writable()
        self._count_used(header.file_bytes - replaced_bytes)
        return StoredChunk(header.digest, header.length, header.generation)

    @contextmanager
    def _directory(self, path: AnyPath) -> Iterator[int]:
        """Open a directory before a name in it changes: to be out of descriptors then is no failure of the disk.

        Raises:
            BusyError: the process is out of descriptors or memory.
        """
        with self.health.guard("open a directory", harmless=LIMITS):
            directory = self._disk.open_directory(path)
        try:
            yield directory
        finally:
            os.close(directory)

    def _sync_names(self, directory: int) -> None:
        """Names have changed, visibly and not durably: whatever goes wrong now, no later request may trust them."""
        with self.health.guard("fsync of a directory", harmless=frozenset()):
            self._disk.fsync_directory(directory)

    def _rename_over(self, temporary: AnyPath, target: AnyPath) -> None:
        """Give the file its name. A directory that has it is no failure of the disk: it is set aside."""
        try:
            self._disk.rename(temporary, target)
        except IsADirectoryError:
            aside = f"{os.fspath(target)}.{secrets.token_hex(6)}{DAMAGED_SUFFIX}"
            log.warning("%s is a directory; it is set aside as %s", target, aside)
            self._disk.rename(target, aside)
            self._disk.rename(temporary, target)

    def _store_small(self, header: ChunkHeader, data: bytes, *, in_journal: bool) -> StoredChunk:
        """Store a small chunk in one go, all under the lock of its digest: durable in the journal, then its file; or,
        without it, the file written, synced, named, and its name synced.
        """
        digest = header.digest
        with self._locks[digest[0]]:
            self.health.require_writable()
            kept = self.journal.keep(digest, header.generation, data) if in_journal else None
            if kept is None:
                return self._write_small(header, data, sync=True)
            try:
                if self._create_whole(f"{self._prefixes[digest[0]]}/{digest.hex()}", header.encode() + data):
                    self.health.require_writable()
                    self._count_used(header.file_bytes)
                    return StoredChunk(digest, header.length, header.generation)
                return self._write_small(header, data, sync=False)
            finally:
                self.journal.named(kept)

    def _create_whole(self, target: str, content: bytes) -> bool:
        """A new file under its final name; False where something has it. Who finds it half written waits for the lock
        (`open`), and one that a crash leaves so is written again from the journal.
        """
        with self.health.guard("create a file", harmless=FULL | LIMITS):
            try:
                descriptor = self._disk.create(target)
            except FileExistsError:
                return False
        whole = False
        try:
            with self.health.guard("write"):
                self._disk.pwrite(descriptor, content, 0)
            whole = True
        finally:
            os.close(descriptor)
            if not whole:
                with suppress(OSError):
                    self._disk.unlink(target)
        return True

    def _write_small(self, header: ChunkHeader, data: bytes, *, sync: bool) -> StoredChunk:
        """A file in place of whatever has its name, unless that is a good copy; called under the lock."""
        digest = header.digest
        parent = self._prefixes[digest[0]]
        target = f"{parent}/{digest.hex()}"
        temporary = f"{parent}/.{digest.hex()}.{next(self._temporary_numbers)}{TEMPORARY_SUFFIX}"
        replaced_bytes = 0
        if self._is_there(target):
            existing = self._good_copy(digest, header.generation)
            if existing is not None:
                return existing
            with self.health.guard("look at a bad copy"), suppress(FileNotFoundError):
                replaced_bytes = os.stat(target).st_size  # noqa: PTH116 - text, as all names here
        content = header.encode() + data
        if sync:
            with self._directory(parent) as directory:
                self._name_small(temporary, target, content, sync=True)
                self._sync_names(directory)
        else:
            self._name_small(temporary, target, content, sync=False)
        self.health.require_writable()
        self._count_used(header.file_bytes - replaced_bytes)
        return StoredChunk(digest, header.length, header.generation)

    def _is_there(self, path: str) -> bool:
        """Whether something has this name; what cannot be opened is there."""
        try:
            os.close(self._disk.open(path))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in LIMITS:
                raise BusyError(f"the node is out of descriptors or memory ({error.strerror}); try again") from error
        return True

    def _name_small(self, temporary: str, target: str, content: bytes, *, sync: bool) -> None:
        """A file, durable if wanted, with a name that is not durable yet; whatever fails before leaves nothing."""
        guard = self.health.guard
        with guard("create a file", harmless=FULL | LIMITS):
            descriptor = self._disk.create(temporary)
        named = False
        try:
            with guard("write"):
                self._disk.pwrite(descriptor, content, 0)
            if sync:
                with guard("fsync"):
                    self._disk.fdatasync(descriptor)
            with guard("rename"):
                self._rename_over(temporary, target)
            named = True
        finally:
            os.close(descriptor)
            if not named:
                with suppress(OSError):
                    self._disk.unlink(temporary)

    def _store_again(self, record: Record) -> None:
        """Store a chunk that the journal holds, unless its file is well."""
        checks = ChunkChecks()
        checks.update(memoryview(record.data))
        header = checks.header_for(record.digest, len(record.data), record.generation)
        self._store_small(header, record.data, in_journal=False)

    def _confirm(self, digest: bytes, generation: int) -> StoredChunk:
        """The copy that `create` found good, after the bytes for it arrived once more.

        Raises:
            UnavailableError: it was deleted meanwhile.
        """
        with self._locks[digest[0]]:
            self.health.require_writable()
            try:
                with self._open_checked(digest) as chunk:
                    if chunk.generation >= generation:
                        return StoredChunk(digest, chunk.size, chunk.generation)
            except (NotFoundError, ChunkCorruptError):
                log.info("chunk %s went away while its bytes arrived again", digest.hex())
        raise UnavailableError(f"the stored copy of chunk {digest.hex()} went away; send its bytes again")

    def _good_copy(self, digest: bytes, generation: int) -> StoredChunk | None:
        """The stored chunk, if it was written at `generation` or later and is whole; all of it is read."""
        try:
            with self._open_checked(digest, from_disk=True) as chunk:
                if chunk.generation < generation:
                    return None
                chunk.check()
                return StoredChunk(digest, chunk.size, chunk.generation)
        except NotFoundError:
            return None
        except ChunkCorruptError as error:
            log.warning("a bad copy will be replaced: %s", error)
            return None

    def _open(self, digest: bytes) -> int:
        try:
            return self._disk.open(f"{self._prefixes[digest[0]]}/{digest.hex()}")
        except FileNotFoundError as error:
            raise NotFoundError(f"chunk {digest.hex()} is not on this node; read another copy") from error
        except OSError as error:
            raise unreadable(digest, error) from error

    def _count_used(self, change_bytes: int) -> None:
        with self._used_lock:
            self._used_bytes += change_bytes
