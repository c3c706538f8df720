"""Several clients race for the same names with the same contents, while the collector has hardly any grace.

Nobody owns a name, so what a read may find follows from when each operation began and ended: it is the outcome of one
that nothing else followed before the read began.
"""

import io
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.test_collecting import (
    CONTENTS,
    HASTY,
    RACE_SECONDS_MAX,
    RACES,
    SETTLE_SECONDS,
    TURN_SECONDS,
    WORKERS,
    deletions,
    read,
    settled,
    started,
)
from tests.support.faults import FaultCluster
from tests.support.oracle import examine
from tests.support.polling import poll_for

from dfs_client.api import Dfs
from dfs_wire.errors import ChunksMissingError, NotFoundError, TooFewNodesError

NAMES = [f"/shared/f{number}" for number in range(4)]


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that was acknowledged: what it may have left under a name, and when it began and ended."""

    name: str
    left: frozenset[bytes | None]
    began: float
    ended: float


class Racer:
    """One client. `changes` and `reads` are looked at when all have ended."""

    def __init__(self, cluster: FaultCluster, number: int, races: int) -> None:
        self.changes: list[Done] = []
        self.reads: list[Done] = []
        self.faults: list[str] = []
        self.refused = self.done = 0
        self.saw_deletions = False
        self._random = random.Random(number)
        self._races = races
        self._cluster = cluster
        self.thread = threading.Thread(target=self._run, name=f"racer-{number}")

    def _run(self) -> None:
        try:
            with self._cluster.client() as dfs:
                steps = [self._put, self._put, self._remove, self._rename, self._get]
                ends_at = time.monotonic() + RACE_SECONDS_MAX
                # A fast machine may be done before anything is old enough to be collected: then it goes on.
                while self.done < self._races or not (self.saw_deletions or time.monotonic() > ends_at):
                    if self.done % 50 == 0:
                        self.saw_deletions = self.saw_deletions or deletions(self._cluster) > 0
                    self.done += 1
                    self._random.choice(steps)(dfs, self._random.choice(NAMES))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells of it
            self.faults.append(repr(error))

    def _put(self, dfs: Dfs, name: str) -> None:
        data = CONTENTS[(int(time.monotonic() / TURN_SECONDS) + self._random.randrange(2)) % len(CONTENTS)]
        began = time.monotonic()
        try:
            dfs.upload(io.BytesIO(data), name)
        except (ChunksMissingError, TooFewNodesError):
            self.refused += 1
        else:
            self._changed(name, {data}, began)

    def _remove(self, dfs: Dfs, name: str) -> None:
        began = time.monotonic()
        try:
            dfs.remove(name)
        except NotFoundError:
            return
        self._changed(name, {None}, began)

    def _rename(self, dfs: Dfs, name: str) -> None:
        target = self._random.choice([each for each in NAMES if each != name])
        began = time.monotonic()
        try:
            dfs.rename(name, target)
        except NotFoundError:
            return
        self._changed(name, {None}, began)
        self._changed(target, set(CONTENTS), began)

    def _get(self, dfs: Dfs, name: str) -> None:
        began = time.monotonic()
        found = read(dfs, name)
        self.reads.append(Done(name, frozenset({found}), began, time.monotonic()))

    def _changed(self, name: str, left: set[bytes | None] | set[bytes], began: float) -> None:
        self.changes.append(Done(name, frozenset(left), began, time.monotonic()))


def may_find(changes: list[Done], at: Done) -> set[bytes | None]:
    """What a read may find: whatever was left by a change that began before its end, and that no other one followed
    before its begin.
    """
    before = [each for each in changes if each.name == at.name and each.began < at.ended]
    over = [each.began for each in before if each.ended < at.began]
    found = {left for each in before if not over or each.ended >= max(over) for left in each.left}
    return found if over else found | {None}


def test_clients_race_for_the_same_names(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, nothing deleted comes back: by each read in between, and by those in the end."""
    with started(FaultCluster(tmp_path), HASTY) as cluster:
        racers = [Racer(cluster, number, RACES // WORKERS) for number in range(WORKERS)]
        for racer in racers:
            racer.thread.start()
        for racer in racers:
            racer.thread.join()
        assert [fault for racer in racers for fault in racer.faults] == []
        refused = sum(racer.refused for racer in racers)
        assert refused <= max(1, sum(racer.done for racer in racers) // 100)
        assert any(racer.saw_deletions for racer in racers), "the collector had nothing to do: these were no races"
        last = Racer(cluster, WORKERS, races=0)
        with cluster.client() as dfs:
            for name in NAMES:
                last._get(dfs, name)
        changes = [each for racer in racers for each in racer.changes]
        reads = [each for racer in [*racers, last] for each in racer.reads]
        wrong = [each.name for each in reads if not each.left <= may_find(changes, each)]
        assert wrong == []
        poll_for("the volumes to hold what counts and no more", settled(cluster), seconds=SETTLE_SECONDS)
        assert examine(cluster).faults == []
        print(
            f"\n{len(changes)} changes, {refused} refused; {len(reads)} reads agree; {deletions(cluster)} copies gone"
        )


def test_the_judge_itself() -> None:
    """What a read may find after, between and beside changes."""
    a, b = b"a", b"b"
    put_a, put_b = Done("/n", frozenset({a}), 1, 2), Done("/n", frozenset({b}), 3, 4)
    gone = Done("/n", frozenset({None}), 5, 6)
    changes = [put_a, put_b, gone, Done("/other", frozenset({a}), 7, 8)]

    def at(began: float, ended: float) -> set[bytes | None]:
        return may_find(changes, Done("/n", frozenset(), began, ended))

    assert at(0, 0.5) == {None}
    assert at(0, 1.5) == {None, a}
    assert at(2.5, 2.6) == {a}
    assert at(2.5, 3.5) == {a, b}
    assert at(4.5, 4.6) == {b}
    assert at(9, 10) == {None}
