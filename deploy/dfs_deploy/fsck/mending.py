"""What follows a check: a running master is told of each damaged copy, and `--fix` waits until it has mended them.

`fsck` itself repairs nothing. The node looks at the copy, its finding is recorded, and the same repair runs that
mends what scrubs and readers find: so there is one way to make a copy, and one to remove one.
"""

from collections.abc import Callable

from dfs_client.api import Dfs
from dfs_deploy.fsck.check import CheckResult
from dfs_runtime.clock import Clock, Deadline
from dfs_wire.errors import UnavailableError

#: Between two looks of `--fix`; each is a whole check, so they grow apart.
PAUSE_SECONDS = 3.0
PAUSE_SECONDS_MAX = 60.0


def tell(dfs: Dfs, result: CheckResult) -> int | None:
    """Report every damaged copy to the master; how many, or None where no master answers."""
    try:
        for copy in result.findings.damaged:
            dfs.admin.report_finding(copy.node_id, bytes.fromhex(copy.digest), copy.what)
    except UnavailableError:
        return None
    return len(result.findings.damaged)


def look_for_orphans(dfs: Dfs, result: CheckResult, now_ms: int) -> None:
    """Have nodes that hold old files which the catalog does not know list all they have now, not within a day.

    What nobody needs is then collected. Younger files may belong to uploads under way.
    """
    orphan_seconds = next(item.value for item in dfs.admin.settings() if item.name == "orphan_seconds")
    before_ms = now_ms - orphan_seconds * 1000
    for node_id in sorted({copy.node_id for copy in result.findings.unknown if copy.changed_at_ms < before_ms}):
        dfs.admin.report_finding(node_id)


def wait_until_mended(
    result: CheckResult,
    again: Callable[[], CheckResult],
    clock: Clock,
    seconds: float,
    report: Callable[[CheckResult], object],
) -> CheckResult:
    """Check again and again until nothing is damaged or the time is over; what the last check found.

    What is lost or contradicts itself is never mended by waiting, so it alone is not waited for.
    """
    deadline = Deadline(clock, seconds)
    pause = PAUSE_SECONDS
    while _hopeful(result) and not deadline.passed():
        clock.sleep(min(pause, max(deadline.remaining(), 0.0)))
        pause = min(2 * pause, PAUSE_SECONDS_MAX)
        result = again()
        report(result)
    return result


def _hopeful(result: CheckResult) -> bool:
    """Whether another copy can be made of something that has too few."""
    found = result.findings
    lost = {chunk.digest for chunk in found.poor if chunk.lost}
    return any(not chunk.lost for chunk in found.poor) or any(copy.digest not in lost for copy in found.damaged)
