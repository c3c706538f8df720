"""A walk over a local directory tree: what can be stored, what is skipped and what is refused."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

import msgspec

from dfs_client.local_errors import from_os_error
from dfs_client.remote_paths import is_utf8, join
from dfs_wire.errors import DfsError, UsageError

#: What a file system holds besides files and directories, in the words of a warning.
_SPECIAL_KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class LocalItem(NamedTuple):
    """A file or directory. `relative` is its path below the root, empty for the root; `size` in bytes."""

    #: Text: there may be a million of them, and a `Path` costs as much as all else here.
    path: str
    relative: str
    size: int
    mtime_ns: int
    mode: int


class Skipped(msgspec.Struct, frozen=True):
    """Something that is neither a file nor a directory. `what` is a word for people."""

    path: Path
    relative: str
    what: str


class Refused(msgspec.Struct, frozen=True):
    """Something that should be stored and cannot be."""

    path: Path
    relative: str
    error: DfsError


class LocalTree(msgspec.Struct):
    """All that a walk found, parents before children, by name."""

    directories: list[LocalItem] = []
    files: list[LocalItem] = []
    skipped: list[Skipped] = []
    refused: list[Refused] = []


def scan(root: Path) -> LocalTree:
    """Walk the directory `root`, itself included. Symbolic links are not followed, except `root`.

    What cannot be read is refused in the result; only a root that cannot be looked at raises.

    Raises:
        DfsError: the root does not exist or may not be looked at.
    """
    tree = LocalTree()
    try:
        tree.directories.append(_item(str(root), "", root.stat()))
    except OSError as error:
        raise from_os_error(error) from error
    waiting = [tree.directories[0]]
    while waiting:
        waiting.extend(reversed(_scan_directory(waiting.pop(), tree)))
    return tree


def special_kind(mode: int) -> str | None:
    """What a file's mode says it is, where it is neither a file nor a directory."""
    return _SPECIAL_KINDS.get(stat.S_IFMT(mode))


def _scan_directory(directory: LocalItem, tree: LocalTree) -> list[LocalItem]:
    """Put the children of one directory into the tree and return those that are directories."""
    try:
        with os.scandir(directory.path) as listing:
            found = sorted(listing, key=lambda child: child.name)
    except OSError as error:
        tree.refused.append(Refused(Path(directory.path), directory.relative, from_os_error(error)))
        return []
    below: list[LocalItem] = []
    for child in found:
        relative = join(directory.relative, child.name) if directory.relative else child.name
        try:
            status = child.stat(follow_symlinks=False)
        except OSError as error:
            tree.refused.append(Refused(Path(child.path), relative, from_os_error(error)))
            continue
        what = special_kind(status.st_mode)
        if what is not None:
            tree.skipped.append(Skipped(Path(child.path), relative, what))
        elif not is_utf8(child.name):
            tree.refused.append(Refused(Path(child.path), relative, not_utf8()))
        elif stat.S_ISDIR(status.st_mode):
            below.append(_item(child.path, relative, status))
        else:
            tree.files.append(_item(child.path, relative, status))
    tree.directories.extend(below)
    return below


def not_utf8() -> UsageError:
    """The refusal of a local name that has no remote spelling."""
    return UsageError("the name is not UTF-8; rename it")


def _item(path: str, relative: str, status: os.stat_result) -> LocalItem:
    return LocalItem(path, relative, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode))
