"""`dfs start`: start what is dead."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session
from dfs_runtime.words import plural


@click.command(cls=ClusterCommand)
@pass_session
def start(session: Session) -> None:
    """Start every role of a cluster that does not run, over its data, and wait until all nodes are live."""
    from dfs_deploy.reports import change_object

    name = session.cluster_name()
    with session.progress():
        change = session.operator.start(name)
    if session.output.json:
        session.output.record(change_object(change, running=len(change.spec.roles)))
        return
    done = "runs" if change.steps else "ran already"
    nodes = plural(len(change.spec.nodes), "node")
    session.output.line(f"Cluster {name} {done}: master {change.spec.master_address}, {nodes}.")
