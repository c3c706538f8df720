"""A new pack takes an old one's place in one transaction, or not at all."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.catalog import digest_of
from tests.support.writing import Standing, Store, file_commit, open_store, receipt, remove, request_id

from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.invariants import faults
from dfs_master.catalog.mutations.collecting import CollectChunks, CollectOrphans, RemoveVersions, Step
from dfs_master.catalog.mutations.compacting import AddPack, MoveExtents
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.catalog.reader import Reader
from dfs_master.collecting import Orphan
from dfs_master.compacting import live_slices
from dfs_wire.messages import Extent, Receipt, Slice

OLD, NEW = digest_of("old pack"), digest_of("new pack")
KEEP_MS = 10**15


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A pack of ten files of ten bytes, of which only /f3 and /f4 are left."""
    with open_store(tmp_path) as made:
        commit(made, range(10))
        for number in {*range(10)} - {3, 4}:
            made.do(remove(f"/f{number}"))
        made.do(RemoveVersions(made.clock.wall_ms()))
        yield made
        with closing(connect_raw(open_engine(made.path, read_only=True))) as connection:
            assert faults(connection.cursor()) == []


def commit(store: Store, numbers: range) -> None:
    """Files that are slices of the pack."""
    files = [
        file_commit(
            f"/f{number}", size=10, digest=digest_of(str(number)), extents=[Extent(OLD, 1_000, number * 10, 10)]
        )
        for number in numbers
    ]
    store.do(CommitFiles(request_id(), files, [receipt(node, OLD) for node in (1, 2)]))


def add_pack(store: Store, node_id: int, size: int = 20) -> bool:
    """A node made the new pack."""
    added: bool = store.do(AddPack(OLD, NEW, size, node_id, 7, KEEP_MS))
    return added


def move(store: Store, slices: list[Slice]) -> int:
    """Put it in the old one's place."""
    moved: int = store.do(MoveExtents(OLD, NEW, slices))
    return moved


def extents(store: Store) -> list[tuple[bytes, int, int]]:
    """Chunk, offset and length of every extent."""
    return store.query(  # type: ignore[return-value]
        'SELECT c.digest, "offset", length FROM extents e JOIN chunks c ON c.id = e.chunk_id ORDER BY "offset"'
    )


def test_a_sparse_pack_is_found_with_what_is_left_of_it(store: Store) -> None:
    """The look goes over all chunks in pieces and ends at the beginning."""
    store.commit("/whole", "a")
    with closing(Reader(open_engine(store.path), store.clock)) as reader:
        (found,), last = reader.sparse_packs(0, 1, 50)
        assert (found.digest, found.live_bytes, found.extents, found.good) == (OLD, 20, 2, frozenset({1, 2}))
        assert reader.sparse_packs(last, 1, 50)[0] == []
        assert reader.sparse_packs(0, 10, 50)[1] == 0
        assert reader.sparse_packs(0, 10, 2)[0] == []
        assert sorted(reader.slices_of(found.id, 10)) == [(30, 10), (40, 10)]


def test_the_new_pack_takes_over_when_it_has_its_copies(store: Store) -> None:
    """Extents move together; the old pack is what nothing refers to."""
    slices = live_slices([(30, 10), (40, 10)])
    assert add_pack(store, 1)
    assert store.query("SELECT copies_wanted, copies_good, unreferenced_since FROM chunks WHERE digest = ?", NEW) == [
        (2, 1, KEEP_MS)
    ]
    assert move(store, slices) == 0
    assert add_pack(store, 2)
    store.standings[2] = Standing(stays=False)
    assert move(store, slices) == 0
    store.standings[2] = Standing()
    assert store.do(CollectChunks(store.clock.wall_ms(), 9)) == Step(0, False)
    assert move(store, slices) == 2
    assert extents(store) == [(NEW, 0, 10), (NEW, 10, 10)]
    assert store.query("SELECT copies_wanted, unreferenced_since FROM chunks ORDER BY id") == [
        (0, store.clock.wall_ms()),
        (2, None),
    ]
    assert move(store, slices) == 0


def test_a_commit_that_comes_between_keeps_the_old_pack(store: Store) -> None:
    """It refers to a part that the new pack does not have; without its copies the new one is collected in the end."""
    add_pack(store, 1)
    add_pack(store, 2)
    commit(store, range(8, 9))
    assert move(store, live_slices([(30, 10), (40, 10)])) == 0
    assert {digest for digest, _, _ in extents(store)} == {OLD}
    assert store.do(CollectChunks(KEEP_MS, 9)) == Step(1, False)
    assert store.query("SELECT state FROM chunks ORDER BY id") == [("stored",), ("deleting",)]


def test_a_new_pack_that_is_an_old_chunk_is_that_chunk(store: Store) -> None:
    """One file is left of the pack, and its content is a chunk already."""
    store.do(
        CommitFiles(
            request_id(),
            [file_commit("/same", size=20, extents=[Extent(NEW, 20, 0, 20)])],
            [Receipt(node, NEW, 20, 1, 1_000, 10**12, b"") for node in (2, 3)],
        )
    )
    assert add_pack(store, 1)
    assert not add_pack(store, 1, size=21)
    assert move(store, live_slices([(30, 10), (40, 10)])) == 2
    assert store.query("SELECT copies_good, unreferenced_since FROM chunks WHERE digest = ?", NEW) == [(3, None)]


def test_a_new_pack_may_be_a_chunk_that_is_being_deleted(store: Store) -> None:
    """What was made is newer than the deletion; what is older is not believed."""
    store.do(CollectOrphans(1, 6, [Orphan(NEW, 20, 3)]))
    store.do(CollectOrphans(2, 8, [Orphan(NEW, 20, 3)]))
    assert add_pack(store, 1)
    assert not add_pack(store, 2)
    assert store.query("SELECT state, unreferenced_since FROM chunks WHERE digest = ?", NEW) == [("stored", KEEP_MS)]
    assert store.query(
        "SELECT node_id, r.state FROM replicas r JOIN chunks c ON c.id = chunk_id WHERE digest = ?", NEW
    ) == [
        (1, "good"),
        (2, "deleting"),
    ]
