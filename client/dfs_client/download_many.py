"""Many files at once: each pack is fetched once and cut into its files, each large file goes with all workers.

The calling thread writes the small files, tasks only fetch: at two cores the interpreter's lock makes several writers
slower than one. While a batch is written, the next one is opened and its packs are fetched.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.download import download_file
from dfs_client.engine import Engine
from dfs_client.opened_batch import OpenedBatch, OpenedPack, Slice, open_batch
from dfs_client.packing import PACK_BYTES_MAX
from dfs_client.small_files import SmallFiles
from dfs_client.spans import Span, spans_of
from dfs_client.types import Downloaded, DownloadResult, LocalPath, Progress, ProgressEvent
from dfs_wire.errors import (
    BusyError,
    CorruptError,
    DfsError,
    NotAllowedError,
    TooLargeError,
    UnavailableError,
    VersionGoneError,
)
from dfs_wire.limits import BATCH_PATHS_MAX, CHUNK_BYTES_DEFAULT
from dfs_wire.messages import Entry, FileWanted, OpenedFile
from dfs_wire.paths import split_path

#: A file of more than one chunk gains from fetching its chunks side by side.
LARGE_BYTES = CHUNK_BYTES_DEFAULT
#: Bytes of packs that are fetched ahead of what is written.
AHEAD_BYTES_MAX = 4 * PACK_BYTES_MAX
#: Files that are opened together. A pack whose files lie far apart in the list is fetched once a batch, so later ones
#: are large; the first is small, so that something begins to come.
BATCH_FILES_MIN = BATCH_PATHS_MAX // 2
BATCH_FILES_MAX = 4 * BATCH_PATHS_MAX
ABORT_SECONDS = 2.0


@dataclass(slots=True)
class _Batch:
    """Consecutive files, with the result of each as it comes. `opened` is None where none of them is small."""

    files: list[tuple[Entry, LocalPath]]
    results: list[Downloaded | DfsError | None]
    #: The numbers of the files that are opened together, in the order of the request.
    small: list[int] = field(default_factory=list)
    opened: "Future[OpenedBatch] | None" = None
    #: The numbers of the files that are fetched one by one, with all workers.
    singly: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Fetch:
    """What is wanted of one pack, on its way into a buffer."""

    batch: _Batch
    opened: OpenedBatch
    slices: list[Slice]
    spans: list[Span]
    buffer: bytearray
    task: "Future[None]"


def download_many(
    engine: Engine, files: Iterable[tuple[Entry, LocalPath]], *, force: bool, progress: Progress | None
) -> Iterator[DownloadResult]:
    """Download files, in order; see `Dfs.download_many`."""
    run = _Run(engine, force=force, progress=progress)
    try:
        yield from run.results(files)
    finally:
        run.close()


class _Run:
    """One call of `download_many`. Used by one thread; its tasks touch nothing of it."""

    def __init__(self, engine: Engine, *, force: bool, progress: Progress | None) -> None:
        self._engine = engine
        self._force = force
        self._progress = progress
        self._writer = SmallFiles(force=force)
        self._cancellation = Cancellation()
        #: The master gives us nothing now: to ask again for every batch would take for ever.
        self._hopeless: DfsError | None = None
        self._fetches: deque[_Fetch] = deque()
        self._batch_files = BATCH_FILES_MIN

    def results(self, files: Iterable[tuple[Entry, LocalPath]]) -> Iterator[DownloadResult]:
        """A result for each file, in order."""
        source = iter(files)
        following = self._begin(source)
        while following is not None:
            batch, following = following, self._begin(source)
            self._fetch_small(batch)
            self._fetch_singly(batch)
            for (entry, target), result in zip(batch.files, batch.results, strict=True):
                yield self._result(entry, target, result)

    def close(self) -> None:
        """End what is still under way, for a caller that stopped early."""
        self._cancellation.cancel()
        wait([fetch.task for fetch in self._fetches], timeout=ABORT_SECONDS)
        for fetch in self._fetches:
            # A task that still writes keeps its buffer from being lent to another.
            fetch.task.add_done_callback(partial(_give_back, self._engine, fetch.buffer))

    # -- one batch -----------------------------------------------------------------------------------------------

    def _begin(self, source: Iterator[tuple[Entry, LocalPath]]) -> _Batch | None:
        """Take the next files and ask for the small ones."""
        files = list(islice(source, self._batch_files))
        self._batch_files = min(2 * self._batch_files, BATCH_FILES_MAX)
        if not files:
            return None
        batch = _Batch(files, [None] * len(files))
        wanted: list[FileWanted] = []
        for number, (entry, target) in enumerate(files):
            if entry.size > LARGE_BYTES:
                batch.singly.append(number)
                continue
            try:
                if not entry.version:
                    split_path(entry.path)
                self._writer.refuse_existing(target)
            except DfsError as error:
                batch.results[number] = error
                continue
            batch.small.append(number)
            wanted.append(FileWanted("" if entry.version else entry.path, entry.version))
        if wanted and self._hopeless is None:
            batch.opened = self._engine.executor.submit(
                partial(open_batch, self._engine.master, self._engine.clock, wanted)
            )
        return batch

    def _fetch_small(self, batch: _Batch) -> None:
        """Everything that was opened together; what the answer leaves out is left to be fetched singly."""
        opened = self._opened(batch)
        if opened is None:
            return
        for place, file in enumerate(opened.files):
            if isinstance(file, (TooLargeError, VersionGoneError)):
                # Several extents, or replaced since it was listed: then its current version is meant.
                batch.singly.append(batch.small[place])
            elif isinstance(file, DfsError):
                batch.results[batch.small[place]] = file
            elif not file.extents:
                self._write(batch, opened, place, memoryview(b""))
        batch.singly += [batch.small[place] for place in opened.apart]
        waiting = deque(opened.packs)
        while waiting or self._fetches:
            while waiting and self._start_fetch(batch, opened, *waiting[0]):
                waiting.popleft()
            self._finish_fetch()

    def _opened(self, batch: _Batch) -> OpenedBatch | None:
        error = self._hopeless
        if batch.opened is not None and error is None:
            try:
                return batch.opened.result()
            except DfsError as failure:
                error = failure
                if isinstance(error, (UnavailableError, NotAllowedError)) and not isinstance(error, BusyError):
                    self._hopeless = error
        for number in batch.small:
            batch.results[number] = error
        return None

    def _fetch_singly(self, batch: _Batch) -> None:
        for number in sorted(batch.singly):
            entry, target = batch.files[number]
            try:
                if self._hopeless is not None:
                    raise self._hopeless
                batch.results[number] = download_file(
                    self._engine,
                    entry.path,
                    Path(target),
                    force=self._force,
                    progress=self._progress,
                    executor=self._engine.executor,
                )
            except DfsError as error:
                # Whatever it is, it may be this file's own: its chunks without a node, its local name not allowed.
                batch.results[number] = error

    # -- one pack ------------------------------------------------------------------------------------------------

    def _start_fetch(self, batch: _Batch, opened: OpenedBatch, pack: OpenedPack, slices: list[Slice]) -> bool:
        """Begin to fetch what is wanted of a pack; False where it has to wait for others to be written."""
        spans = spans_of([(each.offset, each.length) for each in slices], pack.size)
        size = sum(span.length for span in spans)
        buffers = self._engine.buffers
        if not self._fetches:
            # Nothing is held here while we wait: see `BufferPool`.
            buffer = buffers.take(size)
        else:
            ahead = sum(len(fetch.buffer) for fetch in self._fetches)
            if len(self._fetches) >= 2 * self._engine.executor.width or ahead + size > AHEAD_BYTES_MAX:
                return False
            found = buffers.try_take(size)
            if found is None:
                return False
            buffer = found
        task = self._engine.executor.submit(partial(self._fetch, pack, spans, buffer))
        self._fetches.append(_Fetch(batch, opened, slices, spans, buffer, task))
        return True

    def _fetch(self, pack: OpenedPack, spans: list[Span], buffer: bytearray) -> None:
        """Bring verified bytes into the buffer, in a task."""
        view = memoryview(buffer)
        for span in spans:
            if span.length == pack.size:

                def sink(offset: int, data: memoryview) -> None:
                    view[offset : offset + len(data)] = data

                self._engine.fetcher.fetch_extent(pack, 0, sink, self._cancellation)
            else:
                data = self._engine.fetcher.fetch_range(pack, span.offset, span.length, self._cancellation)
                view[span.at : span.at + span.length] = data

    def _finish_fetch(self) -> None:
        """Wait for the oldest fetch, and write its files."""
        fetch = self._fetches[0]
        error: DfsError | None = None
        try:
            fetch.task.result()
        except DfsError as failure:
            error = failure
        self._fetches.popleft()
        batch = fetch.batch
        try:
            if isinstance(error, VersionGoneError):
                batch.singly += [batch.small[each.place] for each in fetch.slices]
            elif error is not None:
                for each in fetch.slices:
                    batch.results[batch.small[each.place]] = error
            else:
                self._write_all(fetch)
        finally:
            self._engine.buffers.give(fetch.buffer)

    def _write_all(self, fetch: _Fetch) -> None:
        view = memoryview(fetch.buffer)
        spans = iter(fetch.spans)
        span = next(spans)
        for each in sorted(fetch.slices, key=lambda each: each.offset):
            while each.offset >= span.offset + span.length:
                span = next(spans)
            begin = each.offset - span.offset + span.at
            self._write(fetch.batch, fetch.opened, each.place, view[begin : begin + each.length])

    def _write(self, batch: _Batch, opened: OpenedBatch, place: int, data: memoryview) -> None:
        number, file = batch.small[place], opened.files[place]
        entry, target = batch.files[number]
        if isinstance(file, OpenedFile):
            try:
                batch.results[number] = self._write_file(entry, file, target, data)
            except DfsError as error:
                batch.results[number] = error

    def _write_file(self, entry: Entry, file: OpenedFile, target: LocalPath, data: memoryview) -> Downloaded:
        # The chunk is right; this holds the catalog to its word about what lies where in it.
        if blake3(data).digest() != file.digest:
            raise CorruptError(f"the content of {entry.path} has another digest than was stored; see `dfs status`")
        self._writer.write(target, data, mode=file.mode, mtime_ns=file.mtime_ns)
        return Downloaded(entry.path, target, file.version, file.size, file.digest)

    # -- results -------------------------------------------------------------------------------------------------

    def _result(self, entry: Entry, target: LocalPath, result: Downloaded | DfsError | None) -> DownloadResult:
        if not isinstance(result, Downloaded):
            return DownloadResult(entry.path, target, error=result or _left_out(entry))
        if self._progress is not None and entry.size <= LARGE_BYTES:
            # Events come from this thread only, so a small file's events come together, when it is done.
            self._progress(ProgressEvent("start", entry.path, 0, result.size))
            self._progress(ProgressEvent("bytes", entry.path, result.size, result.size))
            self._progress(ProgressEvent("done", entry.path, result.size, result.size))
        return DownloadResult(entry.path, target, result)


def _give_back(engine: Engine, buffer: bytearray, _: object) -> None:
    engine.buffers.give(buffer)


def _left_out(entry: Entry) -> DfsError:
    return CorruptError(f"the master's answer left out {entry.path}; see `dfs status`")
