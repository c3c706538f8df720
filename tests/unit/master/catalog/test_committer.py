"""One transaction a group, one thread for all; and every way in which a transaction can fail."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.catalog import new_database
from tests.support.writing import (
    Store,
    commit_files,
    file_commit,
    make_directories,
    open_store,
    remove,
    rename,
)

from dfs_master.catalog.committer import Committer, take_epoch
from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.group import Committed, EpochLostError, GroupWriter, StorageFailedError
from dfs_master.catalog.mutations.base import Context, Mutation
from dfs_master.catalog.mutations.records import AddCredential, SetSetting
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import BusyError, DfsError, InternalError, NoSpaceError, NotFoundError, UnavailableError

SECONDS = 10.0


class Faulty(Mutation[None]):
    """A mutation with a fault of ours: it stages something, then fails."""

    def apply(self, context: Context) -> None:
        """Fail."""
        context.staging.put_setting("trace", "left behind")
        raise KeyError("a fault")


class FaultyCursor:
    """A cursor whose statements fail as told: by the beginning of their SQL."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.errors: dict[str, Exception] = {}
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, sql: str, values: Any = ()) -> Any:
        """Fail, or go on."""
        self._meet(sql)
        return self._inner.execute(sql, values)

    def executemany(self, sql: str, values: Any) -> Any:
        """Fail, or go on."""
        self._meet(sql)
        return self._inner.executemany(sql, values)

    def _meet(self, sql: str) -> None:
        self.seen.append(sql)
        for beginning, error in self.errors.items():
            if sql.startswith(beginning):
                raise error


def driver_error(name: str) -> sqlite3.OperationalError:
    """What SQLite raises."""
    error = sqlite3.OperationalError(name)
    error.sqlite_errorname = name
    return error


@dataclass
class FaultyConnection:
    """A connection that gives out one cursor."""

    only: FaultyCursor

    def cursor(self) -> FaultyCursor:
        """The cursor."""
        return self.only


@pytest.fixture
def faulty(store: Store) -> Iterator[tuple[Store, FaultyCursor]]:
    """A store whose committer's statements can be made to fail."""
    with closing(connect_raw(open_engine(store.path))) as connection:
        cursor = FaultyCursor(connection.cursor())
        faulty_connection: Any = FaultyConnection(cursor)
        store.committer._writer = GroupWriter(
            faulty_connection, store.clock, 1, lambda: store.standings, lambda _: None
        )
        yield store, cursor


# -- groups ----------------------------------------------------------------------------------------------------


def test_a_group_is_one_transaction(store: Store) -> None:
    """It counts once, whatever it holds."""
    before = store.committer.commit_seq
    store.run(make_directories("/a"), make_directories("/b"), commit_files(file_commit("/c", "x")))
    assert store.committer.commit_seq == before + 1
    assert store.one("SELECT value FROM settings WHERE name = 'commit_seq'") == str(before + 1)


def test_a_bad_request_spoils_no_other(store: Store) -> None:
    """It gets its typed error, the others their replies, in order."""
    outcomes = store.run(make_directories("/a"), remove("/missing"), make_directories("/b"))
    assert outcomes[0][0].code == outcomes[2][0].code == ""
    assert isinstance(outcomes[1], NotFoundError)
    assert set(store.paths()) == {"/a", "/b"}


def test_a_group_of_refusals_is_no_transaction(store: Store) -> None:
    """Nothing has to be made durable for it."""
    before = store.committer.commit_seq
    store.run(remove("/x"), rename("/x", "/y"))
    assert store.committer.commit_seq == before
    assert store.run() == []


def test_a_fault_in_a_mutation_is_an_internal_error(store: Store) -> None:
    """It is undone, and costs its group nothing."""
    outcomes = store.run(make_directories("/a"), Faulty(), make_directories("/b"))
    assert isinstance(outcomes[1], InternalError)
    assert set(store.paths()) == {"/a", "/b"}
    assert store.one("SELECT count(*) FROM settings WHERE name = 'trace'") == 0


def test_ids_are_never_used_twice(tmp_path: Path) -> None:
    """Over groups, refusals and restarts."""
    seen: set[int] = set()
    with open_store(tmp_path) as store:
        for number in range(3):
            store.run(commit_files(file_commit(f"/{number}", str(number))), remove("/x"))
        seen |= {row[0] for row in store.query("SELECT id FROM entries UNION ALL SELECT id FROM versions")}
        again = Committer(
            open_engine(store.path), store.clock, 1, nodes=lambda: store.standings, on_fatal=store.fatal.append
        )
        (outcomes,) = again.run_group([commit_files(file_commit("/again", "y"))])
        again.stop()
        assert outcomes[0].version not in seen
        assert outcomes[0].version > max(seen)


# -- statements that fail --------------------------------------------------------------------------------------


def test_a_failed_group_is_taken_one_by_one(store: Store) -> None:
    """What the database refuses becomes the error of that request alone."""
    outcomes = store.run(
        make_directories("/a"),
        AddCredential("client", b"k" * 32, "one"),
        AddCredential("client", b"k" * 32, "the same key"),
        AddCredential("nobody", b"l" * 32, "no such role"),
        commit_files(file_commit("/f", "x")),
    )
    assert [isinstance(outcome, InternalError) for outcome in outcomes] == [False, False, True, True, False]
    assert set(store.paths()) == {"/a", "/f"}
    assert store.one("SELECT count(*) FROM credentials") == 1
    assert store.commit("/g", "y").code == ""


def test_values_that_the_driver_cannot_bind_fail_alone(store: Store) -> None:
    """Not every fault is the database's."""
    outcomes = store.run(SetSetting("odd", 2**70), make_directories("/a"))  # type: ignore[arg-type]
    assert isinstance(outcomes[0], InternalError)
    assert set(store.paths()) == {"/a"}


def test_a_full_disk_is_said_and_survived(faulty: tuple[Store, FaultyCursor]) -> None:
    """No space for the rows of a request: that request is refused, nothing is lost, and it goes on."""
    store, cursor = faulty
    cursor.errors["INSERT INTO chunks"] = driver_error("SQLITE_FULL")
    outcomes = store.run(commit_files(file_commit("/f", "x")), make_directories("/d"))
    assert isinstance(outcomes[0], NoSpaceError)
    assert set(store.paths()) == {"/d"}
    cursor.errors.clear()
    assert store.commit("/f", "x").code == ""
    assert store.fatal == []


@pytest.mark.parametrize("name", ["SQLITE_IOERR_WRITE", "SQLITE_CORRUPT"])
@pytest.mark.parametrize("beginning", ["SELECT", "SELECT entries", "INSERT INTO entries", "COMMIT", "BEGIN"])
def test_a_storage_failure_ends_the_process(faulty: tuple[Store, FaultyCursor], name: str, beginning: str) -> None:
    """Wherever it happens: everything is refused from then on, also when the disk works again."""
    store, cursor = faulty
    cursor.errors[beginning] = driver_error(name)
    (outcome,) = store.run(make_directories("/a"))
    assert isinstance(outcome, StorageFailedError)
    assert [type(error) for error in store.fatal] == [StorageFailedError]
    cursor.errors.clear()
    (outcome,) = store.run(make_directories("/a"))
    assert isinstance(outcome, UnavailableError)
    assert store.paths() == {}
    assert len(store.fatal) == 1


def test_a_storage_failure_of_the_second_try_ends_the_process_too(faulty: tuple[Store, FaultyCursor]) -> None:
    """The group failed for one reason, its single requests for a worse one."""
    store, cursor = faulty
    cursor.errors["INSERT INTO entries"] = driver_error("SQLITE_CONSTRAINT")
    cursor.errors["SAVEPOINT"] = driver_error("SQLITE_IOERR")
    (outcome,) = store.run(make_directories("/a"))
    assert isinstance(outcome, StorageFailedError)


def test_a_storage_failure_under_a_savepoint_ends_the_process(faulty: tuple[Store, FaultyCursor]) -> None:
    """It is not taken for the fault of one request."""
    store, cursor = faulty
    cursor.errors["INSERT INTO credentials"] = driver_error("SQLITE_CONSTRAINT")

    class Worse(Mutation[None]):
        def apply(self, context: Context) -> None:
            context.staging.put_setting("x", "y")
            if "SAVEPOINT request" in cursor.seen:
                cursor.errors["INSERT INTO settings"] = driver_error("SQLITE_IOERR")

    outcomes = store.run(AddCredential("client", b"k" * 32, "one"), Worse())
    assert all(isinstance(outcome, StorageFailedError) for outcome in outcomes)


def test_a_failed_commit_leaves_the_outcome_unknown(faulty: tuple[Store, FaultyCursor]) -> None:
    """Everybody is told so; ids and overlay start afresh, and the next group works."""
    store, cursor = faulty
    before = store.committer.commit_seq
    cursor.errors["COMMIT"] = driver_error("SQLITE_NOMEM")
    outcomes = store.run(commit_files(file_commit("/f", "x")), remove("/missing"))
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError]
    assert "unknown" in str(outcomes[0])
    cursor.errors.clear()
    assert store.paths() == {}
    assert store.committer.commit_seq == before
    assert store.commit("/f", "x").code == ""
    assert store.fatal == []


def test_a_disk_that_is_full_at_the_commit_is_said_at_once(faulty: tuple[Store, FaultyCursor]) -> None:
    """Nothing was written, and asking again for half a minute would not make room."""
    store, cursor = faulty
    cursor.errors["COMMIT"] = driver_error("SQLITE_FULL")
    (outcome,) = store.run(commit_files(file_commit("/f", "x")))
    assert isinstance(outcome, NoSpaceError)
    cursor.errors.clear()
    assert store.paths() == {}
    assert store.commit("/f", "x").code == ""
    assert store.fatal == []


def test_another_writer_makes_it_busy(store: Store) -> None:
    """The group may be asked for again; nothing ends."""
    with closing(connect_raw(open_engine(store.path))) as other:
        store.committer._connection.cursor().execute("PRAGMA busy_timeout = 1")
        other.cursor().execute("BEGIN IMMEDIATE")
        (outcome,) = store.run(make_directories("/a"))
        assert isinstance(outcome, BusyError)
        other.cursor().execute("ROLLBACK")
    assert store.do(make_directories("/a"))[0].code == ""


# -- epochs ----------------------------------------------------------------------------------------------------


def test_epochs_count_up(tmp_path: Path) -> None:
    """Each start takes the next."""
    engine = open_engine(new_database(tmp_path))
    assert [take_epoch(engine) for _ in range(3)] == [1, 2, 3]


def test_an_epoch_that_cannot_be_taken_is_not_half_taken(tmp_path: Path) -> None:
    """The transaction is rolled back."""
    path = new_database(tmp_path)
    engine = open_engine(path)
    with closing(connect_raw(engine)) as connection:
        connection.cursor().execute("INSERT INTO settings VALUES ('epoch', 'no number')")
        with pytest.raises(ValueError, match="invalid literal"):
            take_epoch(engine)
        connection.cursor().execute("BEGIN IMMEDIATE")
        connection.cursor().execute("ROLLBACK")


def test_a_master_that_was_replaced_writes_nothing_more(store: Store) -> None:
    """Its committer sees the newer epoch in the same transaction, and ends."""
    take_epoch(open_engine(store.path))
    outcomes = store.run(make_directories("/a"), make_directories("/b"))
    assert [type(outcome) for outcome in outcomes] == [EpochLostError, EpochLostError]
    assert [type(error) for error in store.fatal] == [EpochLostError]
    assert store.paths() == {}


@pytest.mark.parametrize("mutation", [SetSetting("some", "value"), remove("/missing")], ids=["setting", "refusal"])
def test_no_group_goes_without_the_epoch(store: Store, mutation: Mutation[Any]) -> None:
    """Nor one that sets a setting, as the epoch is one, nor one that writes nothing."""
    take_epoch(open_engine(store.path))
    assert [type(outcome) for outcome in store.run(mutation)] == [EpochLostError]
    assert store.one("SELECT count(*) FROM settings WHERE name = 'some'") == 0


def test_a_count_that_is_not_the_one_remembered_goes_on_from_the_record(store: Store) -> None:
    """The record wins; with the right epoch it is no other master's."""
    store.do(make_directories("/0"))
    store.execute("UPDATE settings SET value = '100' WHERE name = 'commit_seq'")
    store.do(make_directories("/a"))
    assert store.committer.commit_seq == 101
    store.do(make_directories("/b"))
    assert store.one("SELECT value FROM settings WHERE name = 'commit_seq'") == "102"


# -- order -----------------------------------------------------------------------------------------------------


def test_points_and_listeners_come_in_order(tmp_path: Path) -> None:
    """Before the commit, after it, then whoever keeps a cache, then the outcomes."""
    steps: list[str] = []
    told: list[Committed] = []

    def committed(what: Committed) -> None:
        steps.append("told")
        told.append(what)

    with open_store(tmp_path, points=steps.append, on_committed=committed) as store:
        store.committer.submit(make_directories("/a/b"), lambda _: steps.append("answered"))
        store.committer.start()
        store.committer.stop()
    assert steps == ["commit.before", "commit.after", "told", "answered"]
    assert told[0].commit_seq == 1
    assert [name for _, name in told[0].touched] == ["a", "b"]


def test_touched_names_are_those_of_both_ends(tmp_path: Path) -> None:
    """A rename frees one name and takes another; a rerun one by one counts as well."""
    told: list[Committed] = []
    with open_store(tmp_path, on_committed=told.append) as store:
        store.run(make_directories("/a"), make_directories("/b"))
        store.run(rename("/a", "/t"), rename("/b", "/a"), rename("/t", "/b"))
        assert {name for _, name in told[-1].touched} == {"a", "b", "t"}


# -- the thread ------------------------------------------------------------------------------------------------


class Held(Mutation[str]):
    """Waits in the committer until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def apply(self, context: Context) -> str:
        """Wait."""
        del context
        self.entered.set()
        self.let_go.wait(SECONDS)
        return "held"


def test_what_waits_together_is_committed_together(store: Store) -> None:
    """While one group is under way, the next one gathers; outcomes keep the order of the queue."""
    answered: list[int] = []
    held = Held()
    store.committer.start()
    store.committer.submit(held, lambda _: None)
    assert held.entered.wait(SECONDS)
    before = store.committer.commit_seq
    for number in range(20):
        store.committer.submit(make_directories(f"/{number}"), lambda _, number=number: answered.append(number))
    held.let_go.set()
    store.committer.stop()
    assert answered == list(range(20))
    assert len(store.paths()) == 20
    assert store.committer.commit_seq == before + 1


def test_a_group_is_bounded_by_rows(tmp_path: Path) -> None:
    """A request with more rows than a group may have is a group of its own."""
    with open_store(tmp_path, rows_max=10) as store:
        for count in (1, 1, 30, 1):
            store.committer.submit(make_directories(*(f"/{n}" for n in range(count))), lambda _: None)
        store.committer.stop()
        assert store.committer.commit_seq == 3


def test_a_full_queue_is_busy(tmp_path: Path) -> None:
    """At once, instead of waiting; stopping answers what waits and takes nothing new."""
    answered: list[object] = []
    with open_store(tmp_path, queue_max=2) as store:
        for number in range(2):
            store.committer.submit(make_directories(f"/{number}"), answered.append)
        with pytest.raises(BusyError):
            store.committer.submit(make_directories("/x"), answered.append)
        assert answered == []
        store.committer.stop()
        assert len(answered) == 2
        with pytest.raises(UnavailableError, match="stopping"):
            store.committer.submit(make_directories("/x"), answered.append)


def test_a_caller_that_cannot_take_its_outcome_harms_nobody(store: Store) -> None:
    """The thread goes on to the next."""
    answered: list[object] = []

    def fail(_: object) -> None:
        raise ValueError("the connection is gone")

    store.committer.start()
    store.committer.submit(make_directories("/a"), fail)
    store.committer.submit(make_directories("/b"), answered.append)
    store.committer.stop()
    assert len(answered) == 1
    assert set(store.paths()) == {"/a", "/b"}


def test_requests_behind_a_fatal_error_are_answered(store: Store) -> None:
    """Nobody waits for ever."""
    answered: list[object] = []
    take_epoch(open_engine(store.path))
    store.committer.start()
    for number in range(3):
        store.committer.submit(make_directories(f"/{number}"), answered.append)
    store.committer.stop()
    assert len(answered) == 3
    assert all(isinstance(outcome, DfsError) for outcome in answered)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_committer_itself_is_fatal(tmp_path: Path) -> None:
    """A listener that fails leaves the cache in doubt: the process must end."""

    def fail(_: Committed) -> None:
        raise ZeroDivisionError

    ended = threading.Event()
    with open_store(tmp_path, on_committed=fail) as store:
        store.committer._on_fatal = lambda _: ended.set()
        store.committer.start()
        store.committer.submit(make_directories("/a"), lambda _: None)
        assert ended.wait(SECONDS)


def test_what_waits_can_be_served_without_a_thread(store: Store) -> None:
    """The simulation's way: in the caller's thread, in the order of the queue."""
    answered: list[object] = []
    store.committer.serve_waiting()
    for name in "ab":
        store.committer.submit(make_directories(f"/{name}"), answered.append)
    store.committer.serve_waiting()
    assert len(answered) == 2
    assert set(store.paths()) == {"/a", "/b"}


def test_many_threads_lose_nothing(store: Store) -> None:
    """Every request of every thread is answered once, and done."""
    answered: list[Any] = []
    store.committer.start()

    def ask(thread: int) -> None:
        for number in range(50):
            store.committer.submit(commit_files(file_commit(f"/{thread}/{number}", "same")), answered.append)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    store.committer.stop()
    assert len(answered) == 200
    assert all(outcomes[0].code == "" for outcomes in answered)
    assert store.one("SELECT count(*) FROM versions") == 200
    assert store.one("SELECT count(*) FROM chunks") == 1


def test_a_fresh_database_starts_at_nothing(tmp_path: Path) -> None:
    """Without an epoch taken, epoch 0 is the one on record."""
    committer = Committer(open_engine(new_database(tmp_path)), ManualClock(), 0, nodes=dict, on_fatal=pytest.fail)
    assert committer.commit_seq == 0
    committer.stop()
