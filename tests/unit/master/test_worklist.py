"""The list of chunks that lack copies: riskiest first, counted, bounded."""

from hypothesis import given
from hypothesis import strategies as st

from dfs_master.worklist import Lacking, Worklist


def test_riskiest_first() -> None:
    """Fewest copies left, then as found."""
    work = Worklist()
    for chunk_id, left in ((1, 2), (2, 1), (3, 0), (4, 1)):
        work.put(chunk_id, Lacking(left, 10, 1))
    assert work.take(3) == [3, 2, 4]
    assert work.take(3) == [1]
    assert work.take(3) == []
    assert (len(work), work.bytes_left) == (4, 40)


def test_taken_ones_stay_counted_until_dropped() -> None:
    """Progress is what is confirmed, not what is ordered."""
    work = Worklist()
    work.put(1, Lacking(1, 10, 2))
    assert work.take(1) == [1]
    assert (len(work), work.bytes_left) == (1, 20)
    work.put(1, Lacking(1, 10, 1))
    assert (work.take(1), work.bytes_left) == ([], 10)
    work.give_back(1)
    assert work.take(1) == [1]
    work.drop(1)
    assert (len(work), work.bytes_left, work.take(1)) == (0, 0, [])


def test_parked_ones_come_back_in_time() -> None:
    """What cannot be helped is left alone for a while: no busy loop."""
    work = Worklist()
    work.put(1, Lacking(1, 10, 1))
    work.take(1)
    work.park(1, until=5.0)
    work.unpark(4.9)
    assert (work.take(1), work.parked) == ([], 1)
    work.unpark(5.0)
    assert (work.take(1), work.parked) == ([1], 0)


def test_a_changed_rank_is_followed() -> None:
    """A chunk that lost one copy more moves up."""
    work = Worklist()
    work.put(1, Lacking(2, 10, 1))
    work.put(2, Lacking(2, 10, 1))
    work.put(2, Lacking(1, 10, 2))
    assert work.take(2) == [2, 1]


def test_the_safest_is_forgotten_first() -> None:
    """At the bound, a riskier chunk takes the place of a safer one; and it is known that a look is needed again."""
    work = Worklist(entries_max=2)
    work.put(1, Lacking(2, 10, 1))
    work.put(2, Lacking(1, 10, 1))
    assert not work.overflowed
    work.put(3, Lacking(1, 10, 1))
    assert (work.overflowed, work.take(9)) == (True, [2, 3])
    work.put(4, Lacking(3, 10, 1))
    assert len(work) == 2


@given(st.lists(st.tuples(st.sampled_from("ptgdku"), st.integers(1, 6), st.integers(0, 3)), max_size=60))
def test_counts_never_drift(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is done, entries are where they belong once, and bytes are the sum over them."""
    work = Worklist(entries_max=4)
    known: dict[int, Lacking] = {}
    for what, chunk_id, left in steps:
        if what == "p":
            work.put(chunk_id, Lacking(left, 10 * chunk_id, 1))
        elif what == "t":
            work.take(left)
        elif what == "g":
            work.give_back(chunk_id)
        elif what == "d":
            work.drop(chunk_id)
        elif what == "k":
            work.park(chunk_id, 1.0)
        else:
            work.unpark(1.0)
        known = work._entries
        assert work.bytes_left == sum(each.size * each.lacking for each in known.values())
        assert len(work) <= 4
    for chunk_id in list(known):
        work.give_back(chunk_id)
    assert sorted(work.take(100)) == sorted(known)
