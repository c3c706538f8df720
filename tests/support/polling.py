"""Wait for something to become true, with a deadline, instead of sleeping."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def poll_for(what: str, probe: Callable[[], T], *, seconds: float, every: float = 0.05) -> T:
    """The first true answer of `probe`.

    Raises:
        AssertionError: there was none in time; says `what` was waited for, and the last answer.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds:.0f} s; last seen: {found!r}")
        pause.wait(every)
