"""What a round of repair planning costs: `python -m bench.planning [--rows N …] [--nodes N] [--mend N …]`.

Real rows of files, versions, extents, chunks and replicas in the project's schema, real nodes in membership and
placement, the repairer as the master runs it; only the nodes' processes are missing, so the orders stay where they
are. A round here is all that it takes from the nodes' death to an order for every chunk: many short steps.
"""

import argparse
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from bench.catalogs import CAPACITY_BYTES, CHUNK_BYTES, add_nodes, fill
from dfs_master.app import build_cluster
from dfs_master.catalog.engine import Engine, open_engine
from dfs_master.catalog.mutations.records import AddEvent
from dfs_master.cluster import Cluster
from dfs_master.config import DATABASE_FILE, MasterConfig
from dfs_master.handlers.nodes import known_node
from dfs_master.healing import Healing
from dfs_master.housekeeping import Housekeeping
from dfs_master.initialise import initialise
from dfs_master.membership import DEAD
from dfs_master.placement import choose
from dfs_runtime.clock import ManualClock
from dfs_runtime.lifecycle import StopSignal
from dfs_wire import messages as m
from dfs_wire.service import Session

DYING_PERCENT = 1
_STEPS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Round:
    """What it took to order a copy for every chunk that lacks one. Seconds are processor time but for `wall_seconds`.

    `instructions` is how much work the database did, in steps of its machine, which no clock changes.
    """

    stored: int
    nodes: int
    mend: int
    steps: int
    seconds: float
    longest_seconds: float
    wall_seconds: float
    instructions: int


class Instructions:
    """Instructions of SQLite's machine that one thread has run, over all connections of an engine."""

    def __init__(self, engine: Engine, *, each: int = 1_000) -> None:
        self.count = 0
        self._each = each
        self._thread = threading.get_ident()
        event.listen(engine, "connect", self._watch)

    def _watch(self, connection: DBAPIConnection, _: object) -> None:
        connection.set_progress_handler(self._ran, self._each)

    def _ran(self) -> int:
        if threading.get_ident() == self._thread:
            self.count += self._each
        return 0


class Planner:
    """A master of many nodes, without a network. Used by one thread."""

    def __init__(self, cluster: Cluster, instructions: Instructions, dying: Sequence[int], stored: int) -> None:
        self.cluster = cluster
        self.stored = stored
        self._housekeeping = Housekeeping(cluster)
        self._instructions = instructions
        self._dying = dying

    def let_die(self, share: float) -> None:
        """So many of the nodes that may die fall silent, long ago; the membership step finds them dead."""
        going = self._dying[: math.ceil(len(self._dying) * share)]
        for node_id in going:
            self.cluster.registry.change(node_id, lambda node: replace(node, heard_at=-math.inf))
        self._housekeeping.watch_nodes()
        self._settle()
        dead = [node.id for node in self.cluster.registry.nodes.values() if node.state == DEAD]
        if sorted(dead) != sorted(going):
            raise RuntimeError(f"{len(dead)} nodes are dead, not {len(going)}")

    def plan(self, mend: int) -> Round:
        """Step until every chunk that lacks a copy has its order.

        Raises:
            RuntimeError: it does not come to that.
        """
        repairer = Healing(self.cluster).repairer
        self.cluster.registry.drop_orders()
        seconds: list[float] = []
        before, wall = self._instructions.count, time.perf_counter()
        while repairer.view.counting or repairer.view.under_way < mend or not seconds:
            begun = time.thread_time()
            repairer.step()
            seconds.append(time.thread_time() - begun)
            if len(seconds) > _STEPS_MAX:
                raise RuntimeError(f"{repairer.view.under_way} of {mend} copies are ordered after {_STEPS_MAX} steps")
        wall = time.perf_counter() - wall
        if repairer.view.under_way != mend:
            raise RuntimeError(f"{repairer.view.under_way} copies are ordered, not {mend}")
        return Round(
            stored=self.stored,
            nodes=len(self.cluster.registry.nodes),
            mend=mend,
            steps=len(seconds),
            seconds=sum(seconds),
            longest_seconds=max(seconds),
            wall_seconds=wall,
            instructions=self._instructions.count - before,
        )

    def other_costs(self, times: int = 20) -> dict[str, float]:
        """Processor time in ms of what else depends on the number of nodes."""
        cluster = self.cluster
        node = next(node for node in cluster.registry.nodes.values() if node.serves)
        session = Session("127.0.0.1:1", role=m.Role.NODE, node_id=node.id)
        beat = m.Heartbeat(
            node_id=node.id,
            registration=1,
            capacity_bytes=CAPACITY_BYTES,
            used_bytes=0,
            free_bytes=CAPACITY_BYTES,
        )
        work: dict[str, Callable[[], object]] = {
            "membership step": cluster.registry.step,
            "heartbeat": lambda: cluster.registry.heard(session, beat),
            "two nodes for a new chunk": lambda: choose(
                cluster.registry.nodes.values(), 2, CHUNK_BYTES, holders=set(), excluded=set(), random=cluster.random
            ),
        }
        costs = {}
        for name, call in work.items():
            begun = time.thread_time()
            for _ in range(times):
                call()
            costs[name] = (time.thread_time() - begun) * 1000 / times
        return costs

    def _settle(self) -> None:
        """Wait for what the committer was given."""
        done: SimpleQueue[object] = SimpleQueue()
        self.cluster.committer.submit(AddEvent("settled", "bench", {}), done.put)
        done.get(timeout=60)


@contextmanager
def planner(directory: Path, *, rows: int, nodes: int, mend_max: int, each: int = 1_000) -> Iterator[Planner]:
    """A catalog of so many files, of whose chunks up to `mend_max` can lose a copy, and the master over it."""
    data, clock = directory / "master", ManualClock()
    initialise(data, clock, copies=2)
    database = data / DATABASE_FILE
    ids = add_nodes(database, nodes)
    dying = ids[: max(1, nodes * DYING_PERCENT // 100)]
    fill(database, rows, staying=ids[len(dying) :], dying=dying, mend=mend_max)
    engine = open_engine(database)
    instructions = Instructions(engine, each=each)
    cluster = build_cluster(MasterConfig(data=data), engine, clock, b"line", StopSignal())
    cluster.committer.start()
    try:
        for row in cluster.reader.nodes():
            # As a registration leaves it.
            node = known_node(row, clock, free_bytes=CAPACITY_BYTES // 2)
            cluster.registry.registered(node, Session(f"{row.name}:1", role=m.Role.NODE, node_id=row.id))
        made = Planner(cluster, instructions, dying, rows)
        made.let_die(0)
        yield made
    finally:
        cluster.committer.stop()
        cluster.readers.close()


def main() -> None:
    """Print a table; perhaps write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.planning", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="files stored")
    parser.add_argument("--mend", type=int, nargs="*", default=[0, 100, 1_000, 10_000], help="chunks to mend")
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--directory", type=Path, help="where the catalogs are built (default: the system's)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    rounds: list[Round] = []
    costs: dict[str, float] = {}
    print(
        "| files stored | nodes | to mend | steps | processor time, s | by the clock, s | longest step, ms | SQLite |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for rows in sorted(options.rows):
        # In the largest catalog all numbers to mend, in the others the most.
        mends = sorted(options.mend) if rows == max(options.rows) else [max(options.mend)]
        with (
            TemporaryDirectory(prefix="dfs-bench-planning-", dir=options.directory) as directory,
            planner(Path(directory), rows=rows, nodes=options.nodes, mend_max=max(options.mend)) as made,
        ):
            for mend in mends:
                made.let_die(mend / max(1, max(options.mend)))
                rounds.append(made.plan(mend))
                print(_line(rounds[-1]), flush=True)
            costs = made.other_costs()
    print(f"\nwith {options.nodes:,} nodes, ms: " + ", ".join(f"{name} {ms:.2f}" for name, ms in costs.items()))
    if options.json is not None:
        options.json.write_text(json.dumps({"rounds": [asdict(each) for each in rounds], "costs_ms": costs}) + "\n")


def _line(made: Round) -> str:
    return (
        f"| {made.stored:,} | {made.nodes:,} | {made.mend:,} | {made.steps} | {made.seconds:.3f} |"
        f" {made.wall_seconds:.3f} | {made.longest_seconds * 1000:.1f} | {made.instructions / 1e6:.1f} M |"
    )


if __name__ == "__main__":
    main()
