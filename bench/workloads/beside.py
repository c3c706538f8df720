"""w7: what a running upload loses to a scrub at its full allowed share, and to a repair under way.

One run takes turns: alone, beside the scrub, alone, beside a repair, and again. Each turn beside something is judged
by the two turns alone next to it, so that a disk which changes from minute to minute changes both.
"""

import io
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.cluster import Cluster
from bench.recording import Run
from bench.workloads.content import MIB, fresh_file
from dfs_client.api import Dfs, connect
from dfs_runtime.clock import Deadline, SystemClock
from dfs_wire.limits import HEARTBEAT_SECONDS

ROUNDS = 5
FILE_MIB = 64
#: What is repaired beside one turn, more than the turn uploads: it should not be over before.
MORE_MIB = 1024
#: How long files of 4 KiB are uploaded, one after the other.
SMALL_SECONDS = 1.5
SMALL_BYTES = 4096
ALONE, SCRUB, REPAIR = "alone", "scrub", "repair"
#: What was to be healed was healed before the turn ended: it tells nothing.
OVER = "over"
#: The default of the setting, and so little that nothing is read for minutes.
SCRUB_FULL, SCRUB_OFF = 32 * MIB, 4096
SECONDS_MAX = 300.0

#: What a turn was beside, and its rate.
Turn = tuple[str, float]


def beside_healing(run: Run) -> None:
    """All turns; a turn in which nothing was healed is an error, not a good figure."""
    volume_mib = max(FILE_MIB, run.options.volume_mib // 4)
    large: list[Turn] = []
    small: list[Turn] = []
    healed: dict[str, list[float]] = {SCRUB: [], REPAIR: []}
    with connect() as dfs:
        healing = _Healing(run.cluster, dfs)
        healing.store(run.files / "source", ROUNDS, volume_mib + MORE_MIB)

        def turn(
            name: str,
            begin: Callable[[], None] = lambda: None,
            done_mib: Callable[[], float] = lambda: 0.0,
            goes_on: Callable[[], bool] = lambda: True,
        ) -> None:
            # Before anything heals: it takes seconds, in which a repair would be over.
            source = fresh_file(run.files / "source", volume_mib)
            os.sync()
            begin()
            at = len(large)
            before, begun = done_mib(), time.perf_counter()
            dfs.upload(source, f"/large/{at}")
            between = time.perf_counter()
            large.append((name if goes_on() else OVER, volume_mib / (between - begun)))
            between, count = time.perf_counter(), 0
            while (seconds := time.perf_counter() - between) < SMALL_SECONDS:
                dfs.upload(io.BytesIO(os.urandom(SMALL_BYTES)), f"/small/{at}/{count}")
                count += 1
            small.append((name if goes_on() else OVER, count / seconds))
            if name != ALONE:
                healed[name].append((done_mib() - before) / (time.perf_counter() - begun))

        for number in range(ROUNDS):
            turn(ALONE)
            turn(SCRUB, healing.begin_scrub, healing.read_mib)
            healing.end_scrub()
            turn(ALONE)
            turn(REPAIR, partial(healing.begin_repair, number), healing.repaired_mib, healing.repairs)
            healing.end_repair()
        turn(ALONE)
    _note(run, "up", "MiB/s", large)
    _note(run, "4 KiB up", "files/s", small)
    for name, rates in healed.items():
        if statistics.median(rates) <= 0:
            raise RuntimeError(f"nothing was done by the {name} in most turns beside it: {rates}")
        run.note(f"w7 {name} meanwhile", statistics.median(rates), "MiB/s")


def _note(run: Run, what: str, unit: str, turns: Sequence[Turn]) -> None:
    missing = {ALONE, SCRUB, REPAIR} - {name for name, _ in turns}
    if missing:
        raise RuntimeError(f"{what}: nothing was under way to the end of any turn beside {', '.join(missing)}")
    for name in (ALONE, SCRUB, REPAIR):
        beside = name if name == ALONE else f"beside {name}"
        run.note(f"w7 {what}, {beside}", statistics.median(rate for each, rate in turns if each == name), unit)
    for name, percent in costs(turns).items():
        run.note(f"w7 {what}, cost of {name}", percent, "%")


def costs(turns: Sequence[Turn]) -> dict[str, float]:
    """How many percent slower each kind of turn was than the turns alone before and after it: the median of all."""
    found: dict[str, list[float]] = {}
    for (_, before), (name, rate), (_, after) in zip(turns, turns[1:], turns[2:], strict=False):
        if name not in (ALONE, OVER):
            found.setdefault(name, []).append(100 * (1 - rate / ((before + after) / 2)))
    return {name: statistics.median(percents) for name, percents in found.items()}


class _Healing:
    """Has the cluster heal, or not, when it is asked to."""

    def __init__(self, cluster: Cluster, dfs: Dfs) -> None:
        self._cluster = cluster
        self._dfs = dfs
        self._nodes = [node.id for node in dfs.status().nodes]
        self._to_repair_mib = 0.0
        dfs.admin.set_setting("scrub_bytes_per_second", str(SCRUB_OFF))

    def store(self, source: Path, rounds: int, mib: int) -> None:
        """What is scrubbed, and repaired later: one copy of each, which is a last copy as after a node's death."""
        for number in range(rounds):
            self._dfs.make_directory(f"/mend/{number}", parents=True)
            self._dfs.set_policy(f"/mend/{number}", 1)
            for each in range(max(1, mib // FILE_MIB)):
                self._dfs.upload(fresh_file(source, FILE_MIB), f"/mend/{number}/{each}")

    def begin_scrub(self) -> None:
        """A new pass on every node, as fast as it is allowed to be."""
        for node in self._nodes:
            self._dfs.admin.report_finding(node)
        self._pace_scrub(SCRUB_FULL)

    def end_scrub(self) -> None:
        """Nothing is read from now on."""
        self._pace_scrub(SCRUB_OFF)

    def begin_repair(self, number: int) -> None:
        """One copy more is wanted of what was stored; returns when copies are under way."""
        self._dfs.set_policy(f"/mend/{number}", 2)
        self._wait(lambda: self._dfs.admin.repair_status().under_way > 0)
        self._to_repair_mib = self._left_mib()

    def end_repair(self) -> None:
        """Wait for the rest."""
        self._wait(lambda: self._dfs.admin.repair_status().state == "idle")

    def repairs(self) -> bool:
        """Whether copies are still to be made."""
        return self._left_mib() > 0

    def repaired_mib(self) -> float:
        """Copied and confirmed since this repair began."""
        return self._to_repair_mib - self._left_mib()

    def read_mib(self) -> float:
        """What the nodes have read from files: uploads come by another call."""
        pids = [server.pid for server in self._cluster.servers() if server.role == "nodes"]
        lines = [line for pid in pids for line in Path(f"/proc/{pid}/io").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("rchar:")) / MIB

    def _left_mib(self) -> float:
        return self._dfs.admin.repair_status().bytes_left / MIB

    def _pace_scrub(self, bytes_per_second: int) -> None:
        self._dfs.admin.set_setting("scrub_bytes_per_second", str(bytes_per_second))
        # Nodes hear of it with their next heartbeat.
        time.sleep(HEARTBEAT_SECONDS + 1)

    def _wait(self, met: Callable[[], bool]) -> None:
        deadline = Deadline(SystemClock(), SECONDS_MAX)
        while not met():
            if deadline.remaining() <= 0:
                raise RuntimeError(f"repair did not get there: {self._dfs.admin.repair_status()}")
            time.sleep(0.1)
