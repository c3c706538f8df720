"""The two trees of a sync as they are read: a local one and one of the store."""

import os
import stat
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfs_client.local_errors import from_os_error
from dfs_client.local_tree import LocalItem, LocalTree, scan
from dfs_client.remote_paths import join
from dfs_client.remote_tree import entries_below, entries_named, remote_kind
from dfs_client.sync import SyncItem
from dfs_wire.errors import NotFoundError, WrongKindError
from dfs_wire.messages import Entry, EntryKind

if TYPE_CHECKING:
    from dfs_client.api import Dfs

#: How much of a local file is hashed at a time, in bytes.
_HASH_BYTES = 1024 * 1024


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

    def look(self, tops: Collection[str]) -> dict[str, SyncItem]:
        """What stands at and below these names now; what cannot be read or stored has no kind.

        Raises:
            DfsError: one of them may not be looked at.
        """
        found: dict[str, SyncItem] = {}
        for top in tops:
            try:
                status = self.path(top).lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise from_os_error(error) from error
            found[top] = SyncItem(top, _kind(status.st_mode), status.st_size, status.st_mtime_ns, status.st_mode)
            if found[top].kind is EntryKind.DIRECTORY:
                below = LocalSide(self.path(top), must_exist=True)
                found.update((join(top, relative), item) for relative, item in below.items().items())
                for refused in below.tree.refused:
                    relative = join(top, refused.relative)
                    found[relative] = SyncItem(relative, None, 0, 0, 0)
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
        self._dfs = dfs
        self.root = root
        self.entries: dict[str, Entry] = {}
        if kind is not None:
            self.entries = dict(entries_below(dfs, root) if names is None else entries_named(dfs, root, names))

    def items(self) -> dict[str, SyncItem]:
        """The tree as a table."""
        return {relative: _item(relative, entry) for relative, entry in self.entries.items()}

    def look(self, tops: Collection[str]) -> dict[str, SyncItem]:
        """What stands at and below these names now.

        Raises:
            DfsError: the store does not say.
        """
        found: dict[str, SyncItem] = {}
        for top, entry in entries_named(self._dfs, self.root, list(tops)):
            found[top] = _item(top, entry)
            if entry.kind is EntryKind.DIRECTORY:
                for below, child in entries_below(self._dfs, self.path(top)):
                    found[join(top, below)] = _item(join(top, below), child)
        return found

    def path(self, relative: str) -> str:
        """The remote path of an item."""
        return join(self.root, relative)


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


def _item(relative: str, entry: Entry) -> SyncItem:
    return SyncItem(relative, entry.kind, entry.size, entry.mtime_ns, entry.mode)


def _kind(mode: int) -> EntryKind | None:
    return EntryKind.DIRECTORY if stat.S_ISDIR(mode) else EntryKind.FILE if stat.S_ISREG(mode) else None
