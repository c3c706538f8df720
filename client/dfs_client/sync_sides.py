"""The two directions of `sync`: how a tree is read and how a plan is carried out, up into the store or down from it."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dfs_client.batch import needed_error
from dfs_client.local_errors import from_os_error
from dfs_client.local_tree import LocalItem, LocalTree, scan
from dfs_client.remote_paths import ROOT, join
from dfs_client.remote_tree import entries_below, entries_named, make_each, remote_kind
from dfs_client.sync import SyncItem
from dfs_wire.errors import DfsError, NotFoundError, WrongKindError
from dfs_wire.messages import DirectorySpec, Entry, EntryKind

if TYPE_CHECKING:
    from dfs_client.api import Dfs
    from dfs_client.types import LocalPath, Progress

#: How much of a local file is hashed at a time, in bytes.
_HASH_BYTES = 1024 * 1024

#: A relative path with the error that it met, None where it went well.
Result = tuple[str, DfsError | None]


class Target(Protocol):
    """The side that is changed. All paths are relative to its root."""

    def make(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Make directories, parents first."""
        ...

    def copy(self, relatives: Sequence[str], progress: "Progress | None") -> Iterator[Result]:
        """Bring files over from the source, replacing what is there."""
        ...

    def delete(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Remove files and whole directories."""
        ...

    def touch(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Give directories the time and mode that they have in the source."""
        ...


class LocalSide:
    """A local tree as one side of a sync."""

    def __init__(self, root: Path, *, must_exist: bool) -> None:
        self.root = root
        self.tree = scan(root) if must_exist or os.path.lexists(root) else LocalTree()
        self._items: dict[str, LocalItem] = {
            item.relative: item for item in (*self.tree.directories, *self.tree.files) if item.relative
        }

    def items(self) -> dict[str, SyncItem]:
        """The tree as a table; what cannot be stored is in it without a kind."""
        found = {each.relative: SyncItem(each.relative, None, 0, 0, 0) for each in self.tree.skipped}
        for kind, items in ((EntryKind.DIRECTORY, self.tree.directories), (EntryKind.FILE, self.tree.files)):
            for item in items:
                if item.relative:
                    found[item.relative] = SyncItem(item.relative, kind, item.size, item.mtime_ns, item.mode)
        return found

    def path(self, relative: str) -> Path:
        """The local path of an item. Joined as text: to a `Path`, one that begins with `/` would be another root."""
        return Path(join(str(self.root), relative))

    def item(self, relative: str) -> LocalItem:
        """What the walk found there."""
        return self._items[relative]


class RemoteSide:
    """A remote tree as one side of a sync."""

    def __init__(self, dfs: "Dfs", root: str, *, must_exist: bool, names: Sequence[str] | None = None) -> None:
        """Look at the whole tree, or only at these names in it: what else is there must not cost anything then."""
        kind = remote_kind(dfs, root)
        if kind is EntryKind.FILE:
            raise WrongKindError(f"{root} is a file; sync works on directories")
        if kind is None and must_exist:
            raise NotFoundError(f"{root} does not exist; check the path with 'dfs-client list'")
        self.root = root
        self.entries: dict[str, Entry] = {}
        if kind is not None:
            self.entries = dict(entries_below(dfs, root) if names is None else entries_named(dfs, root, names))

    def items(self) -> dict[str, SyncItem]:
        """The tree as a table."""
        return {
            relative: SyncItem(relative, entry.kind, entry.size, entry.mtime_ns, entry.mode)
            for relative, entry in self.entries.items()
        }

    def path(self, relative: str) -> str:
        """The remote path of an item."""
        return join(self.root, relative)


class Up:
    """Changes the store: the local tree is the source."""

    def __init__(self, dfs: "Dfs", local: LocalSide, remote: RemoteSide) -> None:
        self._dfs = dfs
        self._local = local
        self._remote = remote

    def make(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Make directories with their time and mode; also the root, where it is missing."""
        if self._remote.root != ROOT:
            self._dfs.make_directory(self._remote.root, parents=True, exist_ok=True)
        return self.touch(relatives)

    def copy(self, relatives: Sequence[str], progress: "Progress | None") -> Iterator[Result]:
        """Upload files."""
        names = {self._remote.path(relative): relative for relative in relatives}
        wanted: list[tuple[LocalPath, str]] = [(self._local.item(each).path, path) for path, each in names.items()]
        for result in self._dfs.upload_many(wanted, progress=progress):
            yield names[result.path], None if result.ok else needed_error(result.error)

    def delete(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Remove names from the store."""
        names = {self._remote.path(relative): relative for relative in relatives}
        for path, error in self._dfs.remove_many(list(names), recursive=True):
            yield names[path], error

    def touch(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Send directories with their time and mode."""
        items = [self._local.item(relative) for relative in relatives]
        specs = [DirectorySpec(self._remote.path(item.relative), item.mode, item.mtime_ns) for item in items]
        for relative, (_, error) in zip(relatives, make_each(self._dfs, specs), strict=True):
            yield relative, error


class Down:
    """Changes the local tree: the store is the source."""

    def __init__(self, dfs: "Dfs", local: LocalSide, remote: RemoteSide) -> None:
        self._dfs = dfs
        self._local = local
        self._remote = remote

    def make(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Make local directories; also the root, where it is missing."""
        for relative in ("", *relatives):
            try:
                self._local.path(relative).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                yield relative, from_os_error(error)
            else:
                if relative:
                    yield relative, None

    def copy(self, relatives: Sequence[str], progress: "Progress | None") -> Iterator[Result]:
        """Download files."""
        names: dict[LocalPath, str] = {join(str(self._local.root), relative): relative for relative in relatives}
        wanted = [(self._remote.entries[relative], path) for path, relative in names.items()]
        for result in self._dfs.download_many(wanted, force=True, progress=progress):
            yield names[result.target], None if result.ok else needed_error(result.error)

    def delete(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Remove local files and directories."""
        for relative in relatives:
            path = self._local.path(relative)
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                yield relative, from_os_error(error)
            else:
                yield relative, None

    def touch(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Set the time and mode of local directories, the deepest first: a parent's mode may forbid the way."""
        for relative in reversed(relatives):
            entry, path = self._remote.entries[relative], self._local.path(relative)
            try:
                os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
                path.chmod(entry.mode & 0o7777)
            except OSError as error:
                yield relative, from_os_error(error)
            else:
                yield relative, None


def local_digest(path: Path) -> bytes:
    """The BLAKE3 of a local file.

    Raises:
        DfsError: it cannot be read.
    """
    from blake3 import blake3

    digest = blake3()
    try:
        with open(path, "rb") as stream:
            while data := stream.read(_HASH_BYTES):
                digest.update(data)
    except OSError as error:
        raise from_os_error(error) from error
    return digest.digest()
