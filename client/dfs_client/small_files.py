"""Small local files written at the least cost: whole under their names or not at all, and no fsync, as `cp` does."""

import os
import stat
from itertools import count
from pathlib import Path

from dfs_client.local_errors import from_os_error
from dfs_client.local_files import PERMISSION_BITS
from dfs_client.target_file import UNSUPPORTED, TargetFile
from dfs_client.types import LocalPath
from dfs_runtime.files import TEMPORARY_SUFFIX
from dfs_wire.errors import AlreadyExistsError

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class SmallFiles:
    """Writes files of one download. Used by one thread."""

    def __init__(self, *, force: bool) -> None:
        self._force = force
        self._token = os.urandom(6).hex()
        self._numbers = count()

    def refuse_existing(self, target: LocalPath) -> None:
        """Spare the transfer of what would be refused anyway; the write still decides.

        Raises:
            AlreadyExistsError: the target exists, and nothing is to be replaced.
        """
        if not self._force and os.access(target, os.F_OK, follow_symlinks=False):
            raise _exists(target)

    def write(self, target: LocalPath, content: bytes | bytearray | memoryview, *, mode: int, mtime_ns: int) -> None:
        """Give a file its name, with its bytes, mode and time.

        Raises:
            AlreadyExistsError: the target exists, and nothing is to be replaced.
            DfsError: it cannot be written.
        """
        if self._force and not _is_plain(target):
            self._write_with_care(target, memoryview(content), mode=mode, mtime_ns=mtime_ns)
            return
        # Its own name would cost more, and might have no room for a suffix.
        directory, slash, _ = os.fspath(target).rpartition("/")
        temporary = f"{directory}{slash}.{self._token}-{next(self._numbers)}{TEMPORARY_SUFFIX}"
        try:
            descriptor = os.open(temporary, _FLAGS, 0o600)
        except OSError as error:
            error.filename = os.fspath(target)
            raise from_os_error(error) from error
        try:
            try:
                written = os.write(descriptor, content)
                while written < len(content):
                    written += os.write(descriptor, memoryview(content)[written:])
                os.fchmod(descriptor, mode & PERMISSION_BITS)
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(descriptor)
            self._name(temporary, target)
        except BaseException as error:
            _remove(temporary)
            if isinstance(error, OSError):
                error.filename, error.filename2 = os.fspath(target), None
                raise from_os_error(error) from error
            raise

    def _name(self, temporary: str, target: LocalPath) -> None:
        """The last step: the name is there, with all that belongs to it."""
        if not self._force:
            try:
                os.link(temporary, target)
            except FileExistsError as error:
                raise _exists(target) from error
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                # No hard links here: between this look and the rename somebody may take the name.
                if os.path.lexists(target):
                    raise _exists(target) from error
            else:
                os.unlink(temporary)  # noqa: PTH108 - a Path costs as much as the call
                return
        os.rename(temporary, target)  # noqa: PTH104 - as above

    def _write_with_care(self, target: LocalPath, data: memoryview, *, mode: int, mtime_ns: int) -> None:
        """What is not just a file: a link stays and its file is replaced, a directory or a device is refused."""
        with TargetFile(Path(target), force=True) as file:
            file.write_at(0, data)
            file.finish(mode=mode, mtime_ns=mtime_ns)


def _is_plain(target: LocalPath) -> bool:
    """Whether a rename over it replaces a file, or nothing."""
    try:
        return stat.S_ISREG(os.lstat(target).st_mode)
    except OSError:
        return True  # there is nothing, or the write will say what is wrong


def _exists(target: LocalPath) -> AlreadyExistsError:
    return AlreadyExistsError(f"{target} exists on this machine; replace it with --force, or choose another name")


def _remove(temporary: str) -> None:
    try:
        os.unlink(temporary)  # noqa: PTH108 - as above
    except OSError:
        return
