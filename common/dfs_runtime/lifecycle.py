"""How a daemon ends: a signal sets an event, the main thread stops the parts in reverse order."""

import signal
import threading
from types import FrameType


class StopSignal:
    """Set by SIGTERM or SIGINT, or by a part of the process that cannot go on. Safe to use from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason: BaseException | None = None

    def install(self) -> None:
        """Take over SIGTERM and SIGINT. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()

    def set(self, reason: BaseException | None = None) -> None:
        """End the process; with a reason, `wait` raises it in the main thread."""
        if self._reason is None:
            self._reason = reason
        self._event.set()

    def is_set(self) -> bool:
        """Whether the process is ending."""
        return self._event.is_set()

    def wait(self) -> None:
        """Block until the end was asked for.

        Raises:
            BaseException: the reason given to `set`.
        """
        self._event.wait()
        if self._reason is not None:
            raise self._reason
