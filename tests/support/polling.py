"""Wait for something to become true, with a deadline, instead of sleeping."""

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Machines that run every change have other work as well. A wait that ends in success is as short there as anywhere.
PATIENCE = 3 if os.environ.get("CI") else 1


def poll_for(what: str, probe: Callable[[], T], *, seconds: float, every: float = 0.05) -> T:
    """The first true answer of `probe`, within `seconds` of a machine that has nothing else to do.

    Raises:
        AssertionError: there was none in time; says `what` was waited for, and the last answer.
    """
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds:.0f} s; last seen: {found!r}")
        pause.wait(every)
