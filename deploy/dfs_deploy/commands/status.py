"""`dfs status`: how a cluster is."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@pass_session
def status(session: Session) -> None:
    """Show the master, the nodes, and whether all files have all their copies.

    Exit code 5: files are unreadable, or the master does not answer.
    """
    from dfs_deploy.status import look_at, show_status
    from dfs_wire.errors import UnavailableError

    seen = look_at(session)
    if session.output.json:
        session.output.record(seen.as_object())
    else:
        show_status(seen, session.output)
    if seen.trouble:
        raise UnavailableError(seen.trouble)
