"""Starting fast, and ending fast: what a short command pays besides its work."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

#: Containers that a command makes, less those that it lets go, before the collector looks for the first time. The
#: interpreter's own 700 are reached ten times while modules load, and each time all that was made lately is walked.
_COMMAND_THRESHOLD = 50_000


@contextmanager
def uncollected() -> Iterator[None]:
    """Import inside the block. What was made in it is never looked through again: modules stay until the end.

    A quarter of the master's start went into that, and each full collection later went through all of it once more,
    with every thread waiting.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def collect_seldom() -> None:
    """For a program that runs one command: the collector has little to find, and modules are still loaded."""
    gc.set_threshold(_COMMAND_THRESHOLD, *gc.get_threshold()[1:])


def leave(code: int) -> NoReturn:
    """End the process now: what is open is the kernel's to close, and nobody needs modules taken apart.

    Only where everything is finished: nothing that was registered to run at the end does, and no thread is waited for.
    """
    for stream in (sys.stdout, sys.stderr):
        # Whoever read it may have gone away, or it was closed from the beginning; the exit code is settled.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
