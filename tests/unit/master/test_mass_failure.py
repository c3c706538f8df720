"""How many may vanish at once before repair waits for a person."""

from dfs_master.mass_failure import mass_failures
from dfs_master.membership import KnownNode


def known(
    count: int, gone: dict[int, int], *, zones: dict[int, str] | None = None, **fields: object
) -> dict[int, KnownNode]:
    """Nodes 1 to `count`; `gone` are dead, last heard at these seconds."""
    return {
        number: KnownNode(
            number,
            f"node-{number}",
            "a:1",
            "a:1",
            zone=(zones or {}).get(number, ""),
            state="dead" if number in gone else "live",
            last_seen_at_ms=gone.get(number, 10_000) * 1000,
            **(fields if number in gone else {}),  # type: ignore[arg-type]
        )
        for number in range(1, count + 1)
    }


def test_one_is_repaired_as_usual() -> None:
    """Also one of three, or of two: a single node is what repair is for."""
    assert mass_failures(known(3, {1: 100})) == []
    assert mass_failures(known(2, {1: 100})) == []


def test_more_than_a_quarter_at_once() -> None:
    """Two of eight are repaired, three of eight wait; three one after the other are repaired."""
    assert mass_failures(known(8, {1: 100, 2: 101})) == []
    (failure,) = mass_failures(known(8, {1: 100, 2: 101, 3: 130}))
    assert failure.node_ids == {1, 2, 3}
    assert failure.reason == "3 of 8 nodes vanished at once"
    assert mass_failures(known(8, {1: 100, 2: 300, 3: 900})) == []


def test_a_whole_zone() -> None:
    """A room without power: two of twelve that are all of their zone; a zone of one node is just a node."""
    zones = {number: "a" if number <= 2 else "b" for number in range(1, 13)}
    (failure,) = mass_failures(known(12, {1: 100, 2: 100}, zones=zones))
    assert failure.reason == "all 2 nodes of zone a vanished at once"
    assert mass_failures(known(12, {2: 100, 3: 100}, zones=zones)) == []
    alone = {number: str(number) for number in range(1, 13)}
    assert mass_failures(known(12, {1: 100, 2: 100}, zones=alone)) == []


def test_the_first_of_many_is_held_before_the_others_are_dead() -> None:
    """One is declared dead a second before the rest: they are silent already, so nothing begins in that second."""
    nodes = known(3, {1: 100, 2: 101})
    later = KnownNode(2, "node-2", "a:1", "a:1", state="suspect", last_seen_at_ms=101_000, heard=True)
    (failure,) = mass_failures(nodes | {2: later})
    assert failure.node_ids == {1, 2}
    nobody_dead = {each: KnownNode(each, "n", "a:1", "a:1", state="suspect", heard=True) for each in (1, 2, 3)}
    assert mass_failures(nobody_dead) == []


def test_what_was_announced_or_given_up_does_not_count() -> None:
    """Maintenance and announced stops are no failure, and an operator's word ends one."""
    nodes = known(4, {1: 100, 2: 101})
    assert mass_failures(nodes, frozenset({1, 2})) == []
    leaving = KnownNode(2, "n", "a:1", "a:1", state="suspect", leaving=True, last_seen_at_ms=101_000)
    assert mass_failures(nodes | {2: leaving}) == []
