"""`dfs fsck`: compare the catalog with the volumes."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session
from dfs_runtime.words import plural


@click.command(cls=ClusterCommand)
@click.option("--verify-data", is_flag=True, help="Read and hash every byte, not headers and lengths only.")
@click.option("--fix", is_flag=True, help="Wait until the cluster has mended what can be mended.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --fix waits.",
)
@pass_session
def fsck(session: Session, *, verify_data: bool, fix: bool, wait: float) -> None:
    """Compare what the metadata says with what the volumes hold, and name every damaged file.

    Works on a running and on a stopped cluster, and changes nothing itself: a running master is told of every damaged
    copy, has its node look, and repairs. Exit code 7 if anything is damaged, 5 if a volume could not be looked at.
    """
    from dfs_deploy.fsck.check import CheckResult, check
    from dfs_deploy.fsck.mending import look_for_orphans, tell, wait_until_mended
    from dfs_deploy.fsck.report import show
    from dfs_deploy.status import connect_to
    from dfs_runtime.clock import SystemClock
    from dfs_wire.errors import CorruptError, UnavailableError

    spec = session.cluster()
    engine = session.engine_of(spec)

    def checked() -> CheckResult:
        return check(engine, spec, read_data=verify_data, progress=session.progress_line)

    with session.progress(), connect_to(session) as dfs:
        result = checked()
        told = tell(dfs, result)
        if fix and told is None:
            raise UnavailableError("Only a running master mends; `dfs start` starts it.")
        if fix:
            clock = SystemClock()
            look_for_orphans(dfs, result, clock.wall_ms())
            result = wait_until_mended(result, checked, clock, wait, lambda found: tell(dfs, found))
    show(result, session.output)
    if told:
        session.output.note(f"the master was told of {plural(told, 'damaged copy')}; what is damaged is repaired")
    if result.damaged:
        raise CorruptError("Something is damaged; the lines above name it.")
    if result.unscanned:
        raise UnavailableError("Not every volume could be looked at; the lines above say why.")
