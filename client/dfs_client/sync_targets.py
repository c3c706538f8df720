"""The two sides that a sync can change: the store (`Up`) and a local tree (`Down`)."""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from dfs_client.batch import needed_error
from dfs_client.local_errors import from_os_error
from dfs_client.remote_paths import ROOT, join
from dfs_client.remote_tree import make_each
from dfs_client.sync import Tree
from dfs_client.sync_sides import LocalSide, RemoteSide
from dfs_wire.errors import AlreadyExistsError, DfsError, NotFoundError
from dfs_wire.messages import DirectorySpec

if TYPE_CHECKING:
    from dfs_client.api import Dfs
    from dfs_client.types import LocalPath, Progress

#: A relative path with the error that it met, None where it went well.
Result = tuple[str, DfsError | None]


#: Where what the source has goes: relative path in the source -> relative path in the target, the same for most.
Places = Mapping[str, str]


class Target(Protocol):
    """The side that is changed. All paths are relative to its root."""

    def make(self, places: Places) -> Iterator[Result]:
        """Make directories, parents first; also the root, where it is missing."""
        ...

    def copy(self, places: Places, progress: "Progress | None") -> Iterator[Result]:
        """Bring files over from the source, replacing what is there."""
        ...

    def look(self, tops: Collection[str]) -> Tree:
        """What stands at and below these names now.

        Raises:
            DfsError: that cannot be told.
        """
        ...

    def move(self, relative: str, new: str) -> None:
        """Give a file or a whole directory another name, which must be free.

        Raises:
            DfsError: it kept its name, or nobody knows.
        """
        ...

    def delete(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Remove files and whole directories. One that is gone already is no error."""
        ...

    def touch(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Give directories the time and mode that they have in the source."""
        ...


class Up:
    """Changes the store: the local tree is the source."""

    def __init__(self, dfs: "Dfs", local: LocalSide, remote: RemoteSide) -> None:
        self._dfs = dfs
        self._local = local
        self._remote = remote

    def make(self, places: Places) -> Iterator[Result]:
        """Make directories with their time and mode; also the root, where it is missing."""
        if self._remote.root != ROOT:
            self._dfs.make_directory(self._remote.root, parents=True, exist_ok=True)
        return self._send(places)

    def copy(self, places: Places, progress: "Progress | None") -> Iterator[Result]:
        """Upload files."""
        names = {self._remote.path(place): relative for relative, place in places.items()}
        wanted: list[tuple[LocalPath, str]] = [(self._local.item(each).path, path) for path, each in names.items()]
        for result in self._dfs.upload_many(wanted, progress=progress):
            yield names[result.path], None if result.ok else needed_error(result.error)

    def look(self, tops: Collection[str]) -> Tree:
        """What the store holds there now."""
        return self._remote.look(tops)

    def move(self, relative: str, new: str) -> None:
        """Rename in the store, in one step."""
        self._dfs.rename(self._remote.path(relative), self._remote.path(new), clobber=False)

    def delete(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Remove names from the store."""
        names = {self._remote.path(relative): relative for relative in relatives}
        for path, error in self._dfs.remove_many(list(names), recursive=True):
            yield names[path], None if isinstance(error, NotFoundError) else error

    def touch(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Send directories with their time and mode."""
        return self._send({relative: relative for relative in relatives})

    def _send(self, places: Places) -> Iterator[Result]:
        items = [self._local.item(relative) for relative in places]
        paths = [self._remote.path(place) for place in places.values()]
        specs = [DirectorySpec(path, item.mode, item.mtime_ns) for item, path in zip(items, paths, strict=True)]
        for relative, (_, error) in zip(places, make_each(self._dfs, specs), strict=True):
            yield relative, error


class Down:
    """Changes the local tree: the store is the source."""

    def __init__(self, dfs: "Dfs", local: LocalSide, remote: RemoteSide) -> None:
        self._dfs = dfs
        self._local = local
        self._remote = remote

    def make(self, places: Places) -> Iterator[Result]:
        """Make local directories; also the root, where it is missing."""
        for relative, place in {"": "", **places}.items():
            try:
                self._local.path(place).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                yield relative, from_os_error(error)
            else:
                if relative:
                    yield relative, None

    def copy(self, places: Places, progress: "Progress | None") -> Iterator[Result]:
        """Download files."""
        root = str(self._local.root)
        names: dict[LocalPath, str] = {join(root, place): relative for relative, place in places.items()}
        wanted = [(self._remote.entries[relative], path) for path, relative in names.items()]
        for result in self._dfs.download_many(wanted, force=True, progress=progress):
            yield names[result.target], None if result.ok else needed_error(result.error)

    def look(self, tops: Collection[str]) -> Tree:
        """What is on the disk there now."""
        return self._local.look(tops)

    def move(self, relative: str, new: str) -> None:
        """Rename on the disk."""
        path, new_path = self._local.path(relative), self._local.path(new)
        if os.path.lexists(new_path):
            raise AlreadyExistsError(f"{new_path} exists on this machine by now; sync again")
        try:
            path.rename(new_path)
        except OSError as error:
            raise from_os_error(error) from error

    def delete(self, relatives: Sequence[str]) -> Iterator[Result]:
        """Remove local files and directories."""
        for relative in relatives:
            path = self._local.path(relative)
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            except FileNotFoundError:
                yield relative, None
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
