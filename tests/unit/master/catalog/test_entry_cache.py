"""The cache of entries says what a reader without a cache says at that moment, whatever changes meanwhile."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.tree_model import Operation, operations
from tests.support.writing import (
    Store,
    commit_files,
    file_commit,
    make_directories,
    open_store,
    remove,
    rename,
    set_policy,
)

from dfs_master.catalog import entry_cache
from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.entry_cache import EntryCache
from dfs_master.catalog.mutations.records import SetSetting
from dfs_master.catalog.reader import Reader
from dfs_master.catalog.reader_tree import Found
from dfs_runtime.clock import ManualClock
from dfs_wire.codec import decode, encode
from dfs_wire.errors import DfsError, NotFoundError
from dfs_wire.messages import Stat, StatReply

#: A path may lack its first slash.
PATHS = ["/", "/a", "a", "/b", "/a/a", "a/a", "/a/b", "/b/a", "/a/b/c", "/b/a/a", "/a/a/a"]


class Interrupted:
    """A reader in whose look-ups something happens: before one, or behind it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.looked_up = 0
        self.before: Callable[[], None] = lambda: None
        self.behind: Callable[[], None] = lambda: None

    def look_up(self, parent_id: int, name: str) -> Found | None:
        """One statement."""
        self.looked_up += 1
        self.before()
        found = self.reader.look_up(parent_id, name)
        self.behind()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


class Watched(NamedTuple):
    """A store whose committer tells a cache, the cache's reader, and one without a cache."""

    store: Store
    cache: EntryCache
    reading: Interrupted
    plain: Reader

    def told(self, path: str) -> object:
        """What the cache says: by the reply that it kept, where it did, and by what it is made from."""
        kept = self.cache.reply_to(encode(Stat(path=path)))
        said = _said(lambda: self.cache.stat(path))
        if kept is not None:
            reply = decode(kept, StatReply)
            assert (reply.entry, reply.copies_wanted, reply.policy_from) == said
        return said

    def true(self, path: str) -> object:
        """What the database says."""

        def ask() -> object:
            entry, copies, source = self.plain.stat(path)
            return entry, copies, source

        return _said(ask)


def _said(ask: Callable[[], Any]) -> object:
    try:
        said = ask()
    except DfsError as error:
        return error.code
    return said if isinstance(said, tuple) else (said.entry, said.copies_wanted, said.policy_from)


@contextmanager
def watched(
    directory: Path, *, entries_max: int = 8, points: Callable[[str], None] = lambda _: None
) -> Iterator[Watched]:
    """A cache so small that it must forget."""
    held: list[Watched] = []
    cache = EntryCache(lambda: held[0].reading, entries_max=entries_max)  # type: ignore[arg-type, return-value]
    with (
        open_store(directory, watch=cache, points=points) as store,
        closing(Reader(open_engine(store.path), ManualClock())) as reading,
        closing(Reader(open_engine(store.path), ManualClock())) as plain,
    ):
        held.append(Watched(store, cache, Interrupted(reading), plain))
        yield held[0]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Watched]:
    """A cache and what it must agree with."""
    with watched(tmp_path) as made:
        yield made


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(operations(policies=True), min_size=1, max_size=4), max_size=8), st.sampled_from([1, 4, 64]))
def test_it_agrees_with_a_reader_before_within_and_after_each_commit(
    groups: list[list[Operation]], entries_max: int
) -> None:
    """Any tree, any groups of changes, looked at between their statements and their COMMIT as well."""
    at: list[Watched] = []

    def compare(_: object = None) -> None:
        for path in PATHS:
            assert at[0].told(path) == at[0].true(path), path

    with TemporaryDirectory() as directory, watched(Path(directory), entries_max=entries_max, points=compare) as here:
        at.append(here)
        for group in groups:
            here.store.run(*(operation.mutation() for operation in group))
            compare()


@settings(max_examples=80, deadline=None)
@given(
    st.lists(operations(policies=True), max_size=6),
    st.lists(operations(policies=True), min_size=1, max_size=3),
    st.sampled_from(PATHS),
    st.integers(1, 4),
    st.booleans(),
)
def test_a_look_up_that_is_overtaken_tells_of_one_moment(
    first: list[Operation], meanwhile: list[Operation], path: str, at_look_up: int, behind: bool
) -> None:
    """A transaction that is committed in the middle of a walk: the answer is right before it or after it, not a mix."""
    with TemporaryDirectory() as directory, watched(Path(directory), entries_max=64) as here:
        for operation in first:
            here.store.run(operation.mutation())
        allowed = [here.true(path)]
        left = iter(range(at_look_up))

        def happen() -> None:
            if next(left, None) == at_look_up - 1:
                here.store.run(*(operation.mutation() for operation in meanwhile))
                allowed.append(here.true(path))

        if behind:
            here.reading.behind = happen
        else:
            here.reading.before = happen
        assert here.told(path) in allowed
        assert here.told(path) == here.true(path)


def test_what_was_looked_up_needs_no_statement(here: Watched) -> None:
    """The second look costs nothing, its neighbour one statement, and a change of the one name none but its own."""
    here.store.run(make_directories("/a/b/one", "/a/b/two"))
    here.cache.stat("/a/b/one")
    assert here.reading.looked_up == 4
    here.cache.stat("/a/b/one")
    assert here.reading.looked_up == 4
    here.cache.stat("/a/b/two")
    assert here.reading.looked_up == 5
    here.store.run(set_policy("/a/b/one", 1))
    assert here.told("/a/b/one") == here.true("/a/b/one")
    assert here.reading.looked_up == 6


def test_a_file_that_was_just_written_needs_no_statement(here: Watched) -> None:
    """New, or with another content; one whose request was refused, or which is gone again, is not there."""
    here.store.run(make_directories("/a"))
    here.cache.stat("/a")
    assert here.reading.looked_up == 2
    here.store.run(commit_files(file_commit("/a/one", "x")), commit_files(file_commit("/a/two", "y")))
    here.store.run(commit_files(file_commit("/a/two", "z")), commit_files(file_commit("/a", "refused")))
    assert here.told("/a/one") == here.true("/a/one")
    assert here.told("/a/two") == here.true("/a/two")
    assert here.told("/a") == here.true("/a")
    assert here.reading.looked_up == 2
    here.store.run(commit_files(file_commit("/a/three", "x")), remove("/a/three"), rename("/a/one", "/a/four"))
    for path in ("/a/one", "/a/two", "/a/three", "/a/four"):
        assert here.told(path) == here.true(path)


def test_a_large_transaction_is_not_remembered(here: Watched) -> None:
    """Whoever hears of it must not be held up by thousands of names."""
    here.store.run(commit_files(*(file_commit(f"/{n}", "x") for n in range(65))))
    here.cache.stat("/64")
    assert here.reading.looked_up == 2


def test_a_file_in_a_directory_that_is_known_needs_no_walk(here: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a directory changes, or the policy of all."""
    here.store.run(make_directories("/a/b"))
    here.store.run(*(commit_files(file_commit(f"/a/b/{n}", "x")) for n in range(3)))
    walks: list[object] = []
    walk = here.cache._walk
    monkeypatch.setattr(here.cache, "_walk", lambda names: walks.append(names) or walk(names))
    assert here.told("/a/b/0") == here.true("/a/b/0")
    assert len(walks) == 1
    assert here.told("/a/b/1") == here.true("/a/b/1")
    assert here.cache.version_of("/a/b/2") == here.store.one("SELECT version_id FROM entries WHERE name = '2'")
    assert len(walks) == 1
    for change in (set_policy("/a", 1), SetSetting("copies", "3"), rename("/a", "/c"), rename("/c", "/a")):
        here.store.run(change)
        for path in ("/a/b/1", "/c/b/1", "/a//b/2", "/a/b", "/a/b/", "/a/b/none"):
            assert here.told(path) == here.true(path)


def test_replies_are_kept_as_they_were_encoded(here: Watched) -> None:
    """Until the name changes, or anything above it; a neighbour's change lets them stand."""
    one, two = (encode(Stat(path=path)) for path in ("/a/one", "/a/two"))
    here.store.run(commit_files(file_commit("/a/one", "x")), commit_files(file_commit("/a/two", "y")))
    assert here.cache.reply_to(one) is None
    said = [here.told("/a/one"), here.told("/a/two")]
    assert None not in (here.cache.reply_to(one), here.cache.reply_to(two))
    here.store.run(commit_files(file_commit("/a/two", "z")), commit_files(file_commit("/a/new", "z")))
    assert here.cache.reply_to(one) is not None
    assert here.cache.reply_to(two) is None
    assert here.told("/a/one") == said[0]
    assert here.told("/a/two") == here.true("/a/two") != said[1]
    for change in (set_policy("/a", 1), SetSetting("copies", "3"), rename("/a", "/b")):
        here.told("/a/one")
        assert here.cache.reply_to(one)
        here.store.run(change)
        assert here.cache.reply_to(one) is None
        assert here.told("/a/one") == here.true("/a/one")


def test_the_cluster_s_own_policy_may_change(here: Watched) -> None:
    """It is no entry, and yet a part of every answer."""
    here.store.run(commit_files(file_commit("/a", "x")))
    assert here.cache.stat("/a").copies_wanted == 2
    here.store.run(SetSetting("copies", "3"))
    assert here.cache.stat("/a").copies_wanted == 3
    assert here.cache.copies_at("/a/b/c") == 3


def test_versions_and_policies_by_path(here: Watched) -> None:
    """0 where a reader has to look for itself: a directory, nothing there."""
    here.store.run(commit_files(file_commit("/a/b", "x")), set_policy("/a", 1))
    assert here.cache.version_of("/a/b") == here.cache.stat("/a/b").entry.version
    assert [here.cache.version_of(path) for path in ("/", "/a", "/b", "/a/b/c")] == [0, 0, 0, 0]
    assert [here.cache.copies_at(path) for path in ("/", "/a/new", "/b/new")] == [2, 1, 2]
    with pytest.raises(NotFoundError):
        here.cache.stat("/a/c")


def test_it_is_bounded(here: Watched) -> None:
    """More names than it may keep: it forgets, and goes on being right."""
    paths = [f"/{n}" for n in range(40)]
    here.store.run(make_directories(*paths))
    for path in islice(cycle(paths), 100):
        assert here.told(path) == here.true(path)
    assert len(here.cache._entries) <= 8
    assert len(here.cache._replies) == len(here.cache._asked) <= 8


def test_news_that_nobody_hears_do_not_pile_up(here: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a limit everything is forgotten, and nothing is kept before the next transaction tells what changes."""
    monkeypatch.setattr(entry_cache, "_NEWS_MAX", 4)
    here.store.run(commit_files(file_commit("/a", "x")))
    assert here.told("/a") == here.true("/a")
    for text in "abcdefgh":
        here.store.run(commit_files(file_commit("/a", text)))
    assert len(here.cache._news) == 4
    assert here.told("/a") == here.true("/a")
    assert not here.cache._entries
    here.store.run(commit_files(file_commit("/b", "x")))
    assert here.told("/a") == here.true("/a")
    assert here.cache._entries


def _changes(number: int) -> Sequence[Any]:
    """A name that comes and goes, below a directory that moves."""
    there, back = ("/a", "/b") if number % 2 == 0 else ("/b", "/a")
    return [
        commit_files(file_commit(f"{there}/name", f"text {number}")),
        rename(there, back),
        remove(f"{back}/name") if number % 3 == 0 else make_directories("/c"),
    ]


def test_beside_a_committer_s_thread(tmp_path: Path) -> None:
    """Whoever got an answer sees the change: after each acknowledged group, the cache agrees with the database."""
    with watched(tmp_path, entries_max=64) as here:
        here.store.run(make_directories("/a"))
        stop = threading.Event()
        acknowledged: list[int] = []

        def write() -> None:
            for number in range(300):
                here.store.run(*_changes(number))
                acknowledged.append(number)
            stop.set()

        writer = threading.Thread(target=write)
        writer.start()
        compared = 0
        while not stop.is_set():
            for path in ("/a/name", "/b/name"):
                done = len(acknowledged)
                before, told, after = _version(here.true(path)), _version(here.told(path)), _version(here.true(path))
                # Versions only rise: what the cache tells is never older than what was there before it was asked.
                if before and told:
                    assert told >= before
                    compared += 1
                if before == after and done == len(acknowledged) and before:
                    assert told in (before, 0)
        writer.join()
        assert compared
        for path in ("/a", "/b", "/a/name", "/b/name", "/c"):
            assert here.told(path) == here.true(path)


def _version(said: object) -> int:
    """The version that an answer tells of; 0 where it is an error."""
    return int(said[0].version) if isinstance(said, tuple) else 0
