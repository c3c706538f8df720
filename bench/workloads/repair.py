"""w4: one of three nodes is killed and its volume wiped; how long until every chunk has its copies again."""

import time
from collections.abc import Callable

from bench import limits
from bench.recording import Run
from bench.workloads.content import MIB, fresh_file
from dfs_client.api import Dfs, connect
from dfs_client.types import ClusterStatus
from dfs_runtime.clock import Deadline, SystemClock

FILE_MIB = 64
DEAD_SECONDS = 20
SECONDS_MAX = 1_800.0
#: How often the master is asked, over one connection: asking must take little from what is measured.
LOOK_SECONDS = 0.1
#: By then each node was heard again.
HEARD_SECONDS = 7.0
COPYING = "copy and fsync, 2 at once"


def wiped_node(run: Run) -> None:
    """Store, kill, wipe, wait. The clock of the figure starts when the master holds the node for dead."""
    source = fresh_file(run.files / "source", FILE_MIB)
    run.limit("two copies", lambda: limits.two_copies(source, run.disk))
    with connect() as dfs:
        for number in range(max(1, run.options.volume_mib // FILE_MIB)):
            dfs.upload(fresh_file(source, FILE_MIB), f"/{number}")
        # The wait before a silent node counts as dead is a choice, not speed: a short one, and apart.
        dfs.admin.set_setting("dead_seconds", str(DEAD_SECONDS))
        copying = limits.copy_and_fsync(run.disk)
        begun = time.perf_counter()
        run.cluster.kill_and_wipe_node()
        _wait(dfs, lambda status: status.reply.under_replicated > 0)
        noticed = time.perf_counter()
        dead_status = _wait(dfs, lambda status: any(node.state == "dead" for node in status.nodes))
        dead = time.perf_counter()
        cpu = run.cluster.cpu_seconds()
        left_mib = _used_mib(dead_status)
        # On record are copies that their nodes fsynced and read back, so this is the end of all of it.
        _wait(dfs, lambda status: status.reply.under_replicated == 0)
        seconds = time.perf_counter() - dead
        cpu = {role: used - cpu[role] for role, used in run.cluster.cpu_seconds().items()}
        # The disk is not the same from minute to minute: before and after.
        run.limits[COPYING] = (copying + limits.copy_and_fsync(run.disk)) / 2
        # What nodes hold is as old as their last heartbeat.
        time.sleep(HEARD_SECONDS)
        mib = _used_mib(dfs.status()) - left_mib
    run.note("w4 noticed after", noticed - begun, "s")
    run.note("w4 dead after", dead - begun, "s")
    run.note("w4 full redundancy after dead", seconds, "s")
    spent = {role: used * 1000 / mib for role, used in cpu.items()}
    run.note("w4 copied again", mib / seconds, "MiB/s", spent)
    run.note("w4 copied again, beside two copies", mib / seconds, "MiB/s")


def _wait(dfs: Dfs, met: Callable[[ClusterStatus], bool]) -> ClusterStatus:
    deadline = Deadline(SystemClock(), SECONDS_MAX)
    while not met(status := dfs.status()):
        if deadline.remaining() <= 0:
            raise RuntimeError(f"the cluster did not get there within {SECONDS_MAX:.0f} s: {status}")
        time.sleep(LOOK_SECONDS)
    return status


def _used_mib(status: ClusterStatus) -> float:
    return sum(node.used_bytes for node in status.nodes if node.state == "live") / MIB
