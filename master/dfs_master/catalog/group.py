"""One transaction for a group of mutations: begin, judge, write, commit; and each way in which that can fail."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.engine.interfaces import DBAPIConnection

from dfs_master.catalog.ids import Counters, IdBlocks
from dfs_master.catalog.mutations.base import Context, Mutation, NodeStanding
from dfs_master.catalog.prefetch import prefetch
from dfs_master.catalog.reader_tree import Found
from dfs_master.catalog.requests import apply_once
from dfs_master.catalog.sqlite import BEGIN_WRITE, DRIVER_ERROR, is_busy, is_conflict, is_full, is_storage_failure
from dfs_master.catalog.staged_tree import SETTINGS_KEY, EntryKey
from dfs_master.catalog.staging import Staging
from dfs_runtime.clock import Clock
from dfs_wire.errors import BusyError, DfsError, InternalError, NoSpaceError, UnavailableError

log = logging.getLogger(__name__)

Group = Sequence[Mutation[Any]]
#: What a mutation answers: its reply, or why it was refused. The type of the reply is the mutation's own.
Outcome = Any
Nodes = Callable[[], Mapping[int, NodeStanding]]
#: Called with the name of a step; a test ends the process or the disk there.
Points = Callable[[str], None]


#: Files of one transaction that the watch is told of: more would hold up the thread that hears of them.
_WRITTEN_MAX = 64
_NOTHING: Mapping[EntryKey, Found] = {}


class EpochLostError(UnavailableError):
    """Another master took over: this process must end."""


class StorageFailedError(UnavailableError):
    """The database failed under this process, which must end: what it remembers may differ from what is stored."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction that is durable. `touched`: names of entries that may have changed."""

    commit_seq: int
    touched: tuple[EntryKey, ...]


class Watch(Protocol):
    """Is told of the names that a transaction may change: before it is committed, and when it is over."""

    def begin(self, touched: frozenset[EntryKey]) -> None:
        """These names are about to change."""
        ...

    def end(self, touched: frozenset[EntryKey], written: Mapping[EntryKey, Found]) -> None:
        """They have changed, or they have not; nothing is under way. What some of them stand for now is `written`."""
        ...


class _Nobody:
    """Nobody keeps a cache of entries."""

    def begin(self, touched: frozenset[EntryKey]) -> None:
        pass

    def end(self, touched: frozenset[EntryKey], written: Mapping[EntryKey, Found]) -> None:
        pass


class GroupWriter:
    """Runs groups one after the other over a connection of its own. Used by one thread at a time."""

    def __init__(
        self,
        connection: DBAPIConnection,
        clock: Clock,
        epoch: int,
        nodes: Nodes,
        points: Points,
        watch: Watch | None = None,
    ) -> None:
        self._clock = clock
        self._epoch = epoch
        self._nodes = nodes
        self._points = points
        self._watch = watch or _Nobody()
        self._cursor = connection.cursor()
        self._counters = Counters(self._cursor)
        self._ids = IdBlocks(self._counters)
        self._staging = Staging(self._cursor, self._ids)
        self._touched: dict[EntryKey, None] = {}
        self._wrote = False
        #: The epoch was looked at in this transaction.
        self._epoch_holds = False
        self.commit_seq = self._counters.read("commit_seq")

    def adopt_epoch(self, epoch: int) -> None:
        """The epoch was raised by a transaction of this writer's own."""
        self._epoch = epoch

    def run(self, group: Group) -> tuple[list[Outcome], Committed | None]:
        """Judge and commit a group: the outcomes in its order. None where nothing had to be written.

        Should a statement over many rows fail, the transaction is rolled back, and the requests are taken one by one.

        Raises:
            BusyError: another process holds the database; nothing was changed.
            EpochLostError, StorageFailedError: this process must end.
            UnavailableError: the commit failed, so nobody knows what was changed.
        """
        try:
            return self._transaction(group, self._together)
        except DfsError:
            raise
        except Exception as error:
            if is_storage_failure(error):
                raise _storage_failed(error) from error
            # A conflict is nothing to worry about: a repeat of a request, or names that were swapped.
            level = logging.INFO if is_conflict(error) else logging.WARNING
            why = (len(group), error)
            log.log(
                level,
                "%d requests failed as one group (%s), so they are taken one by one",
                *why,
                exc_info=level == logging.WARNING,
            )
        try:
            return self._transaction(group, self._one_by_one)
        except DRIVER_ERROR as error:
            raise _storage_failed(error) from error

    # -- the transaction ---------------------------------------------------------------------------------------

    def _transaction(
        self, group: Group, judge: Callable[[Group, Context], list[Outcome]]
    ) -> tuple[list[Outcome], Committed | None]:
        self._begin()
        try:
            outcomes = judge(group, self._context())
            if not self._wrote:
                self._require_epoch()
        except BaseException:
            self._roll_back()
            raise
        if not self._wrote:
            self._roll_back()  # only repeats and refusals: nothing to make durable
            return outcomes, None
        return outcomes, self._commit()

    def _begin(self) -> None:
        try:
            self._cursor.execute(BEGIN_WRITE)
        except DRIVER_ERROR as error:
            if is_busy(error):
                raise BusyError("another program is writing to the master's metadata; try again") from error
            raise _storage_failed(error) from error

    def _require_epoch(self) -> None:
        epoch = self._counters.read("epoch")
        if epoch != self._epoch:
            raise EpochLostError(f"another master took over with epoch {epoch}; this one had {self._epoch}")
        self._epoch_holds = True

    def _count(self) -> int:
        """Count the transaction, which is the last thing that it does, where nobody else began an epoch.

        One statement sees to both. It tells nothing where a request set the epoch itself: that one was looked at
        before.
        """
        if not self._epoch_holds:
            if self._counters.step("commit_seq", self.commit_seq, while_other="epoch", is_at=self._epoch):
                return self.commit_seq + 1
            self._require_epoch()
        return self._counters.advance("commit_seq") + 1

    def _context(self) -> Context:
        return Context(self._staging, self._clock.wall_ms(), self._nodes())

    def _commit(self) -> Committed:
        touched = frozenset(self._touched)
        new = self._staging.written_files() if len(touched) <= _WRITTEN_MAX else _NOTHING
        written = _NOTHING
        self._watch.begin(touched)
        try:
            committed = self._commit_watched()
            written = new
        finally:
            self._watch.end(touched, written)
        return committed

    def _commit_watched(self) -> Committed:
        try:
            commit_seq = self._count()
            self._points("commit.before")
            self._cursor.execute("COMMIT")
        except DRIVER_ERROR as error:
            self._roll_back()
            if is_storage_failure(error):
                raise _storage_failed(error) from error
            if is_full(error):
                # Without room for its last page in the log, a transaction is none: this outcome is known.
                raise _write_error(error) from error
            raise UnavailableError(
                "the master could not finish writing, so it is unknown whether this was done; look before you repeat it"
            ) from error
        except EpochLostError:
            self._roll_back()
            raise
        committed = Committed(commit_seq, tuple(self._touched))
        self.commit_seq = commit_seq
        self._ids.keep()
        self._staging.clear()
        self._forget()
        self._points("commit.after")
        return committed

    def _roll_back(self) -> None:
        with suppress(DRIVER_ERROR):  # some errors have rolled back by themselves
            self._cursor.execute("ROLLBACK")
        self._staging.clear(undone=self._wrote)
        self._forget()
        self._ids.drop()

    def _forget(self) -> None:
        self._touched.clear()
        self._wrote = False
        self._epoch_holds = False

    # -- judging -----------------------------------------------------------------------------------------------

    def _together(self, group: Group, context: Context) -> list[Outcome]:
        """All requests over one overlay, then one write a table."""
        prefetch(self._staging, group)
        outcomes = []
        for mutation in group:
            if mutation.reads_tables:
                self._flush()
                self._staging.clear()
            outcomes.append(self._judge(mutation, context))
        self._flush()
        return outcomes

    def _one_by_one(self, group: Group, context: Context) -> list[Outcome]:
        """Each request under a savepoint of its own, written before the next is judged."""
        context.ids_first = True
        return [self._alone(mutation, context) for mutation in group]

    def _alone(self, mutation: Mutation[Any], context: Context) -> Outcome:
        self._cursor.execute("SAVEPOINT request")
        outcome = self._judge(mutation, context)
        undone = False
        try:
            self._flush()
        except Exception as error:
            if is_storage_failure(error):
                raise
            log.exception("a request of kind %s could not be written", type(mutation).__name__)
            outcome = _write_error(error)
            self._cursor.execute("ROLLBACK TO request")
            undone = True
            self._ids.drop()  # its block may have been reserved under this savepoint
        self._cursor.execute("RELEASE request")
        self._staging.clear(undone=undone)
        return outcome

    def _judge(self, mutation: Mutation[Any], context: Context) -> Outcome:
        """What the mutation answers; one that is refused or fails leaves nothing in the overlay."""
        mark = self._staging.mark()
        try:
            return apply_once(mutation, context)
        except DfsError as error:
            self._staging.undo(mark)
            return error
        except DRIVER_ERROR:
            raise
        except Exception:
            self._staging.undo(mark)
            log.exception("a request of kind %s failed in the committer", type(mutation).__name__)
            return InternalError("the master failed on this request; its log has the details")

    def _flush(self) -> None:
        if self._staging.is_empty():
            return
        if self._staging.settings_changed() and not self._epoch_holds:
            self._require_epoch()  # while it is still the one of before
        self._staging.flush()
        self._wrote = True
        self._touched.update(dict.fromkeys(self._staging.tree.take_touched()))
        if self._staging.settings_changed():
            self._touched[SETTINGS_KEY] = None


def _write_error(error: Exception) -> DfsError:
    if is_full(error):
        return NoSpaceError("the disk of the master's metadata is full; make room there")
    return InternalError("the master could not write this request; its log has the details")


def _storage_failed(error: BaseException) -> StorageFailedError:
    return StorageFailedError(f"the master's metadata cannot be read or written ({error}); look at its disk")
