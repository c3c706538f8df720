"""A local file that appears whole or not at all."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from dfs_client.local_files import PERMISSION_BITS, mapping_os_errors
from dfs_runtime.files import temporary_name
from dfs_wire.errors import AlreadyExistsError, WrongKindError

#: A file system that cannot do a thing says so with one of these.
UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EMLINK, errno.EXDEV})


class TargetFile:
    """A file that appears under its name only when it is whole: written beside its target, then renamed.

    `write_at` may be called by several threads at once, everything else by one.
    """

    def __init__(self, target: Path, *, force: bool) -> None:
        """Refuse early, then create the temporary file.

        Raises:
            AlreadyExistsError: the target exists, and `force` is false.
            WrongKindError: the target is a directory or a device.
            DfsError: the directory cannot be written.
        """
        self.target = target
        self._force = force
        with mapping_os_errors(target):
            if force and target.is_symlink():
                # As `cp` does: the link stays, the file that it means is replaced.
                self.target = target.resolve()
            _check_target(self.target, force=force)
            self._temporary = temporary_name(_short_named(self.target))
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            # A file object rather than a descriptor: a worker that outlives an interruption then writes into a
            # file that nobody sees, never into a descriptor that means another file by now.
            self._file = open(os.open(self._temporary, flags, 0o600), "r+b", buffering=0)  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        self._file.close()

    def require_room(self, size: int) -> None:
        """Refuse before anything is fetched.

        Raises:
            NoSpaceError: the disk is too full for so many bytes.
        """
        with mapping_os_errors(self.target):
            space = os.fstatvfs(self._file.fileno())
            # Some file systems tell nothing.
            if space.f_blocks and size > space.f_bavail * space.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def claim(self, offset: int, length: int) -> None:
        """Take the space for a part that is about to be fetched.

        Part by part: where space is memory, to take it means to clear it, and that goes on beside the transfers.

        Raises:
            NoSpaceError: the disk is full.
        """
        with mapping_os_errors(self.target):
            try:
                os.posix_fallocate(self._file.fileno(), offset, length)
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise

    def write_at(self, offset: int, data: memoryview) -> None:
        """Put bytes at their place."""
        with mapping_os_errors(self.target):
            while data:
                written = os.pwrite(self._file.fileno(), data, offset)
                offset += written
                data = data[written:]

    def finish(self, *, mode: int, mtime_ns: int) -> None:
        """Give the file its name, mode and time.

        It is not fsynced: a local copy is the user's, as one that `cp` made.

        Raises:
            AlreadyExistsError: something took the name meanwhile, and `force` is false.
        """
        with mapping_os_errors(self.target):
            descriptor = self._file.fileno()
            os.fchmod(descriptor, mode & PERMISSION_BITS)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            if self._force or not self._linked():
                _check_target(self.target, force=self._force)
                self._temporary.rename(self.target)

    def _linked(self) -> bool:
        """Take the name only if it is free, in one step; False where the file system has no hard links."""
        try:
            os.link(self._temporary, self.target)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return False
            raise
        return True


def _short_named(target: Path) -> Path:
    """A path beside the target whose name leaves room for the temporary suffix: names end at 255 bytes."""
    name = os.fsencode(target.name)[:200].decode("utf-8", "ignore")
    return target.with_name(name or "download")


def _check_target(target: Path, *, force: bool) -> None:
    try:
        found = target.stat() if force else target.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        raise WrongKindError(f"{target} is a local directory; name a file inside it")
    if not force:
        raise AlreadyExistsError(f"{target} exists on this machine; replace it with --force, or choose another name")
    if not stat.S_ISREG(found.st_mode):
        raise WrongKindError(f"{target} is not a regular file; use - to write to standard output")
