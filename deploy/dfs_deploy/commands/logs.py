"""`dfs logs`: what the roles wrote."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.argument("role", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--lines", type=click.IntRange(min=0), default=50, show_default=True, metavar="N", help="Lines of each.")
@pass_session
def logs(session: Session, role: str | None, follow: bool, lines: int) -> None:
    """Show the log of ROLE (master, node-1, ...), or of all roles in the order of time."""
    from dfs_deploy.reports import in_time_order, log_object, log_text
    from dfs_wire.errors import NotFoundError

    spec = session.cluster()
    if role is not None and role not in spec.roles:
        raise NotFoundError(f"Cluster {spec.name!r} has no role {role!r}; it has {', '.join(spec.roles)}.")
    roles = spec.roles if role is None else (role,)
    engine = session.engine_of(spec)
    if follow:
        found = engine.follow_logs(spec, roles, lines)
    else:
        found = iter(in_time_order([line for one in roles for line in engine.log_tail(spec, one, lines)]))
    for line in found:
        if session.output.json:
            session.output.record(log_object(line))
        else:
            session.output.line(log_text(line, with_role=role is None))
        if follow:
            session.output.flush()
