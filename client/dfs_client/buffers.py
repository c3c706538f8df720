"""The bound on chunk bytes that are in memory at one time."""

import threading

from dfs_runtime import forks
from dfs_wire.limits import MIB

BUFFER_BYTES_MAX = 64 * MIB


class BufferPool:
    """Lends buffers, at most `bytes_max` together (but always one). Safe to use from several threads.

    Whoever blocks in `take` or `reserve` must have everything that it holds already on its way in tasks that
    give it back by themselves; otherwise two uploads could wait for each other.
    """

    def __init__(self, bytes_max: int = BUFFER_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._changed = threading.Condition()
        self._lent = 0
        # Buffers of one size, kept because fresh pages cost more than the copy into them.
        self._free: list[bytearray] = []
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: those who would give buffers back are not there."""
        self._changed = threading.Condition()
        self._lent = 0

    def reserve(self, size: int) -> None:
        """Wait until `size` more bytes are free, and take them."""
        with self._changed:
            self._changed.wait_for(lambda: self._fits(size))
            self._lent += size

    def release(self, size: int) -> None:
        """Give reserved bytes back."""
        with self._changed:
            self._lent -= size
            self._changed.notify_all()

    def take(self, size: int) -> bytearray:
        """A buffer of `size` bytes with any content; waits until one is free."""
        with self._changed:
            self._changed.wait_for(lambda: self._fits(size))
            return self._lend(size)

    def try_take(self, size: int) -> bytearray | None:
        """A buffer of `size` bytes with any content, or None if none is free now."""
        with self._changed:
            return self._lend(size) if self._fits(size) else None

    def give(self, buffer: bytearray) -> None:
        """Take a lent buffer back; the caller must not touch it any more."""
        with self._changed:
            self._lent -= len(buffer)
            self._free.append(buffer)
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        return self._lent == 0 or self._lent + size <= self._bytes_max

    def _lend(self, size: int) -> bytearray:
        self._lent += size
        if self._free and len(self._free[-1]) == size:
            return self._free.pop()
        self._free.clear()
        return bytearray(size)
