"""What nobody needs leaves step by step, and what somebody needs again meanwhile stays."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.catalog import digest_of
from tests.support.writing import (
    Standing,
    Store,
    commit_files,
    file_commit,
    make_directories,
    open_store,
    receipt,
    remove,
    request_id,
    set_policy,
)

from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.invariants import faults
from dfs_master.catalog.mutations.collecting import (
    CollectChunks,
    CollectOrphans,
    ForgetDeleted,
    RemoveVersions,
    Step,
    TrimCopies,
)
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.catalog.mutations.nodes import RecordFindings
from dfs_master.collecting import Orphan
from dfs_master.listed import Listed
from dfs_wire.messages import Extent, Finding, FindingKind, Receipt


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three nodes; whatever a test does, the rows must fit together at its end."""
    with open_store(tmp_path) as made:
        yield made
        with closing(connect_raw(open_engine(made.path, read_only=True))) as connection:
            assert faults(connection.cursor()) == []


def remove_versions(store: Store, limit: int = 1_000) -> Step:
    """One step over everything that was removed up to now."""
    step: Step = store.do(RemoveVersions(store.clock.wall_ms(), limit))
    return step


def collect(store: Store, generation: int = 5) -> Step:
    """One step over all chunks that nothing refers to."""
    step: Step = store.do(CollectChunks(store.clock.wall_ms(), generation))
    return step


def confirm(store: Store, node_id: int, text: str, generation: int) -> None:
    """The node says that it carried out a delete."""
    store.do(RecordFindings(node_id, [Finding(digest_of(text), generation, FindingKind.DELETED)]))


def replicas(store: Store, text: str) -> list[tuple[int, str, int]]:
    """Node, state and generation of the replicas of a chunk."""
    return store.query(  # type: ignore[return-value]
        "SELECT node_id, r.state, generation FROM replicas r JOIN chunks c ON c.id = r.chunk_id"
        " WHERE digest = ? ORDER BY node_id",
        digest_of(text),
    )


def commit_again(store: Store, path: str, text: str, *given: Receipt) -> str:
    """Commit with exactly these receipts; the code of the outcome."""
    outcomes = store.do(CommitFiles(request_id(), [file_commit(path, text)], list(given)))
    code: str = outcomes[0].code
    return code


# -- versions --------------------------------------------------------------------------------------------------


def test_versions_go_after_their_grace(store: Store) -> None:
    """A version removed later than the time given stays; the current one always does."""
    store.commit("/f", "a", "b")
    store.commit("/f", "b")
    early = store.clock.wall_ms()
    store.clock.advance(1)
    store.do(remove("/f"))
    store.commit("/g", "c")
    assert store.do(RemoveVersions(early - 1)) == Step(0, False)
    assert store.do(RemoveVersions(early)) == Step(1, False)
    assert store.query("SELECT digest FROM chunks WHERE unreferenced_since IS NOT NULL") == [(digest_of("a"),)]
    assert remove_versions(store) == Step(1, False)
    assert store.one("SELECT count(*) FROM versions") == 1
    assert store.query("SELECT copies_wanted, unreferenced_since FROM chunks WHERE digest = ?", digest_of("b")) == [
        (0, store.clock.wall_ms())
    ]
    assert store.query("SELECT copies_wanted, unreferenced_since FROM chunks WHERE digest = ?", digest_of("c")) == [
        (2, None)
    ]


def test_a_version_with_many_extents_goes_in_pieces(store: Store) -> None:
    """Each step is bounded; between two of them nobody can open what is half gone."""
    store.commit("/f", *("abcdefg"))
    store.do(remove("/f"))
    steps = [remove_versions(store, limit=3)]
    assert steps == [Step(0, True)]
    assert store.one("SELECT removed_at FROM versions") == 0
    assert store.query("SELECT ordinal FROM extents ORDER BY ordinal") == [(0,), (1,), (2,), (3,)]
    while steps[-1].more:
        steps.append(remove_versions(store, limit=3))
    assert sum(step.done for step in steps) == 1
    assert store.one("SELECT count(*) FROM versions") == 0
    assert store.one("SELECT count(*) FROM chunks WHERE unreferenced_since IS NULL") == 0


def test_a_commit_of_the_same_group_holds_its_chunks(store: Store) -> None:
    """What is only staged yet counts: the collector sees the group's own extents."""
    store.commit("/f", "a")
    store.do(remove("/f"))
    now = store.clock.wall_ms()
    outcomes = store.run(commit_files(file_commit("/g", "a")), RemoveVersions(now), CollectChunks(now, 5))
    assert outcomes[1:] == [Step(1, False), Step(0, False)]
    assert store.query("SELECT unreferenced_since, state, copies_wanted FROM chunks") == [(None, "stored", 2)]
    store.do(remove("/g"))
    outcomes = store.run(RemoveVersions(now), CollectChunks(now, 5), commit_files(file_commit("/h", "a")))
    assert outcomes[:2] == [Step(1, False), Step(1, False)]
    assert outcomes[2][0].code == "chunks_missing"


def test_copies_wanted_follow_the_versions_that_are_left(store: Store) -> None:
    """The most that one of them asks for."""
    store.do(make_directories("/three", "/one"))
    store.do(set_policy("/three", 3))
    store.do(set_policy("/one", 1))
    for path in ("/three/f", "/one/f", "/f"):
        store.commit(path, "a", nodes=(1, 2, 3))
    wanted = []
    for path in ("/three/f", "/f"):
        store.do(remove(path))
        remove_versions(store)
        wanted.append(store.one("SELECT copies_wanted FROM chunks"))
    assert wanted == [2, 1]


# -- chunks ----------------------------------------------------------------------------------------------------


def test_a_chunk_leaves_the_catalog_when_its_deletions_are_forgotten(store: Store) -> None:
    """Recorded, confirmed by each node, remembered, forgotten."""
    store.commit("/f", "a")
    store.do(remove("/f"))
    remove_versions(store)
    assert store.do(CollectChunks(store.clock.wall_ms() - 1, 5)) == Step(0, False)
    assert collect(store) == Step(1, False)
    assert replicas(store, "a") == [(1, "deleting", 5), (2, "deleting", 5)]
    assert store.query("SELECT state, copies_good, copies_wanted FROM chunks") == [("deleting", 0, 0)]
    confirm(store, 1, "a", 4)
    assert replicas(store, "a")[0] == (1, "deleting", 5)
    confirm(store, 1, "a", 5)
    assert replicas(store, "a") == [(1, "deleted", 5), (2, "deleting", 5)]
    store.clock.advance(1)
    assert store.do(ForgetDeleted(1, store.clock.wall_ms())) == Step(1, False)
    assert replicas(store, "a") == [(2, "deleting", 5)]
    confirm(store, 2, "a", 5)
    store.clock.advance(1)
    store.do(ForgetDeleted(2, store.clock.wall_ms()))
    assert store.one("SELECT count(*) FROM chunks") == 0


def test_a_late_receipt_does_not_vouch_for_a_file_that_is_gone(store: Store) -> None:
    """The client still holds receipts of its first upload when the nodes have deleted the chunk."""
    store.commit("/f", "a")
    store.do(remove("/f"))
    remove_versions(store)
    collect(store)
    late = [receipt(node, digest_of("a"), stored_at_ms=10**12) for node in (1, 2)]
    assert commit_again(store, "/g", "a", *late) == "chunks_missing"
    for node in (1, 2):
        confirm(store, node, "a", 5)
    assert commit_again(store, "/g", "a", *late) == "chunks_missing"
    anew = [receipt(node, digest_of("a"), generation=6) for node in (1, 3)]
    assert commit_again(store, "/g", "a", *anew) == ""
    assert replicas(store, "a") == [(1, "good", 6), (2, "deleted", 5), (3, "good", 6)]
    store.clock.advance(1)
    store.do(ForgetDeleted(2, store.clock.wall_ms()))
    assert replicas(store, "a") == [(1, "good", 6), (3, "good", 6)]


def test_a_chunk_without_any_replica_goes_at_once(store: Store) -> None:
    """There is nobody to order anything."""
    store.commit("/f", "a")
    store.do(remove("/f"))
    remove_versions(store)
    store.execute("DELETE FROM replicas")
    store.execute("UPDATE chunks SET copies_good = 0")
    collect(store)
    assert store.one("SELECT count(*) FROM chunks") == 0


def test_a_copy_made_by_order_returns_only_above_the_deletion(store: Store) -> None:
    """A copy order of before the deletion changes nothing, a newer one makes a copy."""
    store.commit("/f", "a", nodes=(1, 2, 3))
    assert store.do(TrimCopies([(digest_of("a"), 3)], 5)) == 1
    stored = [Finding(digest_of("a"), generation, FindingKind.STORED) for generation in (5, 6)]
    store.do(RecordFindings(3, stored[:1]))
    assert replicas(store, "a")[2] == (3, "deleting", 5)
    store.do(RecordFindings(3, stored[1:]))
    assert replicas(store, "a")[2] == (3, "good", 6)
    confirm(store, 3, "a", 5)
    assert replicas(store, "a")[2] == (3, "good", 6)


# -- trimming --------------------------------------------------------------------------------------------------


def test_surplus_goes_and_what_is_wanted_stays(store: Store) -> None:
    """Of three copies one goes, and no second one, whoever asks."""
    store.commit("/f", "a", nodes=(1, 2, 3))
    assert store.do(TrimCopies([(digest_of("a"), node) for node in (3, 2, 1)], 5)) == 1
    assert replicas(store, "a") == [(1, "good", 1), (2, "good", 1), (3, "deleting", 5)]
    assert store.one("SELECT copies_good FROM chunks") == 2


@pytest.mark.parametrize("standing", [Standing(copies_count=False, stays=False), Standing(stays=False)])
def test_copies_that_do_not_count_hold_nothing_up(store: Store, standing: Standing) -> None:
    """On a silent, failed or leaving node a copy is none when another is to be given up."""
    store.commit("/f", "a", nodes=(1, 2, 3))
    store.standings[1] = standing
    assert store.do(TrimCopies([(digest_of("a"), 3)], 5)) == 0
    store.standings[1] = Standing()
    store.do(RecordFindings(2, [Finding(digest_of("a"), 1, FindingKind.CORRUPT)]))
    assert store.do(TrimCopies([(digest_of("a"), 3)], 5)) == 0


def test_copies_of_before_their_nodes_came_back_hold_nothing_up(store: Store) -> None:
    """Until the inventory is taken, and where that left a doubt, until the node looked at the copy."""
    store.commit("/f", "a", nodes=(1, 2, 3))
    verified_at = store.one("SELECT max(verified_at) FROM replicas")
    for listed in (None, Listed({digest_of("a"): verified_at})):
        store.standings[1] = Standing(listed=listed)
        assert store.do(TrimCopies([(digest_of("a"), 3)], 5)) == 0
    store.clock.advance(1)
    store.do(RecordFindings(1, [Finding(digest_of("a"), 1, FindingKind.GOOD)]))
    assert store.do(TrimCopies([(digest_of("a"), 3)], 5)) == 1


def test_a_bad_copy_goes_when_enough_good_ones_are_elsewhere(store: Store) -> None:
    """Never before: it may be all that is left."""
    store.commit("/f", "a")
    store.do(RecordFindings(2, [Finding(digest_of("a"), 1, FindingKind.CORRUPT)]))
    assert store.do(TrimCopies([(digest_of("a"), 2)], 5)) == 0
    store.do(RecordFindings(3, [Finding(digest_of("a"), 4, FindingKind.STORED)]))
    assert store.do(TrimCopies([(digest_of("a"), 2)], 5)) == 1
    assert replicas(store, "a") == [(1, "good", 1), (2, "deleting", 5), (3, "good", 4)]


# -- files that nobody knows -----------------------------------------------------------------------------------


def test_an_orphan_is_on_record_before_it_is_deleted(store: Store) -> None:
    """And a receipt for it counts no more; one for a file that is stored later does."""
    assert store.do(CollectOrphans(1, 5, [Orphan(digest_of("a"), 1_000, 3)])) == 1
    assert replicas(store, "a") == [(1, "deleting", 5)]
    old = [receipt(1, digest_of("a"), generation=3), receipt(2, digest_of("a"), generation=3)]
    assert commit_again(store, "/f", "a", *old) == "chunks_missing"
    assert commit_again(store, "/f", "a", receipt(1, digest_of("a"), generation=6), old[1]) == ""


def test_a_file_that_is_needed_is_no_orphan(store: Store) -> None:
    """A copy on record, and one that the chunk lacks, stay; one too many goes."""
    store.commit("/f", "a")
    orphan = Orphan(digest_of("a"), 1_000, 1)
    assert store.do(CollectOrphans(1, 5, [orphan])) == 0
    store.standings[1] = Standing(copies_count=False, stays=False)
    assert store.do(CollectOrphans(3, 5, [orphan])) == 0
    store.standings[1] = Standing()
    assert store.do(CollectOrphans(3, 5, [orphan])) == 1
    assert store.do(CollectOrphans(9, 5, [orphan])) == 0
    assert replicas(store, "a") == [(1, "good", 1), (2, "good", 1), (3, "deleting", 5)]


def test_a_file_that_others_may_have_lost_is_no_orphan(store: Store) -> None:
    """A node that just came back answers for nothing yet."""
    store.commit("/f", "a")
    store.standings[2] = Standing(listed=None)
    assert store.do(CollectOrphans(3, 5, [Orphan(digest_of("a"), 1_000, 1)])) == 0


def test_a_file_that_comes_back_after_its_deletion_goes_again(store: Store) -> None:
    """A late put under an old ticket left it."""
    store.do(CollectOrphans(1, 5, [Orphan(digest_of("a"), 1_000, 3)]))
    confirm(store, 1, "a", 5)
    assert store.do(CollectOrphans(1, 8, [Orphan(digest_of("a"), 1_000, 4)])) == 1
    assert replicas(store, "a") == [(1, "deleting", 8)]


def test_packs_are_chunks_of_many_versions(store: Store) -> None:
    """A pack goes with the last of its files, not with the first."""
    pack = digest_of("pack")
    files = [
        file_commit(
            f"/f{number}", size=10, digest=digest_of(str(number)), extents=[Extent(pack, 1_000, number * 10, 10)]
        )
        for number in range(5)
    ]
    store.do(CommitFiles(request_id(), files, [receipt(node, pack) for node in (1, 2)]))
    for number in range(5):
        assert collect(store) == Step(0, False)
        store.do(remove(f"/f{number}"))
        remove_versions(store)
    assert collect(store) == Step(1, False)
