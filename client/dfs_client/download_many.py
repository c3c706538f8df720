"""Many files at once: small ones side by side, each large one with all workers."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from dfs_client.download import download_file
from dfs_client.engine import Engine
from dfs_client.executors import SerialExecutor
from dfs_client.types import Downloaded, DownloadResult, Progress, ProgressEvent
from dfs_wire.errors import DfsError
from dfs_wire.limits import CHUNK_BYTES_DEFAULT
from dfs_wire.messages import Entry

#: A file of more than one chunk gains from fetching its chunks side by side.
LARGE_BYTES = CHUNK_BYTES_DEFAULT


def download_many(
    engine: Engine, files: Iterable[tuple[Entry, Path]], *, force: bool, progress: Progress | None
) -> Iterator[DownloadResult]:
    """Download files, in order; see `Dfs.download_many`."""
    ahead: deque[tuple[Entry, Path, Future[Downloaded]]] = deque()
    try:
        for entry, target in files:
            if entry.size > LARGE_BYTES:
                yield from _results(ahead, 0, progress)
                yield _large(engine, entry, target, force=force, progress=progress)
                continue
            task = partial(_small, engine, entry.path, target, force=force)
            ahead.append((entry, target, engine.executor.submit(task)))
            yield from _results(ahead, 4 * engine.executor.width, progress)
        yield from _results(ahead, 0, progress)
    finally:
        for _, _, waiting in ahead:
            waiting.cancel()


def _results(
    ahead: "deque[tuple[Entry, Path, Future[Downloaded]]]", keep: int, progress: Progress | None
) -> Iterator[DownloadResult]:
    """What is done, in order, until at most `keep` are left under way."""
    while len(ahead) > keep:
        entry, target, task = ahead.popleft()
        try:
            downloaded = task.result()
        except DfsError as error:
            yield DownloadResult(entry.path, target, error=error)
            continue
        if progress is not None:
            # Events come from this thread only, so a small file's events come together, when it is done.
            for kind in ("start", "bytes", "done"):
                done = 0 if kind == "start" else downloaded.size
                progress(ProgressEvent(kind, entry.path, done, downloaded.size))
        yield DownloadResult(entry.path, target, downloaded)


def _small(engine: Engine, path: str, target: Path, *, force: bool) -> Downloaded:
    # A task never waits for another one: its own chunk is fetched in this thread.
    return download_file(engine, path, target, force=force, progress=None, executor=SerialExecutor())


def _large(engine: Engine, entry: Entry, target: Path, *, force: bool, progress: Progress | None) -> DownloadResult:
    try:
        done = download_file(engine, entry.path, target, force=force, progress=progress, executor=engine.executor)
    except DfsError as error:
        return DownloadResult(entry.path, target, error=error)
    return DownloadResult(entry.path, target, done)
