"""How many chunks a node takes at once, counted by place in the chain, each with the buffer it needs."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from dfs_wire.errors import BusyError
from dfs_wire.limits import STREAM_BLOCK_BYTES

STREAMS_PER_HOP = 16


class StreamSlots:
    """Slots and buffers of chunk streams. Safe to share between threads.

    Were the slots counted together, A could be full of chains that wait for B, and B of chains that wait for A. A
    chain only ever waits for a slot of a later place, so counted by place no circle can close.
    """

    def __init__(self, streams_per_hop: int = STREAMS_PER_HOP) -> None:
        self._streams_per_hop = streams_per_hop
        self._lock = threading.Lock()
        self._taken: defaultdict[int, int] = defaultdict(int)
        self._buffers: list[bytearray] = []
        #: Streams begun so far.
        self.begun = 0

    @property
    def in_use(self) -> int:
        """Streams that are under way."""
        with self._lock:
            return sum(self._taken.values())

    @contextmanager
    def take(self, hop: int) -> Iterator[memoryview]:
        """A slot at place `hop` of a chain, and its buffer, for the length of the block.

        Raises:
            BusyError: all are taken; nobody waits here.
        """
        with self._lock:
            if self._taken[hop] >= self._streams_per_hop:
                raise BusyError("this node takes as many chunks as it can; try again in a moment")
            self._taken[hop] += 1
            self.begun += 1
            buffer = self._buffers.pop() if self._buffers else None
        if buffer is None:
            buffer = bytearray(STREAM_BLOCK_BYTES)
        try:
            yield memoryview(buffer)
        finally:
            with self._lock:
                self._taken[hop] -= 1
                self._buffers.append(buffer)
