"""The two ways a chunk arrives on a disk: as a new file, or only to be checked, because a good copy is there."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from dfs_node.chunk_file import ChunkChecks, ChunkHeader, header_bytes_for
from dfs_node.disk import Disk
from dfs_node.volume import StoredChunk
from dfs_node.volume_health import FULL, LIMITS, VolumeHealth
from dfs_runtime.files import temporary_name
from dfs_wire.limits import STREAM_BLOCK_BYTES

log = logging.getLogger(__name__)


class NewChunkWriter:
    """Writes a temporary file and hands it to `publish`, which names it. Used by one thread."""

    def __init__(
        self,
        disk: Disk,
        health: VolumeHealth,
        target: Path,
        digest: bytes,
        size: int,
        generation: int,
        *,
        publish: Callable[[Path, ChunkHeader], StoredChunk],
    ) -> None:
        self._disk = disk
        self._health = health
        self._digest = digest
        self._size = size
        self._generation = generation
        self._publish = publish
        self._checks = ChunkChecks()
        self._data_offset = header_bytes_for(size)
        self._temporary = temporary_name(target)
        self._descriptor: int | None = None
        try:
            with health.guard("reserve space", harmless=FULL | LIMITS):
                self._descriptor = disk.create(self._temporary)
                disk.reserve(self._descriptor, self._data_offset + size)
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandon()

    def write(self, view: memoryview) -> None:
        """Write the next bytes behind the space for the header, and hash them."""
        offset = self._data_offset + self._checks.length
        self._checks.update(view)
        if self._checks.length > self._size:
            return  # more than was announced: `commit` will refuse, the file must not grow over its reservation
        with self._health.guard("write"):
            descriptor = self._open_descriptor()
            self._disk.pwrite(descriptor, view, offset)
            if self._size > STREAM_BLOCK_BYTES:
                # The disk works while the network does; a small chunk is synced at once anyway.
                self._disk.start_writing(descriptor, offset, len(view))

    def flush(self) -> None:
        """fdatasync: a mere write-back would leave the bytes in the disk's own cache, for the next sync to carry."""
        with self._health.guard("fsync"):
            self._disk.fdatasync(self._open_descriptor())

    def commit(self) -> StoredChunk:
        """Header, fdatasync, then the name."""
        header = self._checks.header_for(self._digest, self._size, self._generation)
        descriptor = self._open_descriptor()
        with self._health.guard("write"):
            self._disk.pwrite(descriptor, header.encode(), 0)
        with self._health.guard("fsync"):
            self._disk.fdatasync(descriptor)
        return self._publish(self._temporary, header)

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise ValueError("the chunk writer is closed")
        return self._descriptor

    def _abandon(self) -> None:
        """Close, and remove the temporary file unless it got its name. What cannot be removed goes at a start."""
        if self._descriptor is None:
            return
        os.close(self._descriptor)
        self._descriptor = None
        with suppress(FileNotFoundError):
            try:
                self._disk.unlink(self._temporary)
            except FileNotFoundError:
                raise
            except OSError as error:
                log.warning("%s stays until the next start: %s", self._temporary, error)


class KnownChunkWriter:
    """Hashes the bytes and drops them; `confirm` answers for the copy that is there. Used by one thread."""

    def __init__(self, digest: bytes, size: int, *, confirm: Callable[[], StoredChunk]) -> None:
        self._digest = digest
        self._size = size
        self._confirm = confirm
        self._checks = ChunkChecks()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was opened."""

    def write(self, view: memoryview) -> None:
        """Hash the next bytes: the sender must have them, or the hops behind would get something else."""
        self._checks.update(view)

    def flush(self) -> None:
        """Nothing was written."""

    def commit(self) -> StoredChunk:
        """Check the digest, then that the copy is still there."""
        self._checks.header_for(self._digest, self._size, 0)
        return self._confirm()
