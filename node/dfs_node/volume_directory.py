"""A volume's directory: who may use it, what lies in it, and what a start does to it."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dfs_node.chunk_file import digest_from_name
from dfs_node.disk import Disk
from dfs_runtime.files import TEMPORARY_SUFFIX, AlreadyLockedError, exclusive_lock, fsync_directory
from dfs_wire.errors import VolumeFailedError, VolumeInUseError

LOCK = "lock"
CHUNKS = "chunks"
#: Behind the name of a file that was to be deleted, and whose header could not be read. The next start removes it.
DAMAGED_SUFFIX = ".damaged"
#: What a fresh file system or a start that was refused may have left: a directory with only these is empty.
_NOT_CONTENT = frozenset({LOCK, "lost+found"})

log = logging.getLogger(__name__)


@contextmanager
def using(volume: Path) -> Iterator[None]:
    """Say in one sentence what a start or a check could not do with a volume's directory.

    Raises:
        VolumeFailedError: in place of any `OSError`. It is not recorded: nothing was promised yet.
    """
    try:
        yield
    except OSError as error:
        raise VolumeFailedError(
            f"the volume {volume} cannot be used ({error.strerror or error}); check the disk and the directory's owner"
        ) from error


@contextmanager
def hold_volume(volume: Path) -> Iterator[None]:
    """Keep every other process away from a volume's directory.

    Raises:
        VolumeInUseError: another process has it.
        VolumeFailedError: the lock file cannot be made.
    """
    with ExitStack() as held:
        with using(volume):
            try:
                held.enter_context(exclusive_lock(volume / LOCK))
            except AlreadyLockedError as error:
                raise VolumeInUseError(
                    f"another process uses the volume {volume}; stop it, or give this node a directory of its own"
                ) from error
        yield


def is_empty(volume: Path) -> bool:
    """Whether nobody's files lie in the directory, or it does not exist."""
    return not volume.exists() or all(entry.name in _NOT_CONTENT for entry in volume.iterdir())


def chunk_path(volume: Path, digest: bytes) -> Path:
    """Where a chunk lies."""
    name = digest.hex()
    return volume / CHUNKS / name[:2] / name


def prefix_path(volume: Path, prefix: int) -> Path:
    """The directory of all chunks whose digest begins with the byte `prefix`."""
    return volume / CHUNKS / f"{prefix:02x}"


def prefix_paths(volume: Path) -> list[str]:
    """All 256 of them, in order, as text: a start goes through them several times."""
    chunks = volume / CHUNKS
    return [f"{chunks}/{prefix:02x}" for prefix in range(256)]


def make_chunk_directories(volume: Path) -> None:
    """Make what is missing of the 256 directories, durably."""
    chunks = volume / CHUNKS
    chunks.mkdir(mode=0o700, exist_ok=True)
    for path in prefix_paths(volume):
        with suppress(FileExistsError):
            os.mkdir(path, mode=0o700)  # noqa: PTH102 - a third of the time of the same by Path
    fsync_directory(chunks)
    fsync_directory(volume)


def clean_chunks(volume: Path, disk: Disk) -> int:
    """Remove the temporary files that a crash left, and damaged ones set aside; returns the bytes of all chunk files.

    Raises:
        OSError: the volume cannot be used.
    """
    used = removed = 0
    for path in prefix_paths(volume):
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    log.warning("%s is a directory where only chunks are; it is left alone", entry.path)
                elif entry.name.endswith((TEMPORARY_SUFFIX, DAMAGED_SUFFIX)):
                    disk.unlink(Path(entry.path))
                    removed += 1
                elif digest_from_name(entry.name) is None:
                    log.warning("%s is not a chunk; it is left alone", entry.path)
                else:
                    used += entry.stat().st_size
    if removed:
        log.info("removed %d unfinished chunks of an earlier run", removed)
    return used


def filesystem_id(volume: Path) -> str:
    """The same text for all volumes that share one file system, on this machine until it restarts.

    Containers of one machine share the kernel's boot id, and a device number is unique under one kernel.
    """
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        kernel = os.uname().nodename
    return f"{kernel}:{volume.stat().st_dev}"
