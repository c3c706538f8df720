"""`dfs df`: what the bytes of a cluster are there for."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@pass_session
def df(session: Session) -> None:
    """Show for each volume, and for all, what its bytes are there for and when some become free.

    LIVE is needed, SURPLUS are copies too many, WAITING was removed or replaced and goes when its grace is over,
    ORPHAN are files that nobody knows of, RESERVE is kept free of uploads.
    """
    from dfs_deploy.space_report import show_space, space_object
    from dfs_deploy.status import connect_to

    with connect_to(session) as dfs:
        reply, nodes = dfs.admin.space_detail()
    if session.output.json:
        session.output.record(space_object(reply, nodes))
    else:
        show_space(reply, nodes, session.output)
