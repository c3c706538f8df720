"""Packs: the bytes of many small files one after the other in one chunk.

What goes into a pack, and where, depends only on the files and their order, so an upload that is started again makes
the same packs and finds those that are stored already.
"""

import os
import stat
from dataclasses import dataclass, field
from enum import Enum, auto

from blake3 import blake3

from dfs_client.local_errors import from_os_error
from dfs_client.local_files import PERMISSION_BITS
from dfs_client.source import source_changed
from dfs_client.types import LocalPath, Uploaded, UploadResult
from dfs_wire.errors import DfsError, WrongKindError
from dfs_wire.limits import CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX, COMMIT_FILES_MAX, MIB
from dfs_wire.messages import Extent, FileCommit

#: A larger file has chunks of its own.
SMALL_BYTES_MAX = 1 * MIB
PACK_BYTES_MAX = CHUNK_BYTES_DEFAULT
#: Enough that a put and a commit cost little a file; few enough that others do not wait long for the committer.
PACK_FILES_MAX = 400

#: A pipe must not make its reader wait, and a terminal not become ours.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_EMPTY_DIGEST = blake3(b"").digest()

if not SMALL_BYTES_MAX <= PACK_BYTES_MAX <= CHUNK_BYTES_MAX or PACK_FILES_MAX > COMMIT_FILES_MAX:
    raise ValueError("a small file must fit one pack, a pack one chunk, and its files one commit")


class Fit(Enum):
    """What became of a file that was offered to a pack."""

    TAKEN = auto()
    #: The pack is full: offer it to the next one.
    FULL = auto()
    #: It is no small file.
    LARGE = auto()


@dataclass(slots=True)
class PackedFile:
    """A small file on its way. `error` ends it at any step; `fresh` says whether its bytes lie in the pack for it."""

    source: LocalPath
    path: str
    size: int = 0
    digest: bytes = _EMPTY_DIGEST
    mtime_ns: int = 0
    mode: int = 0
    offset: int = 0
    fresh: bool = False
    version: int = 0
    error: DfsError | None = None

    def result(self, *, sent: bool) -> UploadResult:
        """How it ended; `sent` says whether its pack's bytes went to a node."""
        if self.error is not None:
            return UploadResult(self.source, self.path, error=self.error)
        bytes_sent = self.size if sent and self.fresh else 0
        return UploadResult(
            self.source, self.path, Uploaded(self.path, self.version, self.size, self.digest, bytes_sent)
        )


@dataclass(slots=True)
class Pack:
    """Files that are stored in one chunk and committed together; filled by one thread, then used by one other.

    `buffer` holds the bytes until the commit is answered: a copy that is missing at the last moment is made of them.
    """

    buffer: bytearray
    files: list[PackedFile] = field(default_factory=list)
    size: int = 0
    sent: bool = False
    #: Digest -> where a file of this content lies already.
    _places: dict[bytes, int] = field(default_factory=dict)

    def add(self, source: LocalPath, path: str) -> Fit:
        """Read a file into the pack. One that cannot be read is taken as well: with its error.

        A file that changes while it is read is refused, and its place goes to the next one.
        """
        if len(self.files) >= PACK_FILES_MAX:
            return Fit.FULL
        file = PackedFile(source, path)
        try:
            fit = self._read(file)
        except OSError as error:
            if error.filename is None:
                error.filename = os.fspath(source)
            file.error = from_os_error(error)
        except DfsError as error:
            file.error = error
        else:
            if fit is not Fit.TAKEN:
                return fit
        self.files.append(file)
        return Fit.TAKEN

    def refuse(self, source: LocalPath, path: str, error: DfsError) -> None:
        """A file that is not even to be read; it has its turn among the others."""
        self.files.append(PackedFile(source, path, error=error))

    @property
    def content(self) -> memoryview:
        """The bytes of the chunk."""
        return memoryview(self.buffer)[: self.size]

    def alive(self) -> list[PackedFile]:
        """Those that nothing has ended yet."""
        return [file for file in self.files if file.error is None]

    def end(self, error: DfsError) -> None:
        """End all that are left."""
        for file in self.alive():
            file.error = error

    def commits(self, digest: bytes, expect: int) -> list[FileCommit]:
        """The commit of each file that is alive, in order; `digest` is the whole pack's."""
        size = self.size
        return [
            FileCommit(
                file.path,
                expect,
                file.size,
                file.digest,
                file.mtime_ns,
                file.mode,
                [Extent(digest, size, file.offset, file.size)] if file.size else [],
            )
            for file in self.files
            if file.error is None
        ]

    def _read(self, file: PackedFile) -> Fit:
        # Without a file object: at four kilobytes a file that would be the larger part of the work.
        descriptor = os.open(file.source, _OPEN_FLAGS)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise WrongKindError(f"{file.source} is not a regular file; leave it out")
            size = before.st_size
            if size > SMALL_BYTES_MAX:
                return Fit.LARGE
            if self.size + size > PACK_BYTES_MAX:
                return Fit.FULL
            # One byte more than expected: a file that grew shows it, as do those of the kernel that seem empty.
            room = memoryview(self.buffer)[self.size : self.size + size + 1]
            count = _fill(descriptor, room)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if count != size or after.st_size != size or after.st_mtime_ns != before.st_mtime_ns:
            raise source_changed(file.source)
        file.size, file.mtime_ns, file.mode = size, before.st_mtime_ns, before.st_mode & PERMISSION_BITS
        if size:
            file.digest = digest = blake3(room[:size]).digest()
            file.offset = self._places.setdefault(digest, self.size)
            if file.offset == self.size:
                file.fresh = True
                self.size += size
        return Fit.TAKEN


def new_buffer() -> bytearray:
    """Room for a pack, and for the byte that shows that a file grew."""
    return bytearray(PACK_BYTES_MAX + 1)


def _fill(descriptor: int, room: memoryview) -> int:
    """Read until the room is full or the file ends; returns how many bytes."""
    count = filled = os.readv(descriptor, [room])
    while count and filled < len(room) - 1:
        count = os.readv(descriptor, [room[filled:]])
        filled += count
    return filled
