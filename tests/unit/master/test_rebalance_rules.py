"""Which copies move: only where nodes differ by more than the setting, to the emptiest, and never back."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from dfs_master.catalog.reader_repair import ChunkCopies
from dfs_master.healing_rules import fullness, which_copy_goes
from dfs_master.membership import KnownNode
from dfs_master.rebalance_rules import EVEN, balance_of, plan_rebalance, planned
from dfs_master.repair_rules import Move, Traffic

CAPACITY = 1_000_000


def nodes(*used: int, **fields: object) -> dict[int, KnownNode]:
    """Live nodes 1, 2, ... with so many bytes of a million used."""
    return {
        number: KnownNode(
            number,
            f"node-{number}",
            "a:1",
            "a:1",
            state="live",
            registration=1,
            heard=True,
            capacity_bytes=CAPACITY,
            used_bytes=size,
            free_bytes=CAPACITY - size,
            **fields,  # type: ignore[arg-type]
        )
        for number, size in enumerate(used, 1)
    }


def chunk(number: int, *good: int, size: int = 10_000, wanted: int = 2) -> ChunkCopies:
    """A chunk with these copies."""
    return ChunkCopies(number, number.to_bytes(32, "big"), size, wanted, len(good), tuple((e, "good") for e in good))


def test_even_enough_is_even() -> None:
    """Within the setting nothing moves; 0 never rebalances; one node alone is even."""
    assert balance_of(nodes(500_000, 550_000, 460_000), 5) == EVEN
    assert balance_of(nodes(0, 1_000_000), 0) == EVEN
    assert balance_of(nodes(900_000), 5) == EVEN


def test_an_empty_node_makes_all_others_donors() -> None:
    """Though each of them is within the setting: what it lacks comes from those above the even share."""
    balance = balance_of(nodes(*[500_000] * 9, 0), 5)
    assert set(balance.donors) == set(range(1, 10))
    assert balance.takers == {10: 450_000}
    assert balance.bytes_left == 400_000


def test_who_goes_or_is_away_takes_no_part() -> None:
    """Draining, dead and failed nodes are others' business."""
    known = nodes(900_000, 100_000, 500_000)
    known[1] = replace(known[1], state="draining", draining=True)
    known[2] = replace(known[2], state="dead")
    assert balance_of(known, 5) == EVEN


def test_moves_go_to_the_emptiest_and_end_at_even() -> None:
    """As many as the donor has too much of; a chunk that the target holds, or that lacks copies, stays."""
    known = nodes(600_000, 600_000, 0)
    balance = balance_of(known, 5)
    chunks = [chunk(1, 2, 3), chunk(2, 2), *(chunk(number, 1, 2) for number in range(3, 60))]
    moves = plan_rebalance(2, chunks, known, balance, Traffic())
    assert {(move.source, move.target) for move in moves} == {(2, 3)}
    assert len(moves) == 20
    assert {1, 2} & {move.chunk_id for move in moves} == set()


def test_what_is_under_way_counts() -> None:
    """A node is as full as it will be; a source gives its copy up later than the target gets it."""
    known = nodes(600_000, 0)
    move = Move(1, bytes(32), 100_000, 1, 2, rebalance=True)
    after = planned(known, [move], [move])
    assert (after[1].used_bytes, after[2].used_bytes, after[2].free_bytes) == (400_000, 100_000, 900_000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=3, max_size=6), st.integers(0, 1_000))
def test_it_comes_to_an_end(percents: list[int], seed: int) -> None:
    """Planned and trimmed round for round, every chunk keeps its two copies, no copy is moved twice in a row back."""
    known = nodes(*(each * CAPACITY // 100 for each in percents))
    ids = sorted(known)
    chunks: dict[int, set[int]] = {}
    used = dict.fromkeys(ids, 0)
    number = seed
    for place, node_id in enumerate(ids):
        other = ids[(place + 1 + seed % (len(ids) - 1)) % len(ids)]
        while used[node_id] < known[node_id].used_bytes - 10_000 and other != node_id:
            number += 1
            chunks[number] = {node_id, other}
            used[node_id] += 10_000
            used[other] += 10_000
    for _ in range(400):
        real = {each: replace(known[each], used_bytes=used[each], free_bytes=CAPACITY - used[each]) for each in ids}
        balance = balance_of(real, 5)
        if balance == EVEN:
            break
        donor = max(balance.donors, key=lambda each: (fullness(real[each]), each))
        rows = [chunk(each, *sorted(good)) for each, good in chunks.items() if donor in good]
        moves = plan_rebalance(donor, rows, real, balance, Traffic())[:8]
        if not moves:
            break
        for move in moves:
            good = chunks[move.chunk_id] | {move.target}
            used[move.target] += 10_000
            now = {each: replace(real[each], used_bytes=used[each]) for each in ids}
            (gone,) = which_copy_goes(good, 2, now)
            chunks[move.chunk_id] = good - {gone}
            used[gone] -= 10_000
            assert len(chunks[move.chunk_id]) == 2
    else:
        raise AssertionError(f"it never ends: {used}")
