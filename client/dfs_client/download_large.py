"""One version of many chunks to a local file, or any to a file object."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.engine import Engine
from dfs_client.executors import Executor
from dfs_client.file_objects import write_all
from dfs_client.local_files import mapping_os_errors
from dfs_client.meter import Meter
from dfs_client.opened import OpenedVersion
from dfs_client.target_file import TargetFile
from dfs_client.types import Downloaded, Progress
from dfs_wire.errors import CorruptError
from dfs_wire.messages import OpenExtent

#: How long a given-up download waits for its tasks to notice, in seconds.
ABORT_SECONDS = 2.0


def download_large(
    engine: Engine, opened: OpenedVersion, target: Path, *, force: bool, progress: Progress | None, executor: Executor
) -> Downloaded:
    """Give a version a place on the local disk, chunk by chunk; see `Dfs.download`.

    Every chunk is verified against its digest while it arrives, and the list of digests comes from the master's
    committed transaction over a checked frame: that is all the content there is. So the digest of the whole, which
    would need a second pass over what arrived out of order, is compared only where it is the only chunk's.
    """
    with TargetFile(target, force=force) as file:
        meter = Meter(progress, opened.path, opened.size)
        file.require_room(opened.size)
        cancellation = Cancellation()

        def fetch(start: int) -> OpenExtent:
            file.claim(start, opened.extent_at(start).length)

            def sink(offset: int, data: memoryview) -> None:
                file.write_at(start + offset, data)

            return engine.fetcher.fetch_extent(opened, start, sink, cancellation)

        tasks: set[Future[OpenExtent]] = set()
        try:
            for start in opened.starts():
                if len(tasks) >= 2 * executor.width:
                    tasks = _account(tasks, opened, meter)
                tasks.add(executor.submit(partial(fetch, start)))
            while tasks:
                tasks = _account(tasks, opened, meter)
        finally:
            cancellation.cancel()
            wait(tasks, timeout=ABORT_SECONDS)
        file.finish(mode=opened.reply.mode, mtime_ns=opened.reply.mtime_ns)
        meter.tell("done")
        return _downloaded(opened, file.target)


def _account(tasks: "set[Future[OpenExtent]]", opened: OpenedVersion, meter: Meter) -> "set[Future[OpenExtent]]":
    """Wait for at least one task; returns those that are still under way."""
    done, left = wait(tasks, return_when=FIRST_COMPLETED)
    for task in done:
        extent = task.result()
        if (extent.start, extent.length) == (0, opened.size) == (extent.offset, extent.chunk_size):
            _compare(opened, extent.digest)
        meter.add(extent.length)
    return left


def write_in_order(engine: Engine, opened: OpenedVersion, target: BinaryIO, *, progress: Progress | None) -> Downloaded:
    """Write a version to a file object, in order; see `Dfs.download`."""
    meter = Meter(progress, opened.path, opened.size)
    whole = blake3()
    for data in _in_order(engine, opened):
        whole.update(data)
        with mapping_os_errors("the output"):
            write_all(target, data)
        meter.add(len(data))
    _compare(opened, whole.digest())
    meter.tell("done")
    return _downloaded(opened, None)


def _in_order(engine: Engine, opened: OpenedVersion) -> Iterator[memoryview]:
    """The verified content, extent by extent, fetched ahead as far as buffers are free.

    What is yielded is valid until the next one is asked for.
    """
    cancellation = Cancellation()
    ahead: deque[tuple[Future[OpenExtent], bytearray]] = deque()
    starts = opened.starts()
    following = next(starts, None)
    try:
        while following is not None or ahead:
            while following is not None and len(ahead) <= engine.executor.width:
                length = opened.extent_at(following).length
                # Only who has nothing to write may wait for a buffer.
                buffer = engine.buffers.try_take(length) if ahead else engine.buffers.take(length)
                if buffer is None:
                    break
                task = engine.executor.submit(partial(_fetch_into, engine, opened, following, buffer, cancellation))
                ahead.append((task, buffer))
                following = next(starts, None)
            task, buffer = ahead[0]
            task.result()
            yield memoryview(buffer)
            ahead.popleft()
            engine.buffers.give(buffer)
    finally:
        cancellation.cancel()
        for task, buffer in ahead:
            # A task that still writes keeps its buffer from being lent to another.
            task.add_done_callback(partial(_give_back, engine, buffer))


def _fetch_into(
    engine: Engine, opened: OpenedVersion, start: int, buffer: bytearray, cancellation: Cancellation
) -> OpenExtent:
    def sink(offset: int, data: memoryview) -> None:
        buffer[offset : offset + len(data)] = data

    return engine.fetcher.fetch_extent(opened, start, sink, cancellation)


def _give_back(engine: Engine, buffer: bytearray, _: object) -> None:
    engine.buffers.give(buffer)


def _compare(opened: OpenedVersion, digest: bytes) -> None:
    if digest != opened.reply.digest:
        raise CorruptError(f"the content of {opened.path} has another digest than was stored; see `dfs status`")


def _downloaded(opened: OpenedVersion, target: Path | None) -> Downloaded:
    return Downloaded(opened.path, target, opened.reply.version, opened.size, opened.reply.digest)
