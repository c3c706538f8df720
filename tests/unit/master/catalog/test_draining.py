"""A node goes: its copies are given up only where others stay."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.catalog import digest_of
from tests.support.writing import Standing, Store, file_commit, open_store, receipt, remove, request_id

from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.mutations.collecting import CollectChunks, ForgetDeleted, RemoveVersions
from dfs_master.catalog.mutations.draining import ForgetDeletions, ReleaseCopies, RemoveNode, SetDraining
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.catalog.mutations.nodes import RecordFindings
from dfs_master.catalog.reader import Reader
from dfs_wire.errors import ConflictError, NotFoundError
from dfs_wire.messages import Finding, FindingKind, Outcome, Receipt


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


def test_a_bad_copy_is_given_up_when_enough_good_ones_are_elsewhere(store: Store) -> None:
    """Until then it may be the last of its chunk."""
    store.do(RecordFindings(1, [Finding(digest_of("a"), 1, FindingKind.CORRUPT)]))
    store.do(SetDraining(1, True))
    for text in ("b1", "b2"):
        stored(store, 3, text)
    assert left(store, 1) == (1, 1_000)
    with pytest.raises(ConflictError, match="wait until it is drained"):
        store.do(ReleaseCopies(1))
    stored(store, 3, "a")
    assert left(store, 1) == (0, 0)
    assert store.do(ReleaseCopies(1)) == 3


def test_the_last_copy_stays_though_it_is_damaged(store: Store) -> None:
    """The operator is told which file it is, and what can be done: with the file the copy goes."""
    store.do(RecordFindings(3, [Finding(digest_of("c"), 1, FindingKind.CORRUPT)]))
    store.do(RecordFindings(2, [Finding(digest_of("c"), 1, FindingKind.MISSING)]))
    store.do(SetDraining(3, True))
    with closing(Reader(open_engine(store.path), store.clock)) as reader:
        assert reader.moves_left(3) == (1, 1_000, 1, ["/c"], 1)
        assert reader.moves_left(2).damaged == 0
    with pytest.raises(ConflictError, match=r"last bytes of the chunk .* of /c, .*damaged; .*remove the files"):
        store.do(ReleaseCopies(3))
    with pytest.raises(ConflictError):
        store.do(RemoveNode(3))
    store.do(remove("/c"))
    store.do(RemoveVersions(store.clock.wall_ms()))
    assert left(store, 3) == (0, 0)
    assert store.do(ReleaseCopies(3)) == 1
    store.do(RemoveNode(3))


def test_a_copy_on_a_node_that_may_have_lost_it_frees_nobody(store: Store) -> None:
    """A node that just came back is on record with what it had."""
    stored(store, 3, "a")
    store.do(SetDraining(1, True))
    store.standings[2] = Standing(listed=None)
    with pytest.raises(ConflictError):
        store.do(ReleaseCopies(1, limit=1))
    with closing(Reader(open_engine(store.path), store.clock)) as reader:
        assert reader.moves_left(1)[:3] == (2, 2_000, 0)
        assert reader.moves_left(1, (2,))[:3] == (3, 3_000, 2)
    store.standings[2] = Standing()
    assert store.do(ReleaseCopies(1, limit=1)) == 1


def commit_again(store: Store, path: str, text: str, *receipts: Receipt) -> str:
    """The code of a commit with just these receipts."""
    outcomes: list[Outcome] = store.do(CommitFiles(request_id(), [file_commit(path, text)], list(receipts)))
    return outcomes[0].code


def test_a_node_that_stays_after_all_remembers_its_deletions(store: Store) -> None:
    """Or a receipt of before would vouch for a file that is gone."""
    store.do(remove("/b"))
    store.do(RemoveVersions(store.clock.wall_ms()))
    store.do(CollectChunks(store.clock.wall_ms(), 5))
    for node in (1, 2):
        store.do(RecordFindings(node, [Finding(digest_of("b1"), 5, FindingKind.DELETED)]))
    store.do(SetDraining(1, True))
    with pytest.raises(ConflictError):
        store.do(ForgetDeletions(1))
    stored(store, 3, "a")
    assert store.do(ReleaseCopies(1)) == 1
    assert store.do(ReleaseCopies(1)) == 0
    with pytest.raises(ConflictError):
        store.do(RemoveNode(1))
    store.do(SetDraining(1, False))
    with pytest.raises(ConflictError, match="drain it first"):
        store.do(ForgetDeletions(1))
    old = [receipt(node, digest_of("b1"), generation=3) for node in (1, 2)]
    assert commit_again(store, "/late", "b1", *old) == "chunks_missing"


def test_a_node_that_goes_takes_its_deletions_with_it(store: Store) -> None:
    """A chunk that waits for nobody else's word is forgotten; of another one only that copy is. Step by step."""
    store.do(remove("/b"))
    store.do(RemoveVersions(store.clock.wall_ms()))
    store.do(CollectChunks(store.clock.wall_ms(), 5))
    store.do(RecordFindings(2, [Finding(digest_of("b1"), 5, FindingKind.DELETED)]))
    store.clock.advance(1)
    store.do(ForgetDeleted(2, store.clock.wall_ms()))
    store.do(SetDraining(1, True))
    stored(store, 3, "a")
    store.do(ReleaseCopies(1))
    assert [store.do(ForgetDeletions(1, limit=1)) for _ in range(3)] == [1, 1, 0]
    assert store.query("SELECT digest FROM chunks WHERE state = 'deleting'") == [(digest_of("b2"),)]
    store.do(RemoveNode(1))


def test_a_copy_that_failed_is_no_copy(store: Store) -> None:
    """What a node could not store, and what nobody asked about, changes nothing."""
    before = store.query("SELECT * FROM replicas")
    store.do(RecordFindings(3, [Finding(digest_of("a"), 0, FindingKind.NOT_STORED, "busy")]))
    store.do(RecordFindings(3, [Finding(digest_of("unknown"), 1, FindingKind.STORED)]))
    assert store.query("SELECT * FROM replicas") == before
