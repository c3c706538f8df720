"""The system calls that a volume makes, behind one interface, so that tests can make any of them fail or crash."""

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

#: Two system calls that Python lacks; None where the C library lacks them too.
_LIBRARY = ctypes.CDLL(None, use_errno=True)
_SYNCFS = getattr(_LIBRARY, "syncfs", None)
_SYNC_FILE_RANGE = getattr(_LIBRARY, "sync_file_range", None)
if _SYNC_FILE_RANGE is not None:
    _SYNC_FILE_RANGE.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
#: `syncfs` tells of failed writes since Linux 5.8 (syncfs(2)).
_SYNCFS_REPORTS_SINCE = (5, 8)
#: File systems on a disk of this machine. Others (network, FUSE) may answer before somebody else's disk has anything.
_SYNCS_WHOLE = frozenset({"ext4", "xfs", "f2fs", "bcachefs", "tmpfs"})
#: SYNC_FILE_RANGE_WRITE: start to write what is dirty, wait for nothing.
_START = 2

#: Where each put names files, they come as text: to make and print path objects costs more than some of the calls.
AnyPath = Path | str


def kinds_of(mounts: bytes, device: str) -> set[str]:
    """The kinds of file system that are mounted from a device, by lines as of `/proc/self/mountinfo`, see proc(5).

    Bytes: a mount point may have any name.
    """
    kinds = set()
    for line in mounts.split(b"\n"):
        fields, _, rest = line.partition(b" - ")
        if fields.split(b" ")[2:3] == [device.encode()]:
            kinds.add(rest.split(b" ")[0].decode("ascii", "replace"))
    return kinds


def _raise_errno() -> NoReturn:
    """Raise what the C library said last."""
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system holds, in bytes. `free_bytes` is what an ordinary user may still write."""

    capacity_bytes: int
    free_bytes: int


class Disk(Protocol):
    """Every call may raise `OSError`. Implementations are safe to use from several threads."""

    def create(self, path: AnyPath) -> int:
        """Make a new file, readable by the owner alone; returns its descriptor."""
        ...

    def open(self, path: AnyPath) -> int:
        """Open a file for reading; returns its descriptor."""
        ...

    def open_to_write(self, path: AnyPath) -> int:
        """Open a file that exists for reading and writing in place; returns its descriptor."""
        ...

    def reserve(self, descriptor: int, length: int) -> None:
        """Take the space for the first `length` bytes now, and make the file that long."""
        ...

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        """Write all of `data` from `offset` of the file."""
        ...

    def start_writing(self, descriptor: int, offset: int, length: int) -> None:
        """Let the disk begin with bytes that were written, so that `fdatasync` has less to wait for."""
        ...

    def pread_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset` of the file; returns how many bytes, fewer only at the end of the file."""
        ...

    def forget_cached(self, descriptor: int) -> None:
        """Let the next reads come from the disk rather than from memory, where the system can do that."""
        ...

    def fdatasync(self, descriptor: int) -> None:
        """Make a file's bytes and length durable."""
        ...

    def rename(self, source: AnyPath, target: AnyPath) -> None:
        """Give a file its final name, in place of whatever has it."""
        ...

    def fsync_directory(self, directory: int) -> None:
        """Make the names inside an open directory durable."""
        ...

    def unlink(self, path: AnyPath) -> None:
        """Remove a file's name."""
        ...

    def open_directory(self, path: AnyPath) -> int:
        """Open a directory, to sync it or its file system; returns its descriptor."""
        ...

    def sync_filesystem(self, place: Path | int) -> None:
        """Make everything durable that is on the file system of `place`. An open directory also hears of each write
        that failed since it was opened, whoever should have waited for it.
        """
        ...

    def reports_lost_writes(self, path: Path) -> bool:
        """Whether `sync_filesystem` does all of that here."""
        ...

    def space(self, path: Path) -> Space:
        """Measure the file system of `path`."""
        ...


class SystemDisk:
    """The machine's own disk. Stateless, so safe to share between threads."""

    def create(self, path: AnyPath) -> int:
        """Make a new file; an existing one is an error."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: AnyPath) -> int:
        """Open for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_to_write(self, path: AnyPath) -> int:
        """Open for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def reserve(self, descriptor: int, length: int) -> None:
        """`posix_fallocate`."""
        os.posix_fallocate(descriptor, 0, length)

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        """Write all, in as many calls as the system wants."""
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    def start_writing(self, descriptor: int, offset: int, length: int) -> None:
        """`sync_file_range`, only to start: it neither waits nor takes an error away from `fdatasync`."""
        if _SYNC_FILE_RANGE is not None and _SYNC_FILE_RANGE(descriptor, offset, length, _START) != 0:
            _raise_errno()

    def pread_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """Read until the buffer is full or the file ends."""
        filled = 0
        while filled < len(buffer):
            count = os.preadv(descriptor, [buffer[filled:]], offset + filled)
            if count == 0:
                break
            filled += count
        return filled

    def forget_cached(self, descriptor: int) -> None:
        """Advice only: dirty pages and some file systems stay in memory."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def fdatasync(self, descriptor: int) -> None:
        """Also syncs the length, which is needed to read the bytes back."""
        os.fdatasync(descriptor)

    def rename(self, source: AnyPath, target: AnyPath) -> None:
        """Atomic within one file system."""
        os.rename(source, target)  # noqa: PTH104 - the paths may be text

    def fsync_directory(self, directory: int) -> None:
        """`fsync`."""
        os.fsync(directory)

    def unlink(self, path: AnyPath) -> None:
        """Remove the name."""
        os.unlink(path)  # noqa: PTH108 - the path may be text

    def open_directory(self, path: AnyPath) -> int:
        """Open for reading."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync_filesystem(self, place: Path | int) -> None:
        """`syncfs`, which Python lacks; `sync` where the C library lacks it too."""
        if _SYNCFS is None:
            os.sync()
        elif isinstance(place, int):
            if _SYNCFS(place) != 0:
                _raise_errno()
        else:
            descriptor = self.open_directory(place)
            try:
                self.sync_filesystem(descriptor)
            finally:
                os.close(descriptor)

    def reports_lost_writes(self, path: Path) -> bool:
        """By the kernel's version, and a list of file systems that sync themselves whole (`/proc/self/mountinfo`)."""
        release = re.match(r"(\d+)\.(\d+)", os.uname().release)
        if _SYNCFS is None or release is None or tuple(map(int, release.groups())) < _SYNCFS_REPORTS_SINCE:
            return False
        device = path.stat().st_dev
        try:
            kinds = kinds_of(Path("/proc/self/mountinfo").read_bytes(), f"{os.major(device)}:{os.minor(device)}")
        except OSError:
            return False
        return bool(kinds) and kinds <= _SYNCS_WHOLE

    def space(self, path: Path) -> Space:
        """`statvfs`."""
        found = os.statvfs(path)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
