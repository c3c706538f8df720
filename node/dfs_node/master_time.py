"""The master's time, carried on this machine's monotonic clock between heartbeats."""

import threading

from dfs_runtime.clock import Clock
from dfs_wire.errors import UnavailableError
from dfs_wire.limits import NODE_BLIND_SECONDS


class MasterTime:
    """In what time tickets expire. Safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: The master's milliseconds since 1970, and our monotonic seconds when we heard them.
        self._heard: tuple[int, float] | None = None
        self._first_heard_ms: int | None = None

    def learn(self, time_ms: int) -> None:
        """The master said its time just now, in a reply whose MAC was checked."""
        with self._lock:
            self._heard = (time_ms, self._clock.monotonic())
            if self._first_heard_ms is None:
                self._first_heard_ms = time_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970 by the master's clock.

        Raises:
            UnavailableError: the master was not heard for `NODE_BLIND_SECONDS`: nobody here knows the time.
        """
        with self._lock:
            heard = self._heard
        if heard is None:
            raise UnavailableError("this node has not heard from its master yet; try again in a moment")
        time_ms, at = heard
        age = self._clock.monotonic() - at
        if age > NODE_BLIND_SECONDS:
            raise UnavailableError("this node has lost its master and takes no tickets; use another node")
        return time_ms + int(age * 1000)

    def started_at_ms(self) -> int:
        """The master's time when this process first heard it: what was issued later was issued while it ran.

        Raises:
            UnavailableError: it has not heard it yet.
        """
        with self._lock:
            first = self._first_heard_ms
        if first is None:
            raise UnavailableError("this node has not heard from its master yet; try again in a moment")
        return first
