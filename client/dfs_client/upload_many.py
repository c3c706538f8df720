"""Many files at once: small ones in groups that share plans and commits, each large one with all workers.

Two groups are under way together: while one is committed, the next one's chunks are sent.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.committing import Pending, commit_files
from dfs_client.engine import Engine
from dfs_client.local_files import mapping_os_errors
from dfs_client.sending import Chunk
from dfs_client.source import LocalSource, source_changed
from dfs_client.types import Progress, ProgressEvent, Uploaded, UploadResult
from dfs_client.upload import expectation, upload_file
from dfs_wire.errors import BusyError, DfsError, NotAllowedError, UnavailableError, WrongKindError
from dfs_wire.limits import CHUNK_BYTES_DEFAULT, MIB
from dfs_wire.messages import ChunkWanted, Extent, FileCommit, WriteTicket
from dfs_wire.paths import split_path

#: A larger file is uploaded on its own. Well under a chunk: a group holds all its files in memory.
SMALL_BYTES_MAX = 1 * MIB
GROUP_FILES_MAX = 256
GROUP_BYTES_MAX = 16 * MIB
ABORT_SECONDS = 2.0

if min(CHUNK_BYTES_DEFAULT, GROUP_BYTES_MAX) < SMALL_BYTES_MAX:
    raise ValueError("a small file must fit one chunk and one group")


@dataclass(slots=True)
class _Small:
    """A small file on its way: looked at, then read, sent, committed. `error` ends it at any step."""

    source: Path
    path: str
    size: int = 0
    digest: bytes = b""
    data: bytes = b""
    commit: FileCommit | None = None
    bytes_sent: int = 0
    version: int = 0
    error: DfsError | None = None

    def read_again(self, offset: int, length: int) -> bytes:
        """A piece of the file again; the caller compares its digest."""
        with mapping_os_errors(self.source), open(self.source, "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def result(self) -> UploadResult:
        """How it ended."""
        if self.error is not None:
            return UploadResult(self.source, self.path, error=self.error)
        uploaded = Uploaded(self.path, self.version, self.size, self.digest, self.bytes_sent)
        return UploadResult(self.source, self.path, uploaded)


@dataclass(slots=True)
class _Group:
    """Files that are planned and committed together, with the puts of their distinct chunks."""

    files: list[_Small]
    puts: "dict[bytes, Future[None]]" = field(default_factory=dict)
    put_bytes: int = 0

    def alive(self) -> list[_Small]:
        """Those that nothing has ended yet."""
        return [small for small in self.files if small.error is None]

    def end(self, error: DfsError) -> None:
        """End all that are left."""
        for small in self.alive():
            small.error = error


def upload_many(
    engine: Engine, files: Iterable[tuple[Path, str]], *, clobber: bool, progress: Progress | None
) -> Iterator[UploadResult]:
    """Store files, in groups; see `Dfs.upload_many`."""
    run = _Run(engine, clobber=clobber, progress=progress)
    try:
        yield from run.results(files)
    finally:
        run.close()


class _Run:
    """One call of `upload_many`. Used by one thread."""

    def __init__(self, engine: Engine, *, clobber: bool, progress: Progress | None) -> None:
        self._engine = engine
        self._clobber = clobber
        self._progress = progress
        self._ledger = engine.open_ledger()
        self._cancellation = Cancellation()
        #: The cluster takes nothing from us now: to ask again for every group would take for ever.
        self._hopeless: DfsError | None = None
        self._under_way: deque[_Group] = deque()

    def results(self, files: Iterable[tuple[Path, str]]) -> Iterator[UploadResult]:
        """A result for each file: small ones in order, large ones between them."""
        group: list[_Small] = []
        group_bytes = 0
        for source, path in files:
            small = _look_at(source, path)
            if small.size > SMALL_BYTES_MAX:
                yield self._upload_large(small)
                continue
            if len(group) == GROUP_FILES_MAX or group_bytes + small.size > GROUP_BYTES_MAX:
                yield from self._advance(group)
                group, group_bytes = [], 0
            group.append(small)
            group_bytes += small.size
        yield from self._advance(group)
        yield from self._finish_until(0)

    def close(self) -> None:
        """End what is still under way, for a caller that stopped early."""
        self._cancellation.cancel()
        for group in self._under_way:
            wait(group.puts.values(), timeout=ABORT_SECONDS)
        self._ledger.close()

    def _upload_large(self, large: _Small) -> UploadResult:
        if self._hopeless is not None:
            return UploadResult(large.source, large.path, error=self._hopeless)
        try:
            done = upload_file(self._engine, large.source, large.path, clobber=self._clobber, progress=self._progress)
        except DfsError as error:
            self._lose_hope(error)
            return UploadResult(large.source, large.path, error=error)
        return UploadResult(large.source, large.path, done)

    def _advance(self, files: list[_Small]) -> Iterator[UploadResult]:
        """Begin to send a group, then finish the one before it."""
        group = _Group(files)
        self._under_way.append(group)
        if self._hopeless is not None:
            group.end(self._hopeless)
        elif files:
            self._start(group)
        yield from self._finish_until(1)

    def _finish_until(self, keep: int) -> Iterator[UploadResult]:
        while len(self._under_way) > keep:
            group = self._under_way.popleft()
            try:
                self._commit(group)
            finally:
                # Not before: `close` waits for what is still sent when a commit is interrupted.
                wait(group.puts.values(), timeout=ABORT_SECONDS)
            for small in group.files:
                self._tell(small)
                yield small.result()

    def _start(self, group: _Group) -> None:
        """Read, plan, and begin to send."""
        total = sum(small.size for small in group.files)
        # The group before gives its bytes back by itself, so waiting here is safe: see `BufferPool`.
        self._engine.buffers.reserve(total)
        try:
            loads = [(small, self._engine.executor.submit(partial(self._load, small))) for small in group.alive()]
            for small, load in loads:
                try:
                    load.result()
                except DfsError as error:
                    small.error = error
            self._send(group)
        finally:
            self._engine.buffers.release(total - group.put_bytes)

    def _load(self, small: _Small) -> None:
        """Read and hash one file, in a task."""
        with LocalSource(small.source) as local:
            if not local.regular or local.size != small.size:
                raise source_changed(small.source)
            data = bytearray(small.size)
            local.check_unchanged(local.read_into(memoryview(data)))
        small.data = bytes(data)
        small.digest = blake3(data).digest()
        extents = [Extent(small.digest, small.size, 0, small.size)] if data else []
        expect = expectation(self._clobber)
        small.commit = FileCommit(small.path, expect, small.size, small.digest, local.mtime_ns, local.mode, extents)

    def _send(self, group: _Group) -> None:
        tickets = self._plan(group)
        for small in group.alive():
            ticket = tickets.get(small.digest)
            if ticket is not None and small.digest not in group.puts:
                chunk = Chunk(small.digest, memoryview(small.data))
                put = self._engine.executor.submit(partial(self._put, small.path, chunk, ticket))
                group.puts[small.digest] = put
                group.put_bytes += small.size
                small.bytes_sent = small.size
            small.data = b""

    def _put(self, path: str, chunk: Chunk, ticket: WriteTicket) -> None:
        """Send one chunk, in a task."""
        try:
            self._cancellation.check()
            self._engine.sender.send(path, chunk, ticket, self._ledger, self._cancellation)
        finally:
            self._engine.buffers.release(len(chunk.data))

    def _plan(self, group: _Group) -> dict[bytes, WriteTicket | None]:
        """One plan for the whole group, under the policy of its first file's directory.

        Where another file's policy asks for more, the commit says so and the file is mended on its own.
        """
        chunks = {small.digest: ChunkWanted(small.digest, small.size) for small in group.alive() if small.size}
        if not chunks:
            return {}
        path = next(small.path for small in group.alive() if small.size)
        try:
            return self._engine.sender.plan(path, list(chunks.values()), self._ledger)
        except DfsError as error:
            if self._lose_hope(error):
                group.end(error)
                return {}
        return self._plan_singly(group)

    def _plan_singly(self, group: _Group) -> dict[bytes, WriteTicket | None]:
        """The first file's path was refused: each file has to be judged by its own."""
        tickets: dict[bytes, WriteTicket | None] = {}
        for small in group.alive():
            if small.size and small.digest not in tickets:
                wanted = ChunkWanted(small.digest, small.size)
                try:
                    tickets.update(self._engine.sender.plan(small.path, [wanted], self._ledger))
                except DfsError as error:
                    small.error = error
        return tickets

    def _commit(self, group: _Group) -> None:
        """Wait for the group's chunks, then make its files visible."""
        failed: dict[bytes, DfsError] = {}
        for digest, put in group.puts.items():
            try:
                put.result()
            except DfsError as error:
                failed[digest] = error
        for small in group.alive():
            small.error = failed.get(small.digest)
        ready = [(small, small.commit) for small in group.alive() if small.commit is not None]
        if not ready:
            return
        pending = [Pending(commit, small.read_again) for small, commit in ready]
        try:
            results = commit_files(self._engine, pending, self._ledger, self._cancellation)
        except DfsError as error:
            self._lose_hope(error)
            group.end(error)
            return
        for (small, _), result in zip(ready, results, strict=True):
            if isinstance(result, DfsError):
                small.error = result
            else:
                small.version = result

    def _lose_hope(self, error: DfsError) -> bool:
        """Whether the error speaks of the cluster rather than of one file; then the rest ends with it too."""
        if isinstance(error, (UnavailableError, NotAllowedError)) and not isinstance(error, BusyError):
            self._hopeless = error
            return True
        return False

    def _tell(self, small: _Small) -> None:
        """A small file's events come together, when it is done."""
        if self._progress is not None and small.error is None:
            self._progress(ProgressEvent("start", small.path, 0, small.size))
            self._progress(ProgressEvent("bytes", small.path, small.size, small.size))
            self._progress(ProgressEvent("done", small.path, small.size, small.size))


def _look_at(source: Path, path: str) -> _Small:
    """Size and kind, before anything is read."""
    small = _Small(source, path)
    try:
        split_path(path)
        with mapping_os_errors(source):
            found = source.stat()
        if not stat.S_ISREG(found.st_mode):
            raise WrongKindError(f"{source} is not a regular file; leave it out")
        small.size = found.st_size
    except DfsError as error:
        small.error = error
    return small
