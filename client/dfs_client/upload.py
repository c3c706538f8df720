"""One file, or one stream, becomes one version: which of the ways it goes."""

from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from dfs_client.engine import Engine
from dfs_client.file_objects import read_some
from dfs_client.meter import Meter
from dfs_client.source import LocalSource
from dfs_client.types import LocalPath, Progress, Uploaded
from dfs_client.upload_empty import STREAM_MODE, upload_empty
from dfs_client.upload_small import SMALL_BYTES_MAX, upload_small
from dfs_wire.errors import AlreadyExistsError, NotFoundError
from dfs_wire.messages import EXPECT_ABSENT, EXPECT_ANY

#: A stream may be short, or empty: to clear a large buffer first would cost more than all the rest.
_FIRST_BLOCK_BYTES = 1024


def expectation(clobber: bool) -> int:
    """What a mutation expects of its target."""
    return EXPECT_ANY if clobber else EXPECT_ABSENT


def refuse_existing(engine: Engine, path: str) -> None:
    """Spare the transfer where the commit would refuse it anyway; the commit still decides.

    Raises:
        AlreadyExistsError: the path exists.
    """
    try:
        engine.master.stat(path)
    except NotFoundError:
        return
    raise AlreadyExistsError(f"{path} exists; leave out --no-clobber to replace it, or choose another name")


def upload_file(engine: Engine, source: LocalPath, path: str, *, clobber: bool, progress: Progress | None) -> Uploaded:
    """Store a local file; see `Dfs.upload`."""
    expect = expectation(clobber)
    with LocalSource(source) as local:
        if not clobber:
            refuse_existing(engine, path)
        if 0 < local.size <= SMALL_BYTES_MAX:
            return upload_small(engine, local, path, expect=expect, progress=progress)
        meter = Meter(progress, path, local.size)
        if not local.regular:
            return _store_stream(engine, path, meter, local.read_into, expect=expect)
        if local.size == 0:
            local.check_unchanged(0)
            return upload_empty(engine.master, path, meter, mode=local.mode, mtime_ns=local.mtime_ns, expect=expect)
        # Threads and what belongs to them are loaded by who sends more than one chunk.
        from dfs_client.upload_job import upload_chunks

        return upload_chunks(engine, local, path, meter, expect=expect)


def upload_stream(engine: Engine, stream: BinaryIO, path: str, *, clobber: bool, progress: Progress | None) -> Uploaded:
    """Store what a file object gives until its end; see `Dfs.upload`."""
    if not clobber:
        refuse_existing(engine, path)
    meter = Meter(progress, path, -1)
    return _store_stream(engine, path, meter, partial(read_some, stream), expect=expectation(clobber))


def _store_stream(
    engine: Engine, path: str, meter: Meter, read_into: Callable[[memoryview], int], *, expect: int
) -> Uploaded:
    block = memoryview(bytearray(_FIRST_BLOCK_BYTES))
    count = read_into(block)
    if not count:
        mtime_ns = engine.clock.wall_ms() * 1_000_000
        return upload_empty(engine.master, path, meter, mode=STREAM_MODE, mtime_ns=mtime_ns, expect=expect)
    from dfs_client.upload_job import upload_blocks

    return upload_blocks(engine, path, meter, read_into, block, count, expect=expect)
