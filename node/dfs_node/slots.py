"""How many chunks a node takes at once, counted by place in the chain, each with the buffer it needs."""

import math
import threading
from collections import defaultdict
from types import TracebackType

from dfs_runtime.clock import Clock, SystemClock
from dfs_wire.errors import BusyError
from dfs_wire.limits import STREAM_BLOCK_BYTES

STREAMS_PER_HOP = 16


class StreamSlots:
    """Slots and buffers of chunk streams. Safe to share between threads.

    Were the slots counted together, A could be full of chains that wait for B, and B of chains that wait for A. A
    chain only ever waits for a slot of a later place, so counted by place no circle can close.
    """

    def __init__(self, streams_per_hop: int = STREAMS_PER_HOP, clock: Clock | None = None) -> None:
        self._streams_per_hop = streams_per_hop
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._taken: defaultdict[int, int] = defaultdict(int)
        self._buffers: list[bytearray] = []
        #: Streams begun so far, and when the last one was (monotonic time).
        self.begun = 0
        self.begun_at = -math.inf

    @property
    def in_use(self) -> int:
        """Streams that are under way."""
        with self._lock:
            return sum(self._taken.values())

    def take(self, hop: int) -> "Slot":
        """A slot at place `hop` of a chain, and its buffer, for the length of a block.

        Raises:
            BusyError: on entering the block: all are taken; nobody waits here.
        """
        return Slot(self, hop)

    def begin(self, hop: int) -> bytearray:
        """Take a slot; give it back by `end`. See `take`."""
        with self._lock:
            if self._taken[hop] >= self._streams_per_hop:
                raise BusyError("this node takes as many chunks as it can; try again in a moment")
            self._taken[hop] += 1
            self.begun += 1
            self.begun_at = self._clock.monotonic()
            buffer = self._buffers.pop() if self._buffers else None
        return bytearray(STREAM_BLOCK_BYTES) if buffer is None else buffer

    def end(self, hop: int, buffer: bytearray) -> None:
        """Give a slot and its buffer back."""
        with self._lock:
            self._taken[hop] -= 1
            self._buffers.append(buffer)


class Slot:
    """One stream's slot for the length of a block. A class rather than a generator: every put enters it."""

    __slots__ = ("_buffer", "_hop", "_slots")

    def __init__(self, slots: StreamSlots, hop: int) -> None:
        self._slots = slots
        self._hop = hop
        self._buffer: bytearray | None = None

    def __enter__(self) -> memoryview:
        self._buffer = self._slots.begin(self._hop)
        return memoryview(self._buffer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self._slots.end(self._hop, buffer)
