"""Chunks of at most one block: nothing touches the disk before all their bytes are here and are right.

So there is one write, header and data together, and nothing to reserve on the disk: the space is kept in memory for
the moment between the request and its last byte.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from dfs_node.chunk_file import ChunkChecks, ChunkHeader, header_bytes_for
from dfs_node.disk import Disk, Space
from dfs_node.space_rules import takes_copy, takes_upload, upload_floor
from dfs_node.volume import StoredChunk
from dfs_node.volume_health import LIMITS, VolumeHealth
from dfs_runtime.clock import Clock
from dfs_wire.errors import NoSpaceError
from dfs_wire.limits import BLOCK_BYTES, MIB

SMALL_BYTES_MAX = BLOCK_BYTES

#: How long a measurement of the file system counts, in seconds; others may write there too.
_FRESH_SECONDS = 1.0
#: Nearer to the floor than this, nobody trusts an old measurement.
_MARGIN_BYTES = 256 * MIB


class SpaceGauge:
    """The free space as measured a moment ago, less what was given away since. Safe to share between threads."""

    def __init__(self, disk: Disk, path: Path, health: VolumeHealth, clock: Clock) -> None:
        self._disk = disk
        self._path = path
        self._health = health
        self._clock = clock
        self._lock = threading.Lock()
        self._space = Space(0, 0)
        self._measured_at: float | None = None
        self._given_bytes = 0
        #: Of these, what is not on the disk yet, and so is not in the next measurement either.
        self._waiting_bytes = 0

    def measure(self) -> Space:
        """The file system as it is now.

        Raises:
            BusyError, VolumeFailedError: it cannot be measured.
        """
        with self._health.guard("measure space", harmless=LIMITS):
            return self._disk.space(self._path)

    def take(self, file_bytes: int) -> None:
        """Keep room for a file until `give_back`.

        Raises:
            NoSpaceError: too little is free.
            BusyError, VolumeFailedError: it cannot be measured.
        """
        with self._lock:
            if not self._is_fresh() or not self._is_roomy(file_bytes):
                self._space = self.measure()
                self._measured_at = self._clock.monotonic()
                self._given_bytes = self._waiting_bytes
            require_room(self._space, self._space.free_bytes - self._given_bytes, file_bytes)
            self._given_bytes += file_bytes
            self._waiting_bytes += file_bytes

    def give_back(self, file_bytes: int) -> None:
        """The file is on the disk, or will never be."""
        with self._lock:
            self._waiting_bytes -= file_bytes

    def _is_fresh(self) -> bool:
        return self._measured_at is not None and self._clock.monotonic() - self._measured_at < _FRESH_SECONDS

    def _is_roomy(self, file_bytes: int) -> bool:
        left = self._space.free_bytes - self._given_bytes - file_bytes
        return left >= upload_floor(self._space.capacity_bytes) + _MARGIN_BYTES


def require_room(space: Space, free_bytes: int, file_bytes: int, *, for_repair: bool = False) -> None:
    """May an upload, or a copy that repair makes, have so many bytes of what is free?

    Raises:
        NoSpaceError: no.
    """
    takes = takes_copy if for_repair else takes_upload
    if not takes(space.capacity_bytes, free_bytes, file_bytes):
        raise NoSpaceError(f"the volume keeps its last {free_bytes} bytes free; add a node, or delete something")


class SmallChunkWriter:
    """Collects the bytes; `store` makes the file of them. Used by one thread."""

    def __init__(
        self,
        gauge: SpaceGauge,
        digest: bytes,
        size: int,
        generation: int,
        *,
        store: Callable[[ChunkHeader, bytes], StoredChunk],
    ) -> None:
        """Keep the room; see `SpaceGauge.take` for what it raises."""
        self._gauge = gauge
        self._digest = digest
        self._size = size
        self._generation = generation
        self._store = store
        self._checks = ChunkChecks()
        self._data = b""
        self._kept_bytes = header_bytes_for(size) + size
        gauge.take(self._kept_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def write(self, view: memoryview) -> None:
        """Take the next bytes; more than were announced are hashed and not kept, and `commit` will refuse."""
        self._checks.update(view)
        if self._checks.length <= self._size:
            self._data += view

    def flush(self) -> None:
        """Nothing was written yet."""

    def commit(self) -> StoredChunk:
        """Check the digest, then make the file durable."""
        header = self._checks.header_for(self._digest, self._size, self._generation)
        stored = self._store(header, self._data)
        self._give_back()
        return stored

    def _give_back(self) -> None:
        kept, self._kept_bytes = self._kept_bytes, 0
        if kept:
            self._gauge.give_back(kept)
