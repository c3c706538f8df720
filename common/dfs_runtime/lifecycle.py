"""How a daemon ends: a signal sets an event, the main thread stops the parts in reverse order."""

import queue
import resource
import signal
from contextlib import suppress
from types import FrameType

#: More than the connections that a listener accepts and the files that its requests open.
DESCRIPTORS = 8_192
_WAKE_SECONDS = 0.5


class StopSignal:
    """Set by SIGTERM or SIGINT, or by a part of the process that cannot go on. Safe to use from any thread."""

    def __init__(self) -> None:
        # Unlike an event's lock, this queue may be put to by a signal handler that interrupts a `get`.
        self._asked: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._is_set = False

    def install(self) -> None:
        """Take over SIGTERM and SIGINT. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.set()

    def set(self, reason: BaseException | None = None) -> None:
        """End the process; the first reason that is given is raised by `wait` in the main thread."""
        self._is_set = True
        self._asked.put(reason)

    def is_set(self) -> bool:
        """Whether the process is ending."""
        return self._is_set

    def wait(self) -> None:
        """Block until the end was asked for. Main thread only, once.

        Raises:
            BaseException: the reason given to `set`.
        """
        while True:
            # The kernel may give a signal to any thread, and Python runs its handler only when this one wakes up.
            with suppress(queue.Empty):
                reason = self._asked.get(timeout=_WAKE_SECONDS)
                break
        if reason is not None:
            raise reason


def raise_descriptor_limit(wanted: int = DESCRIPTORS) -> None:
    """Let this process hold as many connections and files as its own limits allow, not as a shell's default does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
