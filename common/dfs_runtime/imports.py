"""Starting fast: modules are loaded without the collector of garbage looking through them again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
