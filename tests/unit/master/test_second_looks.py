"""When bad copies without any other are looked at again."""

from dfs_master.second_looks import FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX, SecondLooks


def looks_in(looks: SecondLooks, seconds: int, chunk_id: int = 1) -> list[int]:
    """When a chunk was due, asked each second."""
    return [now for now in range(seconds) if looks.is_due(chunk_id, float(now))]


def test_pauses_grow() -> None:
    """At once, then after 10, 20, 40 s and so on."""
    assert looks_in(SecondLooks(), 100) == [0, 10, 30, 70]


def test_pauses_end_at_an_hour() -> None:
    """What is damaged for good is still looked at, and costs next to nothing."""
    due = looks_in(SecondLooks(), 40_000)
    assert due[-1] - due[-2] == PAUSE_SECONDS_MAX


def test_chunks_are_apart_and_forgotten() -> None:
    """A chunk that was well again begins at the beginning; so do all when a node came back."""
    looks = SecondLooks()
    assert looks.is_due(1, 0.0)
    assert looks.is_due(2, 1.0)
    assert not looks.is_due(1, 2.0)
    looks.forget(1)
    assert looks.is_due(1, 2.0)
    assert not looks.is_due(1, 2.0 + FIRST_PAUSE_SECONDS - 1)
    looks.clear()
    assert looks.is_due(1, 3.0)
    looks.forget(3)
