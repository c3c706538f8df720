"""What a node needs of a place that keeps chunks. One interface; disk, memory and faults implement it.

A chunk is named by its digest and never changes. Its *generation* says by which leave it was written: a delete
of generation g removes only what was written at g or before, so that an old delete never hits a newer copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from dfs_wire.messages import Finding, VolumeState


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk that is durable on the volume. `size` in bytes."""

    digest: bytes
    size: int
    generation: int


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """A chunk as an inventory lists it. `damage` is empty where the header is in order; data is not looked at."""

    digest: bytes
    size: int
    generation: int
    stored_at_ms: int
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a volume is. `used_bytes` counts this volume's chunks; the rest describes its file system."""

    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    filesystem_id: str
    state: VolumeState
    #: A full pass has cleared a failure, and no master was told so yet.
    verified: bool = False


class ChunkWriter(Protocol):
    """A chunk that arrives. Leaving the `with` block without `commit` leaves no trace. Used by one thread."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, view: memoryview) -> None:
        """Take the next bytes.

        Raises:
            NoSpaceError: the volume is full.
            VolumeFailedError: an I/O error; the volume takes nothing from now on.
        """
        ...

    def flush(self) -> None:
        """Have the disk done with what was written so far, so that nobody else's sync has to wait for it.

        Raises:
            VolumeFailedError: an I/O error; the volume takes nothing from now on.
        """
        ...

    def commit(self) -> StoredChunk:
        """Check the digest and make the chunk durable under its name; on return, file and directory are fsynced.

        The generation in the answer is that of the copy on the volume, which may be a newer one that was there.

        Raises:
            CorruptError: the bytes are not the chunk.
            NoSpaceError, VolumeFailedError: as for `write`.
            UnavailableError: the copy that made these bytes unnecessary went away meanwhile; send them again.
        """
        ...


class OpenChunk(Protocol):
    """A stored chunk, open for reading: it stays readable when it is deleted or replaced. Used by one thread."""

    size: int
    generation: int
    #: Where the data begins in the file of `fileno`.
    file_offset: int

    def block_crcs(self, first: int, count: int) -> bytes:
        """The CRC32C of `count` blocks from block `first`, big-endian."""
        ...

    def fileno(self) -> int | None:
        """A descriptor to `sendfile` from, or None where `read` is the only way."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the data.

        Raises:
            ChunkCorruptError: the disk does not give them.
        """
        ...

    def close(self) -> None:
        """Done with it. May be called twice."""
        ...


class Volume(Protocol):
    """A place that keeps chunks. Safe to use from several threads."""

    def create(self, digest: bytes, size: int, generation: int, *, for_repair: bool = False) -> ChunkWriter:
        """Get ready to take a chunk of `size` bytes; the space is reserved. Repair may fill the disk further than
        uploads may.

        Raises:
            NoSpaceError: too little is free.
            VolumeFailedError: an I/O error, now or before.
            BusyError: the process is out of descriptors or memory.
        """
        ...

    def open(self, digest: bytes) -> OpenChunk:
        """Open a chunk; its header is checked, its data is not.

        Raises:
            NotFoundError: it is not here.
            ChunkCorruptError: its header or its length is wrong.
        """
        ...

    def verify(self, digest: bytes) -> Finding:
        """Read a chunk whole and say how it is.

        Raises:
            BusyError: it could not be looked at now: the process is out of descriptors or memory.
        """
        ...

    def delete(self, digest: bytes, generation: int) -> bool:
        """Remove a chunk that was written at `generation` or before; False where there is none, or a newer one.

        A file whose header cannot be read is no chunk to anybody: it loses its name, and may be kept aside for a while.

        Raises:
            VolumeFailedError: an I/O error.
        """
        ...

    def registered(self) -> None:
        """A master accepted the volume as `usage` described it: what it had to be told once is told."""
        ...

    def usage(self) -> Usage:
        """How full, and whether it takes chunks."""
        ...

    def inventory(self, prefix: int) -> Iterator[InventoryItem]:
        """All chunks whose digest's first byte is `prefix` (0 to 255), in no order.

        Raises:
            VolumeFailedError: they cannot be listed.
            BusyError: the process is out of descriptors or memory.
        """
        ...

    def names(self, prefix: int) -> list[tuple[bytes, int]]:
        """The digests of all chunks whose first byte is `prefix`, and about how many bytes each takes; nothing is
        opened.

        Raises:
            VolumeFailedError, BusyError: as for `inventory`.
        """
        ...
