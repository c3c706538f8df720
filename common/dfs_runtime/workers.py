"""Threads by kind: a bounded pool for work that may take long, and a thread that repeats one small step."""

import logging
import queue
import threading
from collections.abc import Callable

from dfs_runtime.clock import Deadline, SystemClock

log = logging.getLogger(__name__)

Task = Callable[[], None]
JOIN_SECONDS = 8.0


class QueueFullError(Exception):
    """The pool has as much waiting work as it may hold."""


class WorkerPool:
    """A fixed number of threads behind a bounded queue. Safe to use from any thread."""

    def __init__(self, name: str, threads: int, queue_max: int, *, stop_seconds: float = JOIN_SECONDS) -> None:
        self._stop_seconds = stop_seconds
        self._queue: queue.Queue[Task | None] = queue.Queue(queue_max)
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(1, threads + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Queue a task.

        Raises:
            QueueFullError: at once, instead of waiting.
        """
        try:
            self._queue.put_nowait(task)
        except queue.Full:
            raise QueueFullError from None

    def stop(self) -> None:
        """Finish what is queued, then end the threads; those that do not end in time are left as daemons."""
        deadline = Deadline(SystemClock(), self._stop_seconds)
        for _ in self._threads:
            try:
                self._queue.put(None, timeout=deadline.remaining())
            except queue.Full:  # tasks that do not end hold up all that wait
                log.warning("tasks are left behind at the end")
                return
        for thread in self._threads:
            thread.join(deadline.remaining())

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                task()
            except Exception:  # a task reports its own errors; what arrives here is a fault of ours
                log.exception("a task failed")


class Periodic:
    """A thread that runs one small step every `seconds`. A failing step is logged and tried again.

    Safe to use from any thread.
    """

    def __init__(self, name: str, seconds: float, step: Callable[[], None]) -> None:
        self._seconds = seconds
        self._step = step
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with the first step at once."""
        self._thread.start()

    def wake(self) -> None:
        """Run the next step now instead of at its time."""
        self._wake.set()

    def stop(self) -> None:
        """End after the step under way."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
            except Exception:  # one bad step must not end the watch
                log.exception("a periodic step failed")
            self._wake.wait(self._seconds)
            self._wake.clear()


class SelfPaced:
    """A thread whose step says in how many seconds the next one is due. A failing step is logged and tried again.

    `begin` runs first, on the thread itself; `end` runs on the caller's, after the last step. `start` and `stop` from
    the owner's thread.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        *,
        first_seconds: float,
        again_seconds: float,
        begin: Task = lambda: None,
        end: Task = lambda: None,
    ) -> None:
        self._step = step
        self._first_seconds = first_seconds
        self._again_seconds = again_seconds
        self._begin = begin
        self._end = end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first step comes after `first_seconds`."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way; one that does not end in time is left behind."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)
        self._end()

    def _run(self) -> None:
        self._begin()
        seconds = self._first_seconds
        while not self._stop.wait(seconds):
            try:
                seconds = self._step()
            except Exception:  # one bad step must not end the watch
                log.exception("a step of %s failed", self._thread.name)
                seconds = self._again_seconds
