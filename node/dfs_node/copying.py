"""Copies that the master ordered, a few at a time, those of a chunk's last copy first and beside the others."""

import heapq
import itertools
import logging
import math
import threading
from collections.abc import Callable

from dfs_runtime.clock import Clock
from dfs_runtime.workers import JOIN_SECONDS
from dfs_wire.messages import Order

log = logging.getLogger(__name__)

#: Copies at once where no order says otherwise.
STREAMS = 2
_QUEUE_MAX = 1_000
#: While users send chunks, a copy rests this many times as long as it works.
REST_FACTOR = 4.0
REST_SECONDS_MAX = 1.0
#: Users whose last chunk began this long ago are still there: small files leave gaps between their streams.
LATELY_SECONDS = 1.0


class CopyQueue:
    """Threads that carry out copy orders, as many as the last order allows. Safe to share between threads."""

    def __init__(self, carry_out: Callable[[Order], None], *, streams: int = STREAMS) -> None:
        self._carry_out = carry_out
        self._streams = streams
        self._changed = threading.Condition()
        self._heap: list[tuple[bool, int, Order]] = []
        self._known: set[bytes] = set()
        self._running = 0
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def take(self, order: Order) -> bool:
        """Queue an order; False where too many wait. One for a chunk that is being copied already is that one."""
        with self._changed:
            if self._stopping or len(self._heap) >= _QUEUE_MAX:
                return False
            self._streams = order.streams or self._streams
            if order.digest in self._known:
                return True
            self._known.add(order.digest)
            heapq.heappush(self._heap, (not order.last_copy, next(self._numbers), order))
            # One thread more than streams, for last copies.
            if len(self._threads) <= self._streams and len(self._threads) < len(self._known):
                name = f"copy-{len(self._threads) + 1}"
                self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
                self._threads[-1].start()
            self._changed.notify()
        return True

    def stop(self) -> None:
        """Finish the copies under way, drop what is queued."""
        with self._changed:
            self._stopping = True
            self._heap.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)

    def _may_begin(self) -> bool:
        """Whether the first that waits may begin: a last copy has one stream more."""
        if not self._heap:
            return False
        return self._running < self._streams + (not self._heap[0][0])

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._may_begin())
                if self._stopping:
                    return
                order = heapq.heappop(self._heap)[2]
                self._running += 1
            try:
                self._carry_out(order)
            except Exception:  # an order reports its own errors; what arrives here is a fault of ours
                log.exception("a copy failed")
            finally:
                with self._changed:
                    self._running -= 1
                    self._known.discard(order.digest)
                    self._changed.notify_all()


class Courtesy:
    """Lets users' streams go first. Safe to share between threads."""

    def __init__(
        self, clock: Clock, users: Callable[[], int], begun_at: Callable[[], float] = lambda: -math.inf
    ) -> None:
        """`users` counts streams that are under way; `begun_at` says when the last one began: small ones are over at
        once.
        """
        self._clock = clock
        self._users = users
        self._begun_at = begun_at

    def is_due(self) -> bool:
        """Whether users send chunks, or did a moment ago."""
        return self._users() > 0 or self._clock.monotonic() - self._begun_at() < LATELY_SECONDS

    def rest(self, worked_seconds: float) -> None:
        """Rest after so much work. It should include the disk's: what lies in a cache is still to be done."""
        self._clock.sleep(min(REST_SECONDS_MAX, worked_seconds * REST_FACTOR))

    def now(self) -> float:
        """Monotonic time, to measure work by."""
        return self._clock.monotonic()
