"""Pauses between tries, and the end of patience."""

import random

from dfs_runtime.clock import Clock
from dfs_wire.errors import InterruptedByUserError

FIRST_SECONDS = 0.05
LONGEST_SECONDS = 2.0


class Backoff:
    """Pauses that double and are spread by chance, so that clients that failed together do not return together.

    Used by one thread.
    """

    def __init__(self, clock: Clock, randomness: random.Random) -> None:
        self._clock = clock
        self._random = randomness
        self._next_seconds = FIRST_SECONDS

    def pause(self, *, seconds_max: float = LONGEST_SECONDS) -> None:
        """Sleep for half to the whole of the next pause, at most `seconds_max`."""
        spread = self._next_seconds * (0.5 + self._random.random() / 2)
        self._clock.sleep(min(spread, seconds_max))
        self._next_seconds = min(self._next_seconds * 2, LONGEST_SECONDS)


class Cancellation:
    """Tells the tasks of one operation that nobody wants their results any more. Safe to share between threads."""

    def __init__(self) -> None:
        self._given_up = False

    def cancel(self) -> None:
        """Let every task end at its next `check`."""
        self._given_up = True

    def check(self) -> None:
        """Go on, or end.

        Raises:
            InterruptedByUserError: the operation was given up.
        """
        if self._given_up:
            raise InterruptedByUserError("the operation was given up")
