"""File objects that take or give less than all, and pipes that somebody made non-blocking."""

import io
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import pytest
from tests.support.fake_cluster import FakeCluster

from dfs_client.api import Dfs
from dfs_client.output import Output
from dfs_wire.errors import NotFoundError, UsageError
from dfs_wire.limits import MIB

CONTENT = random.Random(3).randbytes(3 * MIB + 17)
PAUSE_SECONDS = 0.05


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Dfs:
    """A client in one thread."""
    return cluster.connect()


class Sparing(io.RawIOBase):
    """Takes at most `most` bytes at a time."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.most = most
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(cast(memoryview, data)[: self.most])
        self.taken += part
        return len(part)


class Never(io.RawIOBase):
    """Says "not now", and nobody can wait for it."""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> None:
        return None

    def write(self, _data: object) -> None:
        return None


@contextmanager
def slow_reader() -> Iterator[tuple[int, bytearray]]:
    """The writing end of a non-blocking pipe whose reader begins late; at the end all that arrived is there."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    arrived = bytearray()

    def read() -> None:
        time.sleep(PAUSE_SECONDS)
        while data := os.read(reading, 1 << 16):
            arrived.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield writing, arrived
    finally:
        os.close(writing)
        thread.join()
        os.close(reading)


@contextmanager
def slow_producer(*parts: bytes) -> Iterator[int]:
    """The reading end of a non-blocking pipe whose writer pauses before each part."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def write() -> None:
        with open(writing, "wb", buffering=0) as pipe:
            for part in parts:
                time.sleep(PAUSE_SECONDS)
                view = memoryview(part)
                while view:
                    view = view[pipe.write(view) or 0 :]

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield reading
    finally:
        os.close(reading)
        thread.join()


# -- out -------------------------------------------------------------------------------------------------------


def test_bytes_that_standard_output_did_not_take_are_written_again() -> None:
    """Unbuffered standard output takes what a pipe has room for, as after a stop and a continue."""
    raw = Sparing()
    out = Output(program="x", out=io.TextIOWrapper(cast(BinaryIO, raw), encoding="utf-8", write_through=True))
    assert out.binary().write(CONTENT) == len(CONTENT)
    assert raw.taken == CONTENT


def test_a_line_that_unbuffered_standard_output_took_in_parts_is_whole() -> None:
    """The interpreter's text layer would drop the rest."""
    raw = Sparing(7)
    out = Output(program="x", out=io.TextIOWrapper(cast(BinaryIO, raw), encoding="ascii", write_through=True))
    out.line("a line of more than seven bytes, grün")
    assert raw.taken == b"a line of more than seven bytes, gr\\xfcn\n"


def test_a_disk_that_fills_within_the_last_block_is_an_error() -> None:
    """The first write takes a part, and only the next one says why."""

    class Full(Sparing):
        def write(self, data: object) -> int:
            if self.taken:
                raise OSError(28, "No space left on device")
            return super().write(data)

    out = Output(program="x", out=io.TextIOWrapper(cast(BinaryIO, Full()), write_through=True))
    with pytest.raises(OSError, match="No space"):
        out.binary().write(CONTENT)


@pytest.mark.parametrize("buffering", [0, 64 * 1024])
def test_a_non_blocking_pipe_gets_all_bytes_of_a_download(dfs: Dfs, buffering: int) -> None:
    """None, or `BlockingIOError` with what was taken, means later."""
    dfs.upload(io.BytesIO(CONTENT), "/file")
    with slow_reader() as (writing, arrived), open(writing, "wb", buffering=buffering, closefd=False) as pipe:
        text = io.TextIOWrapper(cast(BinaryIO, pipe), write_through=True)
        out = Output(program="x", out=text).binary()
        assert dfs.download("/file", out).size == len(CONTENT)
        out.flush()
        text.detach()
    assert arrived == CONTENT


def test_a_non_blocking_file_object_gets_all_bytes_of_a_download(dfs: Dfs) -> None:
    """The library writes to what it was given."""
    dfs.upload(io.BytesIO(CONTENT), "/file")
    with slow_reader() as (writing, arrived), open(writing, "wb", buffering=0, closefd=False) as pipe:
        dfs.download("/file", cast(BinaryIO, pipe))
    assert arrived == CONTENT


def test_a_target_that_nobody_can_wait_for_is_refused(dfs: Dfs) -> None:
    """It did not take all, whatever it says."""
    dfs.upload(io.BytesIO(b"content"), "/file")
    with pytest.raises(UsageError, match="non-blocking"):
        dfs.download("/file", cast(BinaryIO, Never()))


# -- in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffering", [0, 64 * 1024])
def test_a_producer_that_pauses_is_waited_for(cluster: FakeCluster, dfs: Dfs, buffering: int) -> None:
    """Neither a slow start nor a pause is the end of a non-blocking pipe."""
    parts = CONTENT[:5000], CONTENT[5000:5001], CONTENT[5001:]
    with slow_producer(*parts) as reading, open(reading, "rb", buffering=buffering, closefd=False) as pipe:
        assert dfs.upload(cast(BinaryIO, pipe), "/file").size == len(CONTENT)
    assert cluster.content("/file") == CONTENT


def test_a_producer_that_writes_nothing_makes_an_empty_file(cluster: FakeCluster, dfs: Dfs) -> None:
    """The end is the end, and comes when the other side closes."""
    with slow_producer(b"") as reading, open(reading, "rb", closefd=False) as pipe:
        assert dfs.upload(pipe, "/file").size == 0
    assert cluster.content("/file") == b""


def test_a_source_with_read_alone_is_waited_for(cluster: FakeCluster, dfs: Dfs) -> None:
    """Not every file object has `readinto`."""

    class Plain:
        def __init__(self, file: io.BufferedReader) -> None:
            self.read, self.fileno = file.read, file.fileno

    with slow_producer(b"first", b"second") as reading, open(reading, "rb", closefd=False) as pipe:
        dfs.upload(cast(BinaryIO, Plain(pipe)), "/file")
    assert cluster.content("/file") == b"firstsecond"


def test_a_source_that_nobody_can_wait_for_is_refused(cluster: FakeCluster, dfs: Dfs) -> None:
    """An existing file is not replaced by an empty one."""
    with pytest.raises(UsageError, match="non-blocking"):
        dfs.upload(cast(BinaryIO, Never()), "/file")
    with pytest.raises(NotFoundError):
        dfs.stat("/file")
