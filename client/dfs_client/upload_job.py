"""One file that is cut into chunks, or one stream, becomes one version."""

from collections.abc import Callable

from dfs_client.backoff import Cancellation
from dfs_client.chunking import cuts, stream_chunk_bytes
from dfs_client.committing import Pending, ReadAgain, commit_files
from dfs_client.engine import Engine
from dfs_client.meter import Meter
from dfs_client.pipeline import ChunkPipeline
from dfs_client.source import LocalSource
from dfs_client.types import Uploaded
from dfs_client.upload_empty import STREAM_MODE
from dfs_wire.errors import DfsError
from dfs_wire.limits import STREAM_BLOCK_BYTES
from dfs_wire.messages import FileCommit

#: How a stream's block grows each time that it came full.
BLOCK_GROWTH = 32


class UploadJob:
    """One version in the making: filled in order, then committed. Used by one thread; always `close` it.

    A local file goes by `fill`, straight into the buffers that are sent. What comes at somebody else's pace goes by
    `write`, and takes a buffer only when a chunk is whole: a few slow writers must not hold all buffers.
    """

    def __init__(self, engine: Engine, path: str, meter: Meter, *, expect: int) -> None:
        self._engine = engine
        self._path = path
        self._meter = meter
        self._expect = expect
        self._committed = False
        self._pending = bytearray()
        self._ledger = engine.open_ledger()
        self.pipeline = ChunkPipeline(engine, path, self._ledger, meter.add)

    def fill(self, read_into: Callable[[memoryview], int], size: int) -> int:
        """Add a chunk of up to `size` bytes from a source that fills buffers; returns how many it gave."""
        buffer = self.pipeline.take_buffer(size)
        try:
            count = read_into(memoryview(buffer))
        except BaseException:
            self.pipeline.give_buffer(buffer)
            raise
        if count:
            self.pipeline.add(buffer, count)
        else:
            self.pipeline.give_buffer(buffer)
        return count

    def write(self, data: memoryview) -> None:
        """Add bytes of a stream, whose size nobody knows; chunks are cut from them."""
        while data:
            chunk_bytes = stream_chunk_bytes(len(self.pipeline.extents))
            count = min(len(data), chunk_bytes - len(self._pending))
            self._pending += data[:count]
            data = data[count:]
            if len(self._pending) == chunk_bytes:
                self._push_pending()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.pipeline.size + len(self._pending)

    def commit(self, *, mode: int, mtime_ns: int, read_again: ReadAgain | None = None) -> Uploaded:
        """Wait until all chunks are stored, then make the version visible.

        Raises:
            DfsError: nothing is visible.
        """
        self._push_pending()
        digest = self.pipeline.finish()
        size = self.pipeline.size
        commit = FileCommit(self._path, self._expect, size, digest, mtime_ns, mode, self.pipeline.extents)
        (result,) = commit_files(self._engine, [Pending(commit, read_again)], self._ledger, Cancellation())
        if isinstance(result, DfsError):
            raise result
        self._committed = True
        self._meter.tell("done")
        return Uploaded(self._path, result, size, digest, self.pipeline.bytes_sent)

    def _push_pending(self) -> None:
        def copy(buffer: memoryview) -> int:
            buffer[:] = self._pending
            return len(buffer)

        if self._pending:
            self.fill(copy, len(self._pending))
            self._pending = bytearray()

    def close(self) -> None:
        """Give up what was not committed. The receipts so far stay for the next try."""
        if not self._committed:
            self.pipeline.abort()
        self._ledger.close()


def upload_chunks(engine: Engine, local: LocalSource, path: str, meter: Meter, *, expect: int) -> Uploaded:
    """Store a regular file, chunk by chunk."""
    job = UploadJob(engine, path, meter, expect=expect)
    job.pipeline.room.expect(local.size, local.allocated)
    try:
        for _, length in cuts(local.size):
            if job.fill(local.read_into, length) < length:
                break
        local.check_unchanged(job.pipeline.size)
        return job.commit(mode=local.mode, mtime_ns=local.mtime_ns, read_again=local.read_again)
    finally:
        job.close()


def upload_blocks(
    engine: Engine,
    path: str,
    meter: Meter,
    read_into: Callable[[memoryview], int],
    block: memoryview,
    count: int,
    *,
    expect: int,
) -> Uploaded:
    """Store a stream, of which the first `count` bytes of `block` were read.

    It cannot be read twice: each chunk stays in memory until its receipts are here.
    """
    job = UploadJob(engine, path, meter, expect=expect)
    try:
        while count:
            job.write(block[:count])
            if count == len(block) < STREAM_BLOCK_BYTES:
                block = memoryview(bytearray(min(len(block) * BLOCK_GROWTH, STREAM_BLOCK_BYTES)))
            count = read_into(block)
        return job.commit(mode=STREAM_MODE, mtime_ns=engine.clock.wall_ms() * 1_000_000)
    finally:
        job.close()
