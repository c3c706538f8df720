"""The one place that writes metadata: a bounded queue, a thread that turns what waits into one transaction."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

from sqlalchemy import Engine

from dfs_master.catalog.engine import connect_raw
from dfs_master.catalog.gathering import GATHER_SECONDS, Gathering
from dfs_master.catalog.group import (
    Committed,
    EpochLostError,
    GroupWriter,
    Nodes,
    Outcome,
    Points,
    StorageFailedError,
    Watch,
)
from dfs_master.catalog.ids import Counters
from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.sqlite import BEGIN_WRITE
from dfs_runtime.clock import Clock
from dfs_wire.errors import BusyError, DfsError, UnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")
Deliver = Callable[[T | DfsError], None]

#: Rows that one transaction writes at most, unless a single request has more.
GROUP_ROWS_MAX = 2_000
#: Requests that may wait; the next one is told to come back.
QUEUE_MAX = 4_096
STOP_SECONDS = 8.0


def take_epoch(engine: Engine) -> int:
    """Begin a master's term: the epoch counts one up, and every committer of an earlier one will end itself.

    Call it once at start, before the `Committer` is made.
    """
    with closing(connect_raw(engine)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(BEGIN_WRITE)
        try:
            epoch = Counters(cursor).advance("epoch") + 1
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
    return epoch


def _ignore_committed(_: Committed) -> None:
    """Nobody counts transactions."""


def _no_point(_: str) -> None:
    """Nobody interferes."""


class Committer:
    """Writes for everybody. `submit` and `commit_seq` are safe to use from any thread.

    `run_group` belongs to one thread: the committer's own after `start`, else the caller's (as in the simulation).
    `on_committed` is called after each transaction and before its outcomes are delivered. `watch` is told of the names
    that a transaction may change, before its COMMIT and after it: how a cache of entries stays right. `on_fatal` is
    called when the process must end; from then on everything is refused.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        epoch: int,
        *,
        nodes: Nodes,
        on_fatal: Callable[[BaseException], None],
        on_committed: Callable[[Committed], None] = _ignore_committed,
        points: Points = _no_point,
        watch: Watch | None = None,
        rows_max: int = GROUP_ROWS_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._connection = connect_raw(engine)
        self._writer = GroupWriter(self._connection, clock, epoch, nodes, points, watch)
        self._on_fatal = on_fatal
        self._on_committed = on_committed
        self._rows_max = rows_max
        self._queue_max = queue_max
        self._queue: deque[tuple[Mutation[Any], Deliver[Any]]] = deque()
        self._changed = threading.Condition()
        #: The committer's thread wakes when so many wait.
        self._awaited = 1
        self._gathering = Gathering()
        self._stopping = False
        self._fatal: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    @property
    def commit_seq(self) -> int:
        """How many transactions this cluster has seen."""
        return self._writer.commit_seq

    def adopt_epoch(self, epoch: int) -> None:
        """A mutation of this committer raised the epoch: go on with it. Only while its outcome is being delivered."""
        self._writer.adopt_epoch(epoch)

    def submit(self, mutation: Mutation[T], deliver: Deliver[T]) -> None:
        """Queue a change. `deliver` gets its reply or a `DfsError`, on the committer's thread; it must not block.

        Raises:
            BusyError: too much waits already.
            UnavailableError: the master is stopping.
        """
        with self._changed:
            if self._stopping:
                raise UnavailableError("the master is stopping; try again when it is back")
            if len(self._queue) >= self._queue_max:
                raise BusyError("too many changes wait for the master's disk; wait a moment and try again")
            self._queue.append((mutation, deliver))
            if len(self._queue) >= self._awaited:
                self._changed.notify()

    def start(self) -> None:
        """Begin to serve the queue."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new, answer all that waits, end the thread, close the database."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)
        else:
            self._serve_all()
        if not self._thread.is_alive():
            self._connection.close()

    def serve_waiting(self) -> None:
        """Serve what waits now, in the caller's thread: the simulation's way, never beside `start`."""
        while self._queue:
            self._serve(self._take())

    def run_group(self, group: Sequence[Mutation[Any]]) -> list[Outcome]:
        """Judge a group and commit it as one transaction: the outcome of each, a reply or a `DfsError`, in order."""
        if self._fatal is not None:
            return [_gone()] * len(group)
        try:
            outcomes, committed = self._writer.run(group)
        except (EpochLostError, StorageFailedError) as error:
            self._end(error)
            return [error] * len(group)
        except DfsError as error:
            return [error] * len(group)
        if committed is not None:
            self._on_committed(committed)
        return outcomes

    def _end(self, error: BaseException) -> None:
        log.critical("the master must end: %s", error)
        self._fatal = error
        self._on_fatal(error)

    def _run(self) -> None:
        try:
            self._serve_all()
        except BaseException as error:
            self._end(error)
            raise

    def _serve_all(self) -> None:
        """Serve groups until told to stop and nothing waits."""
        while taken := self._take(gather=True):
            self._serve(taken)

    def _serve(self, taken: Sequence[tuple[Mutation[Any], Deliver[Any]]]) -> None:
        outcomes = self.run_group([mutation for mutation, _ in taken])
        self._gathering.answering(len(taken), len(self._queue))
        for (_, deliver), outcome in zip(taken, outcomes, strict=True):
            _hand_over(deliver, outcome)

    def _gather(self) -> None:
        """Wait a little for those who were answered just now."""
        before = len(self._queue)
        wanted = self._gathering.wanted(before)
        if wanted > before:
            self._awaited = wanted
            self._changed.wait_for(lambda: len(self._queue) >= wanted or self._stopping, GATHER_SECONDS)
            self._awaited = 1
            self._gathering.waited(before, len(self._queue), wanted)

    def _take(self, *, gather: bool = False) -> list[tuple[Mutation[Any], Deliver[Any]]]:
        """Wait for requests and take as many as one transaction may hold; none when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            if gather and not self._stopping:
                self._gather()
            taken: list[tuple[Mutation[Any], Deliver[Any]]] = []
            rows = 0
            while self._queue:
                rows += self._queue[0][0].row_count()
                if taken and rows > self._rows_max:
                    break
                taken.append(self._queue.popleft())
            return taken


def _hand_over(deliver: Deliver[Any], outcome: Outcome) -> None:
    """What was committed stays committed: a caller that fails to take its outcome must not end the thread."""
    try:
        deliver(outcome)
    except Exception:
        log.exception("an outcome could not be delivered")


def _gone() -> UnavailableError:
    return UnavailableError("the master is ending after a failure; try again when it is back")
