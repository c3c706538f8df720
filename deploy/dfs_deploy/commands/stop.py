"""`dfs stop`: end the processes and keep the data."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@pass_session
def stop(session: Session) -> None:
    """End all processes of a cluster. The data stays; `dfs start` goes on from there."""
    from dfs_deploy.reports import change_object

    name = session.cluster_name()
    with session.progress():
        change = session.operator.stop(name)
    if session.output.json:
        session.output.record(change_object(change, running=0))
        return
    done = "is stopped" if change.steps else "did not run"
    session.output.line(f"Cluster {name} {done}; its data is kept.")
