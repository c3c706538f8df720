"""`dfs node`: the nodes of a cluster."""

import click

from dfs_deploy.options import HELP_NAMES, ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.group(context_settings=HELP_NAMES)
def node() -> None:
    """Look at the nodes of a cluster."""


@node.command("list", cls=ClusterCommand)
@pass_session
def list_nodes(session: Session) -> None:
    """List the nodes as the master sees them: live, suspect or dead, and how full."""
    from dfs_deploy.status import look_at, show_nodes
    from dfs_wire.errors import UnavailableError

    seen = look_at(session)
    if seen.reply is None:
        raise UnavailableError(seen.trouble)
    if session.output.json:
        for one in seen.node_objects():
            session.output.record(one)
        return
    show_nodes(seen, session.output)
