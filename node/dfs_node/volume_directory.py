"""A volume's directory: who may use it, what lies in it, and what a start does to it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfs_node.chunk_file import digest_from_name
from dfs_node.disk import Disk
from dfs_runtime.files import TEMPORARY_SUFFIX, AlreadyLockedError, exclusive_lock, fsync_directory
from dfs_wire.errors import VolumeInUseError

LOCK = "lock"
CHUNKS = "chunks"
#: What a fresh file system or a start that was refused may have left: a directory with only these is empty.
_NOT_CONTENT = frozenset({LOCK, "lost+found"})

_log = logging.getLogger(__name__)


@contextmanager
def hold_volume(volume: Path) -> Iterator[None]:
    """Keep every other process away from a volume's directory.

    Raises:
        VolumeInUseError: another process has it.
    """
    try:
        with exclusive_lock(volume / LOCK):
            yield
    except AlreadyLockedError as error:
        raise VolumeInUseError(
            f"another process uses the volume {volume}; stop it, or give this node a directory of its own"
        ) from error


def holds_something(volume: Path) -> bool:
    """Whether anybody's files lie in the directory."""
    return any(entry.name not in _NOT_CONTENT for entry in volume.iterdir())


def chunk_path(volume: Path, digest: bytes) -> Path:
    """Where a chunk lies."""
    name = digest.hex()
    return volume / CHUNKS / name[:2] / name


def prefix_path(volume: Path, prefix: int) -> Path:
    """The directory of all chunks whose digest begins with the byte `prefix`."""
    return volume / CHUNKS / f"{prefix:02x}"


def make_chunk_directories(volume: Path) -> None:
    """Make what is missing of the 256 directories, durably."""
    chunks = volume / CHUNKS
    chunks.mkdir(mode=0o700, exist_ok=True)
    for prefix in range(256):
        prefix_path(volume, prefix).mkdir(mode=0o700, exist_ok=True)
    fsync_directory(chunks)
    fsync_directory(volume)


def prepare_chunks(volume: Path, disk: Disk) -> int:
    """What a start does before it serves; returns the bytes of all chunk files.

    Temporary files are what a crash left. A file that a crash left between its rename and the directory's fsync
    becomes durable here, so that a later put may trust what it finds under a name.

    Raises:
        OSError: the volume cannot be used.
    """
    used = removed = 0
    for prefix in range(256):
        with os.scandir(prefix_path(volume, prefix)) as entries:
            for entry in entries:
                if entry.name.endswith(TEMPORARY_SUFFIX):
                    disk.unlink(Path(entry.path))
                    removed += 1
                elif digest_from_name(entry.name) is None:
                    _log.warning("%s is not a chunk; it is left alone", entry.path)
                else:
                    used += entry.stat().st_size
    disk.sync_filesystem(volume)
    if removed:
        _log.info("removed %d unfinished chunks of an earlier run", removed)
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
