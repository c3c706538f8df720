"""Where the library's parallel work runs: threads, or, for the simulation, the caller's own thread."""

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dfs_runtime import forks
from dfs_wire.errors import UsageError

if TYPE_CHECKING:
    # Loaded with the first task: a client that only lists has none.
    from concurrent.futures import Future

T = TypeVar("T")

#: How long `close` waits for threads that are in the middle of something, in seconds.
CLOSE_SECONDS = 2.0


class Executor(Protocol):
    """Runs tasks. A task must never wait for another task: all threads may be taken.

    Implementations are safe to use from several threads.
    """

    #: How many tasks run at once.
    width: int

    def submit(self, task: Callable[[], T]) -> "Future[T]":
        """Run `task` some time; its result or exception is in the future."""
        ...

    def close(self) -> None:
        """Take no more tasks and end. May be called twice."""
        ...


def _run(task: Callable[[], Any], future: "Future[Any]") -> None:
    """Carry out one task. Whatever it raises belongs to the one who waits for the future."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(task())
    except BaseException as error:  # noqa: BLE001 - handed over whole, and raised there
        future.set_exception(error)


class SerialExecutor:
    """Runs each task at once, in the thread that submits it: no threads, one possible order."""

    width = 1

    def submit(self, task: Callable[[], T]) -> "Future[T]":
        """Run `task` now; the future is done on return."""
        from concurrent.futures import Future

        future: Future[T] = Future()
        _run(task, future)
        return future

    def close(self) -> None:
        """Nothing runs between calls."""


class ThreadExecutor:
    """A fixed number of threads, started when first needed. Safe to use from several threads.

    The threads are daemons: an interrupted program ends at once instead of waiting for a node's reply.
    """

    def __init__(self, width: int, name: str = "client") -> None:
        self.width = width
        self._name = name
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._unfinished: set[Future[Any]] = set()
        self._closed = False
        forks.register(self)

    def submit(self, task: Callable[[], T]) -> "Future[T]":
        """Queue `task`.

        Raises:
            RuntimeError: the executor is closed.
        """
        from concurrent.futures import Future

        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("this connection to the cluster was closed")
            self._unfinished.add(future)
            if len(self._threads) < min(self.width, len(self._unfinished)):
                name = f"{self._name}-transfer-{len(self._threads) + 1}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._tasks.put((task, future))
        return future

    def close(self) -> None:
        """End the threads; one that is stuck in a transfer is left to its deadline after `CLOSE_SECONDS`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in self._threads:
                self._tasks.put(None)
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    def after_fork(self) -> None:
        """In a child: the threads are the parent's, and so are their tasks. Who waits for one here is told."""
        self._tasks = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = []
        theirs, self._unfinished = self._unfinished, set()
        for future in theirs:
            # A thread that is not there any more may have held its lock.
            type(future).__init__(future)
            future.set_exception(UsageError("this was begun before the process forked; begin it again in the child"))

    def _work(self) -> None:
        while (item := self._tasks.get()) is not None:
            task, future = item
            _run(task, future)
            with self._lock:
                self._unfinished.discard(future)
            # Else this thread would keep the last chunk's buffer alive while it waits for the next task.
            del item, task, future
