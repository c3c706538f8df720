"""Pure rules of collecting and compacting: what may go, what must wait, what moves where."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.catalog import digest_of

from dfs_master.catalog.collect_rows import TrimCandidate
from dfs_master.catalog.collect_space import NodeBytes, Pending
from dfs_master.catalog.rows import ChunkRow, ReplicaRow
from dfs_master.collecting import (
    READ_SECONDS,
    Standing,
    Verdict,
    copies_to_trim,
    judge_file,
    lost_to_trim,
    may_go,
    version_grace_seconds,
)
from dfs_master.compacting import is_sparse, live_slices, moved_offset
from dfs_master.listed import Listed
from dfs_master.membership import LIVE, SUSPECT, KnownNode
from dfs_master.space import first_free_at_ms, node_space, surplus_bytes
from dfs_wire.limits import GIB, MIB, TICKET_SECONDS

CHUNK = ChunkRow(1, digest_of("a"), 1_000, 2, 2, None, "stored")
DAY = 86_400


def node(node_id: int, *, used: int = 0, state: str = LIVE) -> KnownNode:
    """A node with a disk of 100 GiB."""
    return KnownNode(
        node_id,
        f"node-{node_id}",
        "n:1",
        "n:1",
        state=state,
        heard=True,
        capacity_bytes=100 * GIB,
        used_bytes=used,
        free_bytes=100 * GIB - used,
        listed=Listed(),
    )


# -- grace -----------------------------------------------------------------------------------------------------


def test_a_full_volume_shortens_the_grace_but_not_below_a_read() -> None:
    """Never less than a ticket's life and a minute, unless the setting says so."""
    assert version_grace_seconds(3_600, any_volume_full=False) == 3_600
    assert version_grace_seconds(3_600, any_volume_full=True) == READ_SECONDS == TICKET_SECONDS + 60
    assert version_grace_seconds(1, any_volume_full=True) == version_grace_seconds(1, any_volume_full=False) == 1


# -- files that nobody knows -----------------------------------------------------------------------------------


def replica(state: str, generation: int = 5) -> ReplicaRow:
    """A copy of `CHUNK` on record."""
    return ReplicaRow(1, 7, generation, state, 0, 0)


@pytest.mark.parametrize(
    ("chunk", "row", "generation", "staying", "age", "verdict"),
    [
        (None, None, 3, 0, DAY - 1, Verdict.WAIT),
        (None, None, 3, 0, DAY, Verdict.ORPHAN),
        (CHUNK, replica("good"), 3, 0, DAY, Verdict.KNOWN),
        (CHUNK, replica("bad"), 3, 0, DAY, Verdict.KNOWN),
        (CHUNK, None, 3, 1, 0, Verdict.ADOPT),
        (CHUNK, None, 3, 2, DAY, Verdict.ORPHAN),
        (CHUNK, replica("deleting"), 5, 0, DAY, Verdict.WAIT),
        (CHUNK, replica("deleting"), 6, 0, DAY, Verdict.ADOPT),
        (CHUNK, replica("deleting"), 6, 2, DAY, Verdict.ORPHAN),
        (CHUNK, replica("deleted"), 5, 0, DAY, Verdict.ORPHAN),
        (CHUNK, replica("deleted"), 5, 0, 0, Verdict.WAIT),
        (CHUNK._replace(state="deleting"), None, 6, 0, DAY, Verdict.ORPHAN),
        (CHUNK._replace(copies_wanted=0), None, 6, 0, DAY, Verdict.ORPHAN),
    ],
)
def test_what_becomes_of_a_file(
    chunk: ChunkRow | None, row: ReplicaRow | None, generation: int, staying: int, age: int, verdict: Verdict
) -> None:
    """Known, needed, on its way out, or nobody's."""
    assert judge_file(generation, age, chunk, row, staying=staying, orphan_seconds=DAY) is verdict


# -- trimming --------------------------------------------------------------------------------------------------


@given(
    copies=st.dictionaries(st.integers(1, 6), st.booleans(), min_size=1),
    wanted=st.integers(0, 4),
    order=st.randoms(use_true_random=False),
)
def test_giving_up_copies_one_by_one_never_goes_below_what_is_wanted(
    copies: dict[int, bool], wanted: int, order: object
) -> None:
    """Whatever the order, enough that count are left, and one at the least; where there were fewer, nothing goes."""
    standings = [Standing(node_id, counts) for node_id, counts in copies.items()]
    before = sum(copies.values())
    asked = sorted(copies)
    order.shuffle(asked)  # type: ignore[attr-defined]
    for node_id in asked:
        if may_go(standings, node_id, wanted):
            standings = [each for each in standings if each.node_id != node_id]
    left = sum(each.counts for each in standings)
    assert left >= min(before, max(1, wanted))
    if before < max(1, wanted):
        assert len(standings) == len(copies)


def test_the_fullest_node_gives_its_copy_up() -> None:
    """Nodes that are silent are not counted, and keep theirs."""
    nodes = {1: node(1, used=GIB), 2: node(2, used=3 * GIB), 3: node(3, used=2 * GIB), 4: node(4, state=SUSPECT)}
    chunk = TrimCandidate(1, digest_of("a"), 1_000, 2, dict.fromkeys(nodes, 5))
    assert copies_to_trim([chunk], nodes) == [(digest_of("a"), 2)]
    assert surplus_bytes([chunk], nodes) == {2: 1_000}
    assert copies_to_trim([chunk._replace(good={1: 5, 2: 5, 4: 5})], nodes) == []


def test_a_copy_that_its_node_has_not_listed_is_no_reason_to_give_up_another() -> None:
    """It may have lost it while it was away. Neither is one in doubt, until the node has looked at it."""
    chunk = TrimCandidate(1, digest_of("a"), 1_000, 2, {1: 5, 2: 5, 3: 5})
    nodes = {1: replace(node(1), listed=None), 2: node(2), 3: node(3)}
    assert copies_to_trim([chunk], nodes) == []
    doubting = {**nodes, 1: replace(node(1), listed=Listed({digest_of("a"): 5}))}
    assert copies_to_trim([chunk], doubting) == []
    assert copies_to_trim([chunk._replace(good={1: 6, 2: 5, 3: 5})], doubting) == [(digest_of("a"), 3)]
    lost = chunk._replace(good={1: 5, 2: 5})
    assert lost_to_trim(4, [lost], nodes) == lost_to_trim(4, [lost], doubting) == []
    assert lost_to_trim(4, [lost], {**nodes, 1: node(1)}) == [(digest_of("a"), 4)]


# -- packs -----------------------------------------------------------------------------------------------------

_slices = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), min_size=1, max_size=20)


@given(_slices)
def test_every_extent_reads_the_same_bytes_in_the_new_pack(extents: list[tuple[int, int]]) -> None:
    """Slices are in order and apart, and hold every extent whole, at the offset that is told."""
    pack = bytes(index % 251 for index in range(300))
    slices = live_slices(extents)
    assert all(a.offset + a.length < b.offset for a, b in itertools.pairwise(slices))
    new = b"".join(pack[each.offset : each.offset + each.length] for each in slices)
    assert len(new) == len({at for offset, length in extents for at in range(offset, offset + length)})
    for offset, length in extents:
        moved = moved_offset(slices, offset, length)
        assert moved is not None
        assert new[moved : moved + length] == pack[offset : offset + length]


def test_a_part_that_was_not_taken_along_has_no_place() -> None:
    """A commit that came meanwhile refers to it: the old pack stays."""
    slices = live_slices([(10, 10), (50, 5)])
    assert moved_offset(slices, 15, 10) is None
    assert moved_offset(slices, 0, 5) is None
    assert moved_offset(slices, 51, 4) == 11


def test_when_writing_anew_pays() -> None:
    """Below the share that is set, and never a chunk that nothing refers to."""
    assert is_sparse(49, 100, 50)
    assert not is_sparse(50, 100, 50)
    assert not is_sparse(0, 100, 50)
    assert not is_sparse(1, 100, 0)


# -- space -----------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_node_are_split() -> None:
    """Surplus is taken off what is live; the reserve is what uploads may not take."""
    space = node_space(node(1, used=30 * MIB), NodeBytes(1, 20 * MIB, 5 * MIB, MIB), 2 * MIB, None)
    assert (space.live_bytes, space.surplus_bytes, space.waiting_bytes, space.orphan_bytes) == (
        18 * MIB,
        3 * MIB,
        5 * MIB,
        -1,
    )
    assert space.reserve_bytes == 5 * GIB
    assert space.free_bytes == 100 * GIB - 30 * MIB - 5 * GIB
    assert node_space(node(1), None, 0, 7).orphan_bytes == 7


def test_when_the_first_bytes_become_free() -> None:
    """What waits least; a time that is over is now."""
    assert first_free_at_ms(Pending(None, None, False), 3_600, 360, 10_000) == 0
    assert first_free_at_ms(Pending(1_000, None, False), 3_600, 360, 10_000) == 3_961_000
    assert first_free_at_ms(Pending(1_000, 2_000, False), 3_600, 360, 10_000) == 362_000
    assert first_free_at_ms(Pending(1_000, 2_000, True), 3_600, 360, 10_000) == 10_000
    assert first_free_at_ms(Pending(None, 2_000, False), 3_600, 1, 10_000) == 10_000
