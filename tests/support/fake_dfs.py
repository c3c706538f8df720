"""The client api in memory: what the commands call, without a cluster. Used from one thread."""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from dfs_client.local_errors import from_os_error
from dfs_client.types import (
    Downloaded,
    DownloadResult,
    FileStat,
    LocalPath,
    Progress,
    ProgressEvent,
    Uploaded,
    UploadResult,
)
from dfs_wire.errors import (
    AlreadyExistsError,
    DfsError,
    NotEmptyError,
    NotFoundError,
    WrongKindError,
)
from dfs_wire.messages import (
    ChunkInfo,
    Copy,
    DirectorySpec,
    Entry,
    EntryKind,
    ReplicaInfo,
    SpaceReply,
    UsageRow,
)
from dfs_wire.paths import split_path

COPIES = [Copy("node-1", "127.0.0.1:5001"), Copy("node-2", "127.0.0.1:5002")]
STREAM_TIME_NS = 1_700_000_000_000_000_000


#: Inside the class `list` is a method.
_Rows = list[UsageRow]


class FakeDfs:
    """A store of one user. `failures` gives the error of a path whose content cannot be moved."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {"/": _directory("/", 0o755, 0)}
        self.contents: dict[str, bytes] = {}
        self.failures: dict[str, BaseException] = {}
        self.policies: dict[str, int] = {}
        self.calls: list[tuple[str, object]] = []
        self.closed = False
        self._versions = 0

    # -- preparing and looking from a test ---------------------------------------------------------------------

    def put(self, path: str, content: bytes = b"", mtime_ns: int = STREAM_TIME_NS, mode: int = 0o644) -> None:
        """Store a file."""
        self._store(path, content, mtime_ns, mode)

    def paths(self) -> list[str]:
        """All paths but the root, by name."""
        return sorted(self.entries)[1:]

    # -- content -----------------------------------------------------------------------------------------------

    def upload(
        self, source: str | Path | BinaryIO, path: str, *, clobber: bool = True, progress: Progress | None = None
    ) -> Uploaded:
        """Store a file or what a stream holds."""
        self._fail(path)
        if isinstance(source, str | Path):
            source = Path(source)
            try:
                content, status = source.read_bytes(), source.stat()
            except OSError as error:
                raise from_os_error(error) from error
            mtime_ns, mode = status.st_mtime_ns, status.st_mode & 0o7777
        else:
            content, mtime_ns, mode = source.read(), STREAM_TIME_NS, 0o644
        if not clobber and path in self.entries:
            raise AlreadyExistsError(f"{path} exists; leave out --no-clobber to replace it")
        _tell(progress, path, len(content))
        return self._store(path, content, mtime_ns, mode)

    def upload_many(
        self, files: Iterable[tuple[LocalPath, str]], *, clobber: bool = True, progress: Progress | None = None
    ) -> Iterator[UploadResult]:
        """Store many; a failed one stops nothing."""
        for source, path in files:
            try:
                stored = self.upload(Path(source), path, clobber=clobber, progress=progress)
            except DfsError as error:
                yield UploadResult(source, path, error=error)
            else:
                yield UploadResult(source, path, uploaded=stored)

    def download(
        self, path: str, target: str | Path | BinaryIO, *, force: bool = False, progress: Progress | None = None
    ) -> Downloaded:
        """Fetch a file to a path or into a stream."""
        self._fail(path)
        entry = self._file(path)
        content = self.contents[path]
        if isinstance(target, str | Path):
            target = Path(target)
            if target.exists() and not force:
                raise AlreadyExistsError(f"{target} exists on this machine; replace it with --force")
            try:
                target.write_bytes(content)
                target.chmod(entry.mode)
            except OSError as error:
                raise from_os_error(error) from error
            _set_time(target, entry.mtime_ns)
        else:
            target.write(content)
        _tell(progress, path, len(content))
        where = target if isinstance(target, str | Path) else None
        return Downloaded(path, where, entry.version, entry.size, entry.digest)

    def download_many(
        self, files: Iterable[tuple[Entry, LocalPath]], *, force: bool = False, progress: Progress | None = None
    ) -> Iterator[DownloadResult]:
        """Fetch many; a failed one stops nothing."""
        for entry, target in files:
            try:
                fetched = self.download(entry.path, Path(target), force=force, progress=progress)
            except DfsError as error:
                yield DownloadResult(entry.path, target, error=error)
            else:
                yield DownloadResult(entry.path, target, downloaded=fetched)

    def open(self, path: str, mode: str = "rb") -> BinaryIO:
        """A file to read."""
        self.calls.append(("open", mode))
        self._file(path)
        return io.BytesIO(self.contents[path])

    # -- tree --------------------------------------------------------------------------------------------------

    def stat(self, path: str, *, chunks: bool = False) -> FileStat:
        """One entry."""
        entry = self._entry(path)
        infos: list[ChunkInfo] = []
        if chunks and entry.size:
            replicas = [ReplicaInfo(copy.node, copy.address, "good") for copy in COPIES]
            infos = [ChunkInfo(0, entry.digest, entry.size, 0, entry.size, replicas)]
        at = next((place for place in (path, *_parents(path)) if place in self.policies), "")
        return FileStat(entry, self.policies.get(at, 2), at, infos)

    def list(self, path: str, *, copies: bool = False) -> Iterator[Entry]:
        """The entries of a directory."""
        self.calls.append(("list", path))
        entry = self._entry(path)
        if entry.kind is EntryKind.FILE:
            yield self._shown(entry, copies)
            return
        for child in sorted(self.entries):
            if child != "/" and _parents(child)[0] == path:
                yield self._shown(self.entries[child], copies)

    def walk(self, path: str, *, copies: bool = False) -> Iterator[Entry]:
        """All entries below a directory, parents first."""
        self._entry(path)
        for found in sorted(self.entries, key=lambda each: each.split("/")):
            if path in _parents(found) or (found == path and found in self.contents):
                yield self._shown(self.entries[found], copies)

    def stat_many(self, paths: Iterable[str]) -> Iterator[Entry | DfsError]:
        """Each entry or its error."""
        for path in paths:
            try:
                yield self._entry(path)
            except DfsError as error:
                yield error

    def remove_many(self, paths: Iterable[str], *, recursive: bool = False) -> Iterator[tuple[str, DfsError | None]]:
        """Remove names; a failed one stops nothing."""
        for path in paths:
            try:
                self.remove(path, recursive=recursive)
            except DfsError as error:
                yield path, error
            else:
                yield path, None

    def make_directory(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make one directory."""
        if path in self.entries:
            if exist_ok and self.entries[path].kind is EntryKind.DIRECTORY:
                return
            raise AlreadyExistsError(f"{path} exists; choose another name")
        if not parents:
            self._entry(_parents(path)[0])
        self._parents_of(path)
        self.entries[path] = _directory(path, 0o755, STREAM_TIME_NS)

    def make_directories(self, specs: Iterable[DirectorySpec]) -> None:
        """Make directories; existing ones take mode and time."""
        for spec in specs:
            if spec.path in self.contents:
                raise WrongKindError(f"{spec.path} is a file; choose another name")
            self._parents_of(spec.path)
            self.entries[spec.path] = _directory(spec.path, spec.mode, spec.mtime_ns)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a name."""
        entry = self._entry(path)
        below = [each for each in self.entries if path in _parents(each)]
        if entry.kind is EntryKind.DIRECTORY and below and not recursive:
            raise NotEmptyError(f"{path} is not empty; add -r to remove it with all it holds")
        for each in (path, *below):
            del self.entries[each]
            self.contents.pop(each, None)

    def rename(self, source: str, target: str, *, clobber: bool = True) -> None:
        """Move a name and all below it."""
        self._entry(source)
        if target in self.entries and not clobber:
            raise AlreadyExistsError(f"{target} exists; leave out --no-clobber to replace it")
        self._entry(_parents(target)[0])
        for path in [each for each in self.entries if each == source or source in _parents(each)]:
            moved = target + path[len(source) :]
            entry = self.entries.pop(path)
            self.entries[moved] = _renamed(entry, moved)
            if path in self.contents:
                self.contents[moved] = self.contents.pop(path)

    def set_policy(self, path: str, copies: int) -> None:
        """Set or take away the policy of a directory."""
        self._entry(path)
        self.policies.pop(path, None)
        if copies:
            self.policies[path] = copies

    def disk_usage(self, path: str) -> _Rows:
        """Sums over a tree and its direct children."""
        children = [entry.path for entry in self.list(path) if entry.path != path]
        return [self._usage(each) for each in (path, *children)]

    def space(self) -> SpaceReply:
        """A cluster of three nodes."""
        return SpaceReply(capacity_bytes=3_000_000, used_bytes=1_048_576, free_bytes=1_951_424, nodes=3)

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    # -- inside ------------------------------------------------------------------------------------------------

    def _store(self, path: str, content: bytes, mtime_ns: int, mode: int) -> Uploaded:
        split_path(path)
        if path in self.entries and path not in self.contents:
            raise WrongKindError(f"{path} is a directory; name a file inside it")
        self._parents_of(path)
        self._versions += 1
        digest = blake3(content).digest()
        self.entries[path] = Entry(path, EntryKind.FILE, len(content), mtime_ns, mode, self._versions, digest)
        self.contents[path] = content
        return Uploaded(path, self._versions, len(content), digest, len(content))

    def _parents_of(self, path: str) -> None:
        for parent in _parents(path):
            if parent in self.contents:
                raise WrongKindError(f"{parent} is a file; choose another path")
            self.entries.setdefault(parent, _directory(parent, 0o755, STREAM_TIME_NS))

    def _entry(self, path: str) -> Entry:
        if any(parent in self.contents for parent in _parents(path)):
            raise WrongKindError(f"a part of {path} is a file; check the path")
        if path not in self.entries:
            raise NotFoundError(f"{path} does not exist; check the path")
        return self.entries[path]

    def _file(self, path: str) -> Entry:
        entry = self._entry(path)
        if entry.kind is EntryKind.DIRECTORY:
            raise WrongKindError(f"{path} is a directory; add -r")
        return entry

    def _fail(self, path: str) -> None:
        if path in self.failures:
            raise self.failures[path]

    def _shown(self, entry: Entry, copies: bool) -> Entry:
        if not copies or entry.kind is EntryKind.DIRECTORY:
            return entry
        return Entry(
            entry.path, entry.kind, entry.size, entry.mtime_ns, entry.mode, entry.version, entry.digest, COPIES
        )

    def _usage(self, path: str) -> UsageRow:
        below = [self.entries[each] for each in self.entries if each == path or path in _parents(each)]
        files = [entry for entry in below if entry.kind is EntryKind.FILE]
        return UsageRow(path, len(files), len(below) - len(files), sum(entry.size for entry in files))


def _directory(path: str, mode: int, mtime_ns: int) -> Entry:
    return Entry(path, EntryKind.DIRECTORY, 0, mtime_ns, mode, 0, b"")


def _renamed(entry: Entry, path: str) -> Entry:
    return Entry(path, entry.kind, entry.size, entry.mtime_ns, entry.mode, entry.version, entry.digest)


def _parents(path: str) -> list[str]:
    """The directories above a path, the nearest first."""
    found = []
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        found.append(path)
    return found


def _tell(progress: Callable[[ProgressEvent], None] | None, path: str, size: int) -> None:
    if progress is None:
        return
    progress(ProgressEvent("start", path, 0, size))
    progress(ProgressEvent("bytes", path, size, size))
    progress(ProgressEvent("done", path, size, size))


def _set_time(path: Path, mtime_ns: int) -> None:
    os.utime(path, ns=(mtime_ns, mtime_ns))
