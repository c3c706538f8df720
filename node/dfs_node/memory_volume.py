"""A volume in memory, for tests and for the simulation of a whole cluster in one thread."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dfs_node.chunk_file import ChunkChecks, ChunkHeader, Damage, damaged
from dfs_node.space_rules import is_full, takes_copy, takes_upload
from dfs_node.volume import ChunkWriter, InventoryItem, StoredChunk, Usage
from dfs_runtime.clock import Clock, SystemClock
from dfs_wire.errors import ChunkCorruptError, NoSpaceError, NotFoundError, VolumeFailedError
from dfs_wire.limits import GIB
from dfs_wire.messages import Finding, FindingKind, VolumeState


@dataclass(slots=True)
class _Kept:
    header: ChunkHeader
    data: bytes
    stored_at_ms: int

    def check(self) -> None:
        """Compare data and header.

        Raises:
            ChunkCorruptError: they differ.
        """
        checks = ChunkChecks()
        checks.update(memoryview(self.data))
        if checks.crc_table() != self.header.crc_table or checks.digest() != self.header.digest:
            raise damaged(self.header.digest, Damage.DIGEST)


class MemoryVolume:
    """The `Volume` that a process forgets when it ends. Safe to share between threads."""

    def __init__(self, capacity_bytes: int = GIB, filesystem_id: str = "memory", *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._capacity_bytes = capacity_bytes
        self._filesystem_id = filesystem_id
        self._lock = threading.RLock()
        self._chunks: dict[bytes, _Kept] = {}
        self._used_bytes = 0
        self._reserved_bytes = 0
        self._failed: str | None = None

    def create(self, digest: bytes, size: int, generation: int, *, for_repair: bool = False) -> ChunkWriter:
        """Reserve the space, unless a good copy of this generation or a newer one is here already."""
        with self._lock:
            self._require_writable()
            if self._good_copy(digest, generation) is not None:
                return _MemoryWriter(self, digest, size, generation, reserved_bytes=0)
            takes = takes_copy if for_repair else takes_upload
            if not takes(self._capacity_bytes, self._free_bytes(), size):
                raise NoSpaceError("the volume is full; add a node, or delete something")
            self._reserved_bytes += size
            return _MemoryWriter(self, digest, size, generation, reserved_bytes=size)

    def open(self, digest: bytes) -> "_OpenMemory":
        """Look the chunk up."""
        with self._lock:
            kept = self._chunks.get(digest)
        if kept is None:
            raise NotFoundError(f"chunk {digest.hex()} is not on this node; read another copy")
        return _OpenMemory(kept)

    def verify(self, digest: bytes) -> Finding:
        """Hash the bytes again."""
        with self._lock:
            kept = self._chunks.get(digest)
        if kept is None:
            return Finding(digest, 0, FindingKind.MISSING)
        try:
            kept.check()
        except ChunkCorruptError as error:
            return Finding(digest, 0, FindingKind.CORRUPT, str(error.details["finding"]))
        return Finding(digest, kept.header.generation, FindingKind.GOOD)

    def delete(self, digest: bytes, generation: int) -> bool:
        """Forget the chunk, unless it is newer."""
        with self._lock:
            kept = self._chunks.get(digest)
            if kept is None or kept.header.generation > generation:
                return False
            del self._chunks[digest]
            self._used_bytes -= kept.header.length
            return True

    def usage(self) -> Usage:
        """Against the capacity given at construction."""
        with self._lock:
            free = self._free_bytes()
            used = self._used_bytes
            if self._failed is not None:
                state = VolumeState.FAILED
            else:
                state = VolumeState.FULL if is_full(self._capacity_bytes, free) else VolumeState.OK
        return Usage(self._capacity_bytes, used, free, self._filesystem_id, state)

    def registered(self) -> None:
        """Nothing had to be told."""

    def inventory(self, prefix: int) -> Iterator[InventoryItem]:
        """A snapshot."""
        with self._lock:
            found = [kept for digest, kept in self._chunks.items() if digest[0] == prefix]
        return (
            InventoryItem(each.header.digest, each.header.length, each.header.generation, each.stored_at_ms)
            for each in found
        )

    def names(self, prefix: int) -> list[tuple[bytes, int]]:
        """A snapshot."""
        with self._lock:
            return [(digest, kept.header.length) for digest, kept in self._chunks.items() if digest[0] == prefix]

    # -- what tests and the simulation do to it ----------------------------------------------------------------

    def fail(self, reason: str) -> None:
        """Behave from now on like a disk whose fsync failed."""
        with self._lock:
            self._failed = reason

    def tamper(self, digest: bytes, at: int = 0) -> None:
        """Flip one bit of a stored chunk, as a bad disk would."""
        with self._lock:
            kept = self._chunks[digest]
            data = bytearray(kept.data)
            data[at] ^= 1
            self._chunks[digest] = _Kept(kept.header, bytes(data), kept.stored_at_ms)

    def lose(self, digest: bytes) -> None:
        """Forget a chunk behind everybody's back."""
        with self._lock:
            self._used_bytes -= self._chunks.pop(digest).header.length

    # -- for its writers ---------------------------------------------------------------------------------------

    def keep(self, header: ChunkHeader, data: bytes) -> StoredChunk:
        """Take a whole, checked chunk, unless a good copy that is as new is there."""
        with self._lock:
            self._require_writable()
            existing = self._good_copy(header.digest, header.generation)
            if existing is None:
                if header.digest not in self._chunks:
                    self._used_bytes += header.length
                self._chunks[header.digest] = _Kept(header, data, self._clock.wall_ms())
                existing = StoredChunk(header.digest, header.length, header.generation)
            return existing

    def unreserve(self, reserved_bytes: int) -> None:
        """A writer is done with its reservation."""
        with self._lock:
            self._reserved_bytes -= reserved_bytes

    def _require_writable(self) -> None:
        if self._failed is not None:
            raise VolumeFailedError(f"the volume had an I/O error ({self._failed}); upload to another node")

    def _free_bytes(self) -> int:
        return self._capacity_bytes - self._reserved_bytes - self._used_bytes

    def _good_copy(self, digest: bytes, generation: int) -> StoredChunk | None:
        kept = self._chunks.get(digest)
        if kept is None or kept.header.generation < generation:
            return None
        try:
            kept.check()
        except ChunkCorruptError:
            return None
        return StoredChunk(digest, kept.header.length, kept.header.generation)


class _MemoryWriter:
    """Collects the bytes. Used by one thread."""

    def __init__(self, volume: MemoryVolume, digest: bytes, size: int, generation: int, *, reserved_bytes: int) -> None:
        self._volume = volume
        self._digest = digest
        self._size = size
        self._generation = generation
        self._reserved_bytes = reserved_bytes
        self._data = bytearray()
        self._checks = ChunkChecks()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._volume.unreserve(self._reserved_bytes)
        self._reserved_bytes = 0

    def write(self, view: memoryview) -> None:
        self._checks.update(view)
        self._data += view

    def flush(self) -> None:
        """There is no disk."""

    def commit(self) -> StoredChunk:
        header = self._checks.header_for(self._digest, self._size, self._generation)
        return self._volume.keep(header, bytes(self._data))


class _OpenMemory:
    """An open chunk: what was kept when it was opened. Used by one thread."""

    def __init__(self, kept: _Kept) -> None:
        self._kept = kept
        self.size = kept.header.length
        self.generation = kept.header.generation
        self.file_offset = 0

    def block_crcs(self, first: int, count: int) -> bytes:
        return self._kept.header.block_crcs(first, count)

    def fileno(self) -> int | None:
        return None

    def read(self, offset: int, length: int) -> bytes:
        return self._kept.data[offset : offset + length]

    def close(self) -> None:
        pass
