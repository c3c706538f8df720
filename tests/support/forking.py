"""Work in forked children of the test's own process, as a pool of workers does it."""

import json
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

#: A child that hangs is ended by the kernel, whatever becomes of its test.
CHILD_SECONDS = 30


class Child:
    """A forked child that runs `work` and ends; what `work` returned comes back as JSON."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._reading, writing = os.pipe()
        with warnings.catch_warnings():
            # Newer interpreters warn of threads: that is what is tried here.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid:
            os.close(writing)
            return
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_SECONDS)
        try:
            found = {"result": work()}
        except BaseException as error:  # noqa: BLE001 - told to the parent, whose stack this is
            found = {"error": repr(error)}
        with open(writing, "w") as pipe:
            json.dump(found, pipe)
        os._exit(0)

    def result(self) -> Any:
        """What `work` returned.

        Raises:
            AssertionError: it raised, or did not end.
        """
        with open(self._reading) as pipe:
            told = pipe.read()
        os.waitpid(self._pid, 0)
        assert told, "the child hung or died"
        found = json.loads(told)
        assert "error" not in found, found["error"]
        return found["result"]


def in_child(work: Callable[[], object]) -> Any:
    """Run `work` in a child of its own, and wait for it."""
    return Child(work).result()
