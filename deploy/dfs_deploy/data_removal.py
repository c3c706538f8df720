"""Delete what roles stored on this machine: under no process that uses it, and so that doing it again finishes it.

A disk of its own, mounted or linked to, may hold more than ours: there only what a role made goes, and the directory
stays.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from dfs_runtime.files import TEMPORARY_SUFFIX, AlreadyLockedError, exclusive_lock, fsync_directory
from dfs_wire.errors import ConflictError

LOCK_FILE = "lock"
#: What a master and a node have in their directories, as patterns.
MASTER_FILES = ("metadata.db*", "master.key", "join-token", LOCK_FILE, f".*{TEMPORARY_SUFFIX}")
VOLUME_FILES = ("chunks", "failed", "identity", "journal", "scrub", "verified", LOCK_FILE, f".*{TEMPORARY_SUFFIX}")
_MADE_BY_MKFS = "lost+found"
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Storage:
    """The directory of one role, and patterns of what the role makes there."""

    directory: Path
    files: tuple[str, ...]

    @property
    def lock(self) -> Path:
        """Held by the role for as long as it runs."""
        return self.directory / LOCK_FILE


@contextmanager
def unused(storages: Iterable[Storage]) -> Iterator[None]:
    """Keep every role away from its directory for as long as the block runs.

    Raises:
        ConflictError: one of them runs, whatever `dfs` knows of it.
    """
    with ExitStack() as held:
        for storage in storages:
            try:
                if storage.lock.is_file():
                    held.enter_context(exclusive_lock(storage.lock))
            except AlreadyLockedError as error:
                raise ConflictError(
                    f"A process still uses {storage.directory}, so nothing is deleted; end it, and try again "
                    f"(`fuser {storage.lock}` names it)."
                ) from error
            except OSError:
                continue  # A disk that is broken has no running role; what cannot be deleted there is said later.
        yield


def mount_points(table: Path = Path("/proc/self/mountinfo")) -> frozenset[Path]:
    """Where something is mounted, bind mounts of one file system too."""
    found = (line.split(" ")[4] for line in os.fsdecode(table.read_bytes()).splitlines())
    return frozenset(Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), name)) for name in found)


def empty_disk(storage: Storage, mounts: frozenset[Path]) -> Path | None:
    """Delete what a role made on a disk of its own; the directory, which stays. None where it has no disk of its own.

    Raises:
        OSError: something cannot be deleted.
    """
    place = storage.directory.resolve()
    linked = storage.directory.is_symlink() or storage.directory.parent.is_symlink()
    if not place.is_dir() or not (linked or place in mounts):
        return None
    for entry in place.iterdir():
        if any(fnmatchcase(entry.name, pattern) for pattern in storage.files):
            delete(entry, mounts)
    fsync_directory(place)
    return place


def delete(path: Path, mounts: frozenset[Path]) -> list[Path]:
    """Delete a file or a directory with all below it; the mount points in it, which stay as they are.

    Raises:
        OSError: something cannot be deleted.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return []
    place = path.resolve()
    if place in mounts:
        return [place]
    if not any(mount.is_relative_to(place) for mount in mounts):
        shutil.rmtree(path)
        return []
    return [mount for entry in path.iterdir() for mount in delete(entry, mounts)]


def left_sentence(place: Path) -> str:
    """What is said of a directory that stays."""
    names = sorted(entry.name for entry in place.iterdir() if entry.name != _MADE_BY_MKFS)
    if not names:
        return f"The directory {place} stays, and is empty: it is a mount point, or a link leads to it."
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    return f"The directory {place} stays with what dfs did not make there: {shown}."
