"""How fast copies may be made, and how fast they are. No clock: the time is handed in."""

from collections import deque

#: The rate that people see is over this long.
WINDOW_SECONDS = 30.0
#: What an idle bucket saves up.
BURST_SECONDS = 2.0


class TokenBucket:
    """Lets so many bytes a second pass; 0 lets all pass. Used by one thread."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._filled_at: float | None = None

    def fill(self, bytes_per_second: float, now: float) -> None:
        """Let time pass."""
        most = bytes_per_second * BURST_SECONDS
        since = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        self._tokens = min(most, self._tokens + bytes_per_second * since) if since else min(most, self._tokens)

    def may(self, bytes_per_second: float) -> bool:
        """Whether something may begin now. A large chunk may overdraw: it is waited for afterwards."""
        return bytes_per_second == 0 or self._tokens > 0

    def take(self, size: int) -> None:
        """It began."""
        self._tokens -= size


class RateMeter:
    """Bytes a second lately. Used by one thread."""

    def __init__(self) -> None:
        self._done: deque[tuple[float, int]] = deque()
        self._began_at: float | None = None

    def began(self, now: float) -> None:
        """Work is there; time without work does not count."""
        if self._began_at is None:
            self._began_at = now

    def idle(self) -> None:
        """No work is there."""
        self._began_at = None
        self._done.clear()

    def add(self, size: int, now: float) -> None:
        """So many bytes are done."""
        self._done.append((now, size))

    def per_second(self, now: float) -> float:
        """The rate over the window, or since the work began."""
        while self._done and self._done[0][0] < now - WINDOW_SECONDS:
            self._done.popleft()
        if self._began_at is None:
            return 0.0
        seconds = max(1.0, min(WINDOW_SECONDS, now - self._began_at))
        return sum(size for _, size in self._done) / seconds
