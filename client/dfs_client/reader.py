"""A stored file as a file object: seekable, every byte verified."""

import io
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from dfs_client.backoff import Cancellation
from dfs_client.engine import Engine
from dfs_client.opened import OpenedVersion
from dfs_runtime import forks
from dfs_wire.limits import BLOCK_BYTES, MIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: What a first read, or one after a jump, fetches at least; doubled while reads go on in order.
AHEAD_BYTES_MIN = BLOCK_BYTES
AHEAD_BYTES_MAX = 4 * MIB


class RemoteReader(io.RawIOBase):
    """One version of a file, the one that was current when it was opened. Used by one thread.

    Reads in order fetch ever longer stretches, the next one while this one is used; jumps fetch little.
    """

    def __init__(self, engine: Engine, path: str) -> None:
        # First what `close` needs: the interpreter calls that even when this constructor fails.
        self._next: tuple[int, Future[bytes]] | None = None
        self._cancellation = Cancellation()
        super().__init__()
        self.name = path
        self._engine = engine
        self._opened = OpenedVersion(engine.master, engine.clock, path)
        self._position = 0
        self._stretch_start = 0
        self._stretch = b""
        self._ahead_bytes = AHEAD_BYTES_MIN
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: what is fetched ahead comes to the parent only."""
        self._next = None
        self._opened.after_fork()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The place of the next read."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the place of the next read; it may lie behind the end.

        Raises:
            ValueError: before the start, or an unknown `whence`.
        """
        self._check_open()
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._opened.size}
        if whence not in bases:
            raise ValueError(f"whence {whence} is unknown; use 0, 1 or 2")
        target = bases[whence] + offset
        if target < 0:
            raise ValueError(f"{target} lies before the start of the file")
        self._position = target
        return target

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill `buffer`, or less of it; 0 at the end.

        Raises:
            DfsError: no good copy of the bytes can be read.
        """
        self._check_open()
        with memoryview(buffer).cast("B") as view:
            wanted = min(len(view), self._opened.size - self._position)
            if wanted <= 0:
                return 0
            inside = self._position - self._stretch_start
            if not 0 <= inside < len(self._stretch):
                self._move_to(self._position, wanted)
                inside = self._position - self._stretch_start
            count = min(wanted, len(self._stretch) - inside)
            view[:count] = self._stretch[inside : inside + count]
            self._position += count
            return count

    def close(self) -> None:
        """Let go of what is fetched ahead. May be called twice."""
        self._cancellation.cancel()
        self._next = None
        self._stretch = b""
        super().close()

    def _move_to(self, start: int, wanted: int) -> None:
        """Have the stretch at `start` in memory."""
        sequential = start == self._stretch_start + len(self._stretch)
        self._ahead_bytes = min(self._ahead_bytes * 2, AHEAD_BYTES_MAX) if sequential else AHEAD_BYTES_MIN
        following, self._next = self._next, None
        if following is not None and following[0] == start:
            self._stretch = following[1].result()
        else:
            # Whole blocks are verified anyway, so a short read in the middle takes its block from the start.
            aligned = start - start % BLOCK_BYTES if wanted < BLOCK_BYTES else start
            aligned = max(aligned, self._opened.extent_at(start).start)
            length = max(wanted + start - aligned, self._ahead_bytes)
            self._stretch = self._fetch(aligned, length)
            start = aligned
        self._stretch_start = start
        end = start + len(self._stretch)
        if sequential and start > 0 and end < self._opened.size:
            self._next = (end, self._engine.executor.submit(partial(self._fetch, end, self._ahead_bytes)))

    def _fetch(self, start: int, length: int) -> bytes:
        return self._engine.fetcher.fetch_range(self._opened, start, min(length, AHEAD_BYTES_MAX), self._cancellation)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file was closed")


def open_reader(engine: Engine, path: str) -> io.BufferedReader:
    """The file object of `Dfs.open(path, "rb")`."""
    return io.BufferedReader(RemoteReader(engine, path), BLOCK_BYTES)
