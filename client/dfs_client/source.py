"""A local file that is read once, in order, and must not change meanwhile."""

import os
import stat
from types import TracebackType
from typing import Self

from dfs_client.local_files import PERMISSION_BITS, mapped, mapping_os_errors
from dfs_client.types import LocalPath
from dfs_wire.errors import SourceChangedError, WrongKindError


class LocalSource:
    """A regular file, or a pipe, that was opened for an upload. Used by one thread.

    Attributes:
        size: bytes, or -1 for a pipe.
        allocated: bytes that the disk holds of it; fewer where it has holes.
    """

    def __init__(self, path: LocalPath) -> None:
        """Open and look at it.

        Raises:
            DfsError: it cannot be read, or is a directory, socket or device.
        """
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise mapped(error, path) from error
        try:
            try:
                self._before = os.fstat(self._descriptor)
            except OSError as error:
                raise mapped(error, path) from error
            self.regular = stat.S_ISREG(self._before.st_mode)
            if not self.regular and not stat.S_ISFIFO(self._before.st_mode):
                raise WrongKindError(f"{path} is not a regular file; only files can be uploaded")
        except BaseException:
            os.close(self._descriptor)
            raise
        before = self._before
        self.size = before.st_size if self.regular else -1
        self.allocated = before.st_blocks * 512
        self.mtime_ns = before.st_mtime_ns
        self.mode = before.st_mode & PERMISSION_BITS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as the file goes; less than all of it means the end, as does 0 for a pipe."""
        with mapping_os_errors(self.path):
            filled = 0
            while filled < len(buffer) and (count := os.readv(self._descriptor, [buffer[filled:]])):
                filled += count
            return filled

    def read_whole(self) -> bytes:
        """All of a small regular file.

        Raises:
            SourceChangedError: it did not stand still.
        """
        try:
            # One byte more would show that it grew; none more, and a time that did not change, that it did not.
            data = os.read(self._descriptor, self.size + 1)
            while len(data) < self.size and (more := os.read(self._descriptor, self.size + 1 - len(data))):
                data += more
            self._compare(len(data))
        except OSError as error:
            raise mapped(error, self.path) from error
        return data

    def read_again(self, offset: int, length: int) -> bytes:
        """A piece that was read before; the caller compares its digest."""
        with mapping_os_errors(self.path):
            return os.pread(self._descriptor, length, offset)

    def check_unchanged(self, bytes_read: int) -> None:
        """Compare with the file as it was before it was read.

        Raises:
            SourceChangedError: size, time or identity differ.
        """
        with mapping_os_errors(self.path):
            # Some files of the kernel say that they are empty, and are not.
            longer = bytes_read == self._before.st_size and bool(os.read(self._descriptor, 1))
            self._compare(bytes_read + longer)

    def _compare(self, bytes_read: int) -> None:
        now, before = os.fstat(self._descriptor), self._before
        same = (now.st_size, now.st_mtime_ns, now.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
        if not same or bytes_read != before.st_size:
            raise source_changed(self.path)


def source_changed(path: object) -> SourceChangedError:
    """The error for a local file that did not stand still."""
    return SourceChangedError(f"{path} changed while it was uploaded, nothing was stored; upload it again")
