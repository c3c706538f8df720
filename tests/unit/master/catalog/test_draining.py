"""A node goes: its copies are given up only where others stay."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.catalog import digest_of
from tests.support.writing import Store, open_store, remove

from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.mutations.collecting import CollectChunks, ForgetDeleted, RemoveVersions
from dfs_master.catalog.mutations.draining import ReleaseCopies, RemoveNode, SetDraining
from dfs_master.catalog.mutations.nodes import RecordFindings
from dfs_master.catalog.reader import Reader
from dfs_wire.errors import ConflictError, NotFoundError
from dfs_wire.messages import Finding, FindingKind


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three nodes; two files on nodes 1 and 2, one on 2 and 3."""
    with open_store(tmp_path) as made:
        made.commit("/a", "a", nodes=(1, 2))
        made.commit("/b", "b1", "b2", nodes=(1, 2))
        made.commit("/c", "c", nodes=(2, 3))
        yield made


def stored(store: Store, node_id: int, text: str) -> None:
    """The node says that it made a copy."""
    store.do(RecordFindings(node_id, [Finding(digest_of(text), 9, FindingKind.STORED)]))


def left(store: Store, node_id: int) -> tuple[int, int]:
    """Chunks and bytes that the node holds alone."""
    with closing(Reader(open_engine(store.path), store.clock)) as reader:
        return reader.moves_left(node_id)[:2]


def test_draining_is_a_state_and_an_event(store: Store) -> None:
    """It is on record once, however often it is said, and can be taken back."""
    assert store.do(SetDraining(1, True)).state == "draining"
    store.do(SetDraining(1, True))
    assert store.one("SELECT state FROM nodes WHERE id = 1") == "draining"
    assert store.do(SetDraining(1, False)).state == "suspect"
    kinds = [kind for (kind,) in store.query("SELECT kind FROM events ORDER BY id")]
    assert kinds == ["drain_started", "drain_cancelled"]


def test_what_is_left_to_move(store: Store) -> None:
    """Chunks whose copies elsewhere are too few, with who holds them; a copy made by order counts at once."""
    store.do(SetDraining(1, True))
    assert left(store, 1) == (3, 3_000)
    with closing(Reader(open_engine(store.path), store.clock)) as reader:
        first = reader.chunks_on_node(1, 0, 2)
        chunks = reader.copies_of([*first, *reader.chunks_on_node(1, first[-1], 2)])
    assert {each.digest for each in chunks} == {digest_of(text) for text in ("a", "b1", "b2")}
    assert chunks[0].good == frozenset({1, 2})
    stored(store, 3, "a")
    assert left(store, 1) == (2, 2_000)


def test_no_needed_copy_is_given_up(store: Store) -> None:
    """A node goes only when every chunk has its copies elsewhere, and then without a trace but the event."""
    with pytest.raises(ConflictError, match="drain it first"):
        store.do(ReleaseCopies(1))
    store.do(SetDraining(1, True))
    with pytest.raises(ConflictError, match="still holds"):
        store.do(ReleaseCopies(1))
    for text in ("a", "b1", "b2"):
        with pytest.raises(ConflictError):
            store.do(RemoveNode(1))
        stored(store, 3, text)
    assert left(store, 1) == (0, 0)
    assert store.do(ReleaseCopies(1, limit=2)) == 2
    assert store.do(ReleaseCopies(1, limit=2)) == 1
    assert store.do(ReleaseCopies(1, limit=2)) == 0
    store.do(RemoveNode(1))
    assert store.query("SELECT id FROM nodes ORDER BY id") == [(2,), (3,)]
    assert store.one("SELECT min(copies_good) FROM chunks") == 2
    with pytest.raises(NotFoundError):
        store.do(RemoveNode(1))


def test_two_nodes_that_go_do_not_count_on_each_other(store: Store) -> None:
    """Copies on a node that is to go as well are not copies that stay."""
    store.do(SetDraining(1, True))
    store.do(SetDraining(2, True))
    stored(store, 3, "a")
    with pytest.raises(ConflictError):
        store.do(ReleaseCopies(1, limit=1))


def test_a_bad_copy_is_given_up_freely(store: Store) -> None:
    """A copy that is known to be bad keeps nobody."""
    store.do(RecordFindings(1, [Finding(digest_of("a"), 1, FindingKind.CORRUPT)]))
    store.do(SetDraining(1, True))
    for text in ("b1", "b2"):
        stored(store, 3, text)
    assert left(store, 1) == (0, 0)
    assert store.do(ReleaseCopies(1)) == 3


def test_a_node_that_goes_takes_its_deletions_with_it(store: Store) -> None:
    """A chunk that waits for nobody else's word is forgotten; of another one only that copy is."""
    store.do(remove("/b"))
    store.do(RemoveVersions(store.clock.wall_ms()))
    store.do(CollectChunks(store.clock.wall_ms(), 5))
    store.do(RecordFindings(2, [Finding(digest_of("b1"), 5, FindingKind.DELETED)]))
    store.clock.advance(1)
    store.do(ForgetDeleted(2, store.clock.wall_ms()))
    store.do(SetDraining(1, True))
    stored(store, 3, "a")
    store.do(ReleaseCopies(1))
    assert store.query("SELECT digest FROM chunks WHERE state = 'deleting'") == [(digest_of("b2"),)]
    store.do(RemoveNode(1))


def test_a_copy_that_failed_is_no_copy(store: Store) -> None:
    """What a node could not store, and what nobody asked about, changes nothing."""
    before = store.query("SELECT * FROM replicas")
    store.do(RecordFindings(3, [Finding(digest_of("a"), 0, FindingKind.NOT_STORED, "busy")]))
    store.do(RecordFindings(3, [Finding(digest_of("unknown"), 1, FindingKind.STORED)]))
    assert store.query("SELECT * FROM replicas") == before
