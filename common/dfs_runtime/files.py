"""The only place that makes files durable: temporary file, fsync, rename, fsync of the directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Names of temporary files end so; a start removes what a crash left behind.
TEMPORARY_SUFFIX = ".tmp"

SECRET_MODE = 0o600


def fsync_directory(path: Path) -> None:
    """Make the names inside a directory durable.

    Raises:
        OSError: the directory cannot be opened or synced; a caller that acknowledges must not go on.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(final: Path) -> Path:
    """A fresh name beside `final`, so that the rename stays inside one file system."""
    return final.with_name(f".{final.name}.{os.urandom(6).hex()}{TEMPORARY_SUFFIX}")


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a small file so that a crash leaves either the old or the new content.

    Raises:
        OSError: nothing was replaced.
    """
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_directory(path.parent)


def write_secret(path: Path, data: bytes) -> None:
    """`write_atomically` for keys: readable by the owner alone from its first moment."""
    write_atomically(path, data, mode=SECRET_MODE)


def make_directory(path: Path, *, mode: int = 0o755) -> None:
    """Create a directory and its parents, durably."""
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for made in missing:
        fsync_directory(made.parent)


class AlreadyLockedError(OSError):
    """Another process holds the lock file."""


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock on a file for as long as the block runs; the kernel frees it on a crash.

    Raises:
        AlreadyLockedError: somebody else holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET_MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyLockedError(error.errno, "locked by another process", str(path)) from error
        yield
    finally:
        os.close(descriptor)
