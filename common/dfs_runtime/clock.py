"""Time enters every part through a `Clock`, so that tests and the simulation own it."""

import threading
import time
from typing import Protocol

from dfs_runtime import forks


class Clock(Protocol):
    """Two readings and one pause; nothing else in dfs asks the operating system for time.

    Implementations are safe to use from several threads.
    """

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, never going back. For deadlines, leases and time-outs."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 in UTC. For people and for records, never for deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Pause the calling thread."""
        ...


class SystemClock:
    """The machine's own clock. Safe to share between threads."""

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Milliseconds since 1970 in UTC."""
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        """Pause the calling thread."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told, or when somebody sleeps on it. Safe to share between threads."""

    def __init__(self, monotonic: float = 1_000.0, wall_ms: int = 1_700_000_000_000) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: nobody holds the lock."""
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds, as last advanced."""
        with self._lock:
            return self._monotonic

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as last advanced."""
        with self._lock:
            return self._wall_ms

    def sleep(self, seconds: float) -> None:
        """Advance at once instead of waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both readings forward."""
        with self._lock:
            self._monotonic += seconds
            self._wall_ms += int(seconds * 1000)


class Deadline:
    """A point in monotonic time by which something must have ended. Immutable."""

    __slots__ = ("_at", "_clock")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._at = clock.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._at - self._clock.monotonic())

    def passed(self) -> bool:
        """Whether the point in time is behind us."""
        return self.remaining() == 0.0
