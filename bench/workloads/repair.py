"""w4: one of three nodes is killed and its volume wiped; how long until every chunk has its copies again."""

import json
import time
from typing import Any

from bench import limits
from bench.recording import Run
from bench.workloads.content import fresh_file
from dfs_client.api import connect

STORED_MIB = 2048
FILE_MIB = 64
DEAD_SECONDS = 20
SECONDS_MAX = 1_800.0


def wiped_node(run: Run) -> None:
    """2 GiB, kill, wipe, wait. The clock of the figure starts when the master holds the node for dead."""
    source = fresh_file(run.files / "source", FILE_MIB)
    run.limit("two copies", lambda: limits.two_copies(source, run.disk))
    with connect() as dfs:
        for number in range(STORED_MIB // FILE_MIB):
            dfs.upload(fresh_file(source, FILE_MIB), f"/{number}")
    # The wait before a silent node counts as dead is a choice, not speed: a short one, and the clock starts after it.
    run.cluster.run("dfs", "settings", "set", "dead_seconds", str(DEAD_SECONDS))
    before = _used_mib(_status(run))
    begun = time.perf_counter()
    run.cluster.kill_and_wipe_node()
    _wait(run, lambda status: status["under_replicated"] > 0)
    noticed = time.perf_counter()
    _wait(run, lambda status: any(node["state"] == "dead" for node in status["nodes"]))
    dead = time.perf_counter()
    left = _used_mib(_status(run))
    _wait(run, lambda status: status["under_replicated"] == 0)
    ended = time.perf_counter()
    run.note("w4 noticed after", noticed - begun, "s")
    run.note("w4 dead after", dead - begun, "s")
    run.note("w4 full redundancy after dead", ended - dead, "s")
    run.note("w4 copied again", (before - left) / (ended - dead), "MiB/s")


def _wait(run: Run, met: Any) -> None:  # noqa: ANN401 - a predicate over printed JSON
    end = time.perf_counter() + SECONDS_MAX
    while not met(_status(run)):
        if time.perf_counter() > end:
            raise RuntimeError(f"the cluster did not get there within {SECONDS_MAX:.0f} s: {_status(run)}")
        time.sleep(0.2)


def _status(run: Run) -> Any:  # noqa: ANN401 - printed JSON
    return json.loads(run.cluster.run("dfs", "status", "--json"))


def _used_mib(status: Any) -> float:  # noqa: ANN401 - printed JSON
    return float(sum(node["used_bytes"] for node in status["nodes"] if node["state"] == "live")) / 2**20
