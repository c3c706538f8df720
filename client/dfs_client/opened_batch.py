"""Many small files opened at once: which of them lie in which chunk, with tickets that are always fresh."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from dfs_client.master import MasterClient
from dfs_client.opened import fresh_until
from dfs_runtime.clock import Clock
from dfs_wire.errors import DfsError, ProtocolError, VersionGoneError, error_from_wire
from dfs_wire.limits import BATCH_PATHS_MAX
from dfs_wire.messages import FileWanted, OpenedChunk, OpenedFile, OpenExtent, OpenManyReply, SharedExtent


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one small file lies in its chunk. `place` is the file's number in the batch."""

    place: int
    offset: int
    length: int


class OpenedPack:
    """A chunk that holds small files, read like a file whose content it is. Safe to use from several threads."""

    def __init__(
        self, master: MasterClient, clock: Clock, path: str, version: int, chunk: OpenedChunk, reply: OpenManyReply
    ) -> None:
        """Of the files in the chunk, `path` is what errors name, and `version` opens the chunk again."""
        self.path = path
        self.size = chunk.size
        self._master = master
        self._clock = clock
        self._version = version
        self._digest = chunk.digest
        self._lock = threading.Lock()
        self._take(chunk, reply)

    def extent_at(self, start: int) -> OpenExtent:
        """The whole chunk."""
        return self.ticketed_extent_at(start)[0]

    def ticketed_extent_at(self, start: int) -> tuple[OpenExtent, int]:
        """The whole chunk, and when its tickets end in the master's time."""
        with self._lock:
            if self._fresh_until <= self._clock.monotonic():
                self._renew()
            return self._extent, self._expires_at_ms

    def renew(self, start: int) -> None:
        """Ask for other tickets and the copies as they are now.

        Raises:
            VersionGoneError: the files lie elsewhere by now, or are gone.
        """
        with self._lock:
            self._renew()

    def _renew(self) -> None:
        reply, opened = self._master.open_many([FileWanted("", self._version)])
        chunk = next((each for each in opened.chunks if each.digest == self._digest), None)
        if chunk is None:
            raise VersionGoneError(f"{self.path} lies elsewhere by now; open it again")
        self._take(chunk, reply)

    def _take(self, chunk: OpenedChunk, reply: OpenManyReply) -> None:
        self._extent = OpenExtent(0, chunk.digest, chunk.size, 0, chunk.size, chunk.replicas)
        self._expires_at_ms = reply.expires_at_ms
        self._fresh_until = fresh_until(self._clock, reply.expires_at_ms, reply.time_ms)


@dataclass(slots=True)
class OpenedBatch:
    """A version or an error for each file, in order, and the chunks with what is wanted of them."""

    files: list[OpenedFile | DfsError]
    packs: list[tuple[OpenedPack, list[Slice]]]
    #: Files of several chunks: each is to be opened on its own.
    apart: list[int]


def open_batch(master: MasterClient, clock: Clock, wanted: Sequence[FileWanted]) -> OpenedBatch:
    """Open files, in as few requests as they take.

    Raises:
        ProtocolError: the master's answer does not fit the request.
    """
    batch = OpenedBatch([], [], [])
    packs: dict[bytes, tuple[OpenedPack, list[Slice]]] = {}
    for start in range(0, len(wanted), BATCH_PATHS_MAX):
        part = wanted[start : start + BATCH_PATHS_MAX]
        reply, opened = master.open_many(part)
        if len(opened.files) != len(part):
            raise ProtocolError(f"the master answered {len(opened.files)} files for {len(part)}; upgrade one")
        for place, (each, file) in enumerate(zip(part, opened.files, strict=True), start):
            if file.code:
                batch.files.append(error_from_wire(file.code, file.message, {}))
                continue
            batch.files.append(file)
            if len(file.extents) > 1:
                batch.apart.append(place)
            elif file.extents:
                (extent,) = file.extents
                chunk = _chunk_of(file, extent, opened.chunks)
                if chunk.digest not in packs:
                    name = each.path or f"version {file.version}"
                    packs[chunk.digest] = OpenedPack(master, clock, name, file.version, chunk, reply), []
                packs[chunk.digest][1].append(Slice(place, extent.offset, extent.length))
            elif file.size:
                raise ProtocolError("the master left out the extents of a file; see `dfs status`")
    batch.packs.extend(packs.values())
    return batch


def _chunk_of(file: OpenedFile, extent: SharedExtent, chunks: Sequence[OpenedChunk]) -> OpenedChunk:
    """The chunk of a file's only extent, which must lie in it and be the whole file.

    Raises:
        ProtocolError: it does not.
    """
    if 0 <= extent.chunk < len(chunks):
        chunk = chunks[extent.chunk]
        if extent.length == file.size and 0 <= extent.offset <= chunk.size - extent.length:
            return chunk
    raise ProtocolError("the master's answer contradicts itself about where a file lies; see `dfs status`")
