"""Many files at once: small ones in packs that are stored and committed together, each large one with all workers.

The calling thread reads and hashes: at two cores the interpreter's lock makes several readers slower than one. Each
pack that is full goes to a task, which plans, sends and commits it; a few are under way together.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.committing import Pending, commit_files, copies_asked
from dfs_client.engine import Engine
from dfs_client.packing import Fit, Pack, PackedFile, new_buffer
from dfs_client.sending import Chunk
from dfs_client.types import LocalPath, Progress, ProgressEvent, UploadResult
from dfs_client.upload import expectation, upload_file
from dfs_wire.errors import BusyError, DfsError, NotAllowedError, TooFewNodesError, UnavailableError
from dfs_wire.messages import ChunkWanted, WriteTicket
from dfs_wire.paths import split_path

#: Packs that are stored and committed while the next one is read.
PACKS_UNDER_WAY_MAX = 3
ABORT_SECONDS = 2.0


def upload_many(
    engine: Engine, files: Iterable[tuple[LocalPath, str]], *, clobber: bool, progress: Progress | None
) -> Iterator[UploadResult]:
    """Store files, in packs; see `Dfs.upload_many`."""
    run = _Run(engine, clobber=clobber, progress=progress)
    try:
        yield from run.results(files)
    finally:
        run.close()


class _Run:
    """One call of `upload_many`. Used by one thread; what its tasks share is said below."""

    def __init__(self, engine: Engine, *, clobber: bool, progress: Progress | None) -> None:
        self._engine = engine
        self._clobber = clobber
        self._progress = progress
        self._ledger = engine.open_ledger()
        self._cancellation = Cancellation()
        #: The cluster takes nothing from us now: to ask again for every pack would take for ever. Set by tasks.
        self._hopeless: DfsError | None = None
        #: Directories whose policy asks for more than a plan knew, with the copies. Written by tasks, item by item.
        self._demanding: dict[str, int] = {}
        #: Directories whose policy asks for more copies than nodes can take: asked once each. Written as above.
        self._unmet: dict[str, TooFewNodesError] = {}
        self._under_way: deque[tuple[Pack, Future[None]]] = deque()
        self._spare: list[bytearray] = []
        self._pack = Pack(new_buffer())

    def results(self, files: Iterable[tuple[LocalPath, str]]) -> Iterator[UploadResult]:
        """A result for each file: small ones in order, large ones between them."""
        for source, path in files:
            fit = self._offer(source, path)
            if fit is Fit.FULL:
                yield from self._advance()
                fit = self._offer(source, path)
            if fit is Fit.LARGE:
                yield self._upload_large(source, path)
        yield from self._advance()
        yield from self._finish_until(0)

    def close(self) -> None:
        """End what is still under way, for a caller that stopped early."""
        self._cancellation.cancel()
        wait([task for _, task in self._under_way], timeout=ABORT_SECONDS)
        self._ledger.close()

    def _offer(self, source: LocalPath, path: str) -> Fit:
        try:
            split_path(path)
        except DfsError as error:
            self._pack.refuse(source, path, error)
            return Fit.TAKEN
        return self._pack.add(source, path)

    def _upload_large(self, source: LocalPath, path: str) -> UploadResult:
        if error := self._hopeless or self._unmet.get(_directory(path)):
            return UploadResult(source, path, error=error)
        try:
            done = upload_file(self._engine, Path(source), path, clobber=self._clobber, progress=self._progress)
        except DfsError as error:
            if isinstance(error, TooFewNodesError):
                self._unmet[_directory(path)] = error
            self._lose_hope(error)
            return UploadResult(source, path, error=error)
        return UploadResult(source, path, done)

    def _advance(self) -> Iterator[UploadResult]:
        """Hand the pack over to a task, and take the results of the oldest."""
        pack = self._pack
        # Packs under way give their bytes back by themselves, and this one is not counted yet: waiting is safe here.
        self._engine.buffers.reserve(pack.size)
        self._under_way.append((pack, self._engine.executor.submit(partial(self._store, pack))))
        yield from self._finish_until(PACKS_UNDER_WAY_MAX - 1)
        self._pack = Pack(self._spare.pop() if self._spare else new_buffer())

    def _finish_until(self, keep: int) -> Iterator[UploadResult]:
        while len(self._under_way) > keep:
            pack, task = self._under_way[0]
            task.result()
            self._under_way.popleft()
            self._spare.append(pack.buffer)
            for file in pack.files:
                self._tell(file)
                yield file.result(sent=pack.sent)

    # -- in a task -----------------------------------------------------------------------------------------------

    def _store(self, pack: Pack) -> None:
        """Send a pack and make its files visible; what goes wrong ends its files, not the task."""
        try:
            if self._hopeless is not None:
                raise self._hopeless
            self._cancellation.check()
            digest = blake3(pack.content).digest()
            if pack.size:
                self._send(pack, digest)
            self._commit(pack, digest)
        except DfsError as error:
            self._lose_hope(error)
            pack.end(error)
        finally:
            self._engine.buffers.release(pack.size)

    def _send(self, pack: Pack, digest: bytes) -> None:
        while (found := self._plan(pack, digest)) is not None and found[1] is not None:
            path, ticket = found
            pack.sent = True
            try:
                self._engine.sender.send(path, Chunk(digest, pack.content), ticket, self._ledger, self._cancellation)
            except TooFewNodesError as error:
                # A node went away meanwhile; others may ask for fewer copies.
                self._unmet[_directory(path)] = error
            else:
                return

    def _plan(self, pack: Pack, digest: bytes) -> tuple[str, WriteTicket | None] | None:
        """Plan under the policy of the file that asks for most, as far as that is known; None if all are refused.

        Where another file's policy asks for more, the commit says so and the pack is mended.
        """
        wanted = [ChunkWanted(digest, pack.size)]
        self._end_unmet(pack)
        while asking := [file for file in pack.alive() if file.size]:
            file = max(asking, key=lambda each: self._demanding.get(_directory(each.path), 0))
            try:
                return file.path, self._engine.sender.plan(file.path, wanted, self._ledger)[digest]
            except TooFewNodesError as error:
                self._unmet[_directory(file.path)] = error
                self._end_unmet(pack)
            except DfsError as error:
                if self._lose_hope(error):
                    raise
                # The path was refused, which says nothing about the others.
                file.error = error
        return None

    def _commit(self, pack: Pack, digest: bytes) -> None:
        files = pack.alive()
        if not files:
            return
        content = pack.content
        pending = [Pending(commit, pack=content) for commit in pack.commits(digest, expectation(self._clobber))]
        results = commit_files(self._engine, pending, self._ledger, self._cancellation, on_refused=self._learn)
        for file, result in zip(files, results, strict=True):
            if isinstance(result, DfsError):
                file.error = result
            else:
                file.version = result

    def _learn(self, path: str, error: DfsError) -> None:
        """Remember who asks for more copies: the next plan goes under that policy at once."""
        if copies := copies_asked(error):
            self._demanding[_directory(path)] = copies

    def _end_unmet(self, pack: Pack) -> None:
        """End the files whose directory's policy cannot be met. An empty one needs no node."""
        if self._unmet:
            for file in pack.alive():
                if file.size:
                    file.error = self._unmet.get(_directory(file.path))

    def _lose_hope(self, error: DfsError) -> bool:
        """Whether the error speaks of the cluster rather than of one file; then the rest ends with it too.

        Too few nodes speaks of one policy, as busy does of one moment.
        """
        if isinstance(error, UnavailableError | NotAllowedError) and not isinstance(
            error, BusyError | TooFewNodesError
        ):
            self._hopeless = error
            return True
        return False

    def _tell(self, file: PackedFile) -> None:
        """A small file's events come together, when it is done."""
        if self._progress is not None and file.error is None:
            self._progress(ProgressEvent("start", file.path, 0, file.size))
            self._progress(ProgressEvent("bytes", file.path, file.size, file.size))
            self._progress(ProgressEvent("done", file.path, file.size, file.size))


def _directory(path: str) -> str:
    return path.rpartition("/")[0]
