"""`dfs list`: the clusters of this user."""

import click

from dfs_client.output import Column
from dfs_deploy.options import PlainCommand, pass_session
from dfs_deploy.session import Session


@click.command("list", cls=PlainCommand)
@pass_session
def list_clusters(session: Session) -> None:
    """Name the clusters under DFS_HOME.

    The state is running, partial (some processes are dead), stopped, or destroyed (only the data is left).
    """
    from dfs_deploy.reports import cluster_object

    specs = [session.store.load(name) for name in session.store.names()]
    rows = [cluster_object(spec, session.engine_of(spec).look(spec)) for spec in specs]
    if session.output.json:
        for row in rows:
            session.output.record(row)
        return
    columns = [Column("NAME"), Column("ENGINE"), Column("NODES", right=True), Column("STATE"), Column("MASTER")]
    session.output.table(
        columns, ([str(row[key]) for key in ("name", "engine", "nodes", "state", "master")] for row in rows)
    )
