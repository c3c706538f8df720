"""What the store holds at and below a path, as commands ask for it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dfs_client.remote_paths import ROOT, join, relative_to
from dfs_wire.errors import ConflictError, DfsError, NotFoundError, UsageError, WrongKindError
from dfs_wire.messages import DirectorySpec, Entry, EntryKind
from dfs_wire.paths import split_path

if TYPE_CHECKING:
    from dfs_client.api import Dfs


def remote_kind(dfs: "Dfs", path: str) -> EntryKind | None:
    """What stands at a path, None for nothing. The root needs no question."""
    if path == ROOT:
        return EntryKind.DIRECTORY
    try:
        return dfs.stat(path).entry.kind
    except NotFoundError:
        return None


def entries_below(dfs: "Dfs", root: str) -> list[tuple[str, Entry]]:
    """Everything below a directory, parents first, each with its path relative to it; the directory itself not.

    Raises:
        UsageError: the answer holds a path that could lead out of a local directory, such as one with `..` or `//`.
    """
    found = []
    for entry in dfs.walk(root):
        if "/." in entry.path or "//" in entry.path or not entry.path.isprintable():
            # What is not suspicious cannot lead anywhere else, and the check costs as much as the entry.
            _require_exact(entry.path)
        relative = relative_to(entry.path, root)
        if relative:
            found.append((relative, entry))
    return found


def _require_exact(path: str) -> None:
    """Refuse what no store says: what is left of `/a//b` below `/a` would be an absolute path of this machine."""
    if ROOT + "/".join(split_path(path)) != path:
        raise UsageError(f"the store answered with the path {path!r}, which has an empty name; see 'dfs fsck'")


def entries_named(dfs: "Dfs", root: str, names: Sequence[str]) -> list[tuple[str, Entry]]:
    """Those of the names below a directory that exist, each with its path relative to it. Below a file is nothing.

    Raises:
        DfsError: one of them could not be looked up.
    """
    found: list[tuple[str, Entry]] = []
    for relative, entry in zip(names, dfs.stat_many([join(root, each) for each in names]), strict=True):
        if isinstance(entry, Entry):
            found.append((relative, entry))
        elif not isinstance(entry, (NotFoundError, WrongKindError)):
            raise entry
    return found


def make_each(dfs: "Dfs", specs: Sequence[DirectorySpec]) -> Iterator[tuple[str, DfsError | None]]:
    """Make directories, or set the mode and time of those that exist; each path with its error, if any."""
    failure: DfsError | None = None
    try:
        dfs.make_directories(list(specs))
    except (ConflictError, UsageError):
        # One of them cannot be made, the others can: ask one by one which it is.
        for spec in specs:
            yield spec.path, _make_one(dfs, spec)
        return
    except DfsError as error:
        failure = error
    for spec in specs:
        yield spec.path, failure


def _make_one(dfs: "Dfs", spec: DirectorySpec) -> DfsError | None:
    try:
        dfs.make_directories([spec])
    except DfsError as error:
        return error
    return None
