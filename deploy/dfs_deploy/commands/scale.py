"""`dfs scale`: change the number of nodes."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.option("--nodes", type=int, required=True, metavar="N", help="How many nodes the cluster shall have.")
@pass_session
def scale(session: Session, nodes: int) -> None:
    """Change a cluster to N nodes; nodes that go are drained first, and then their volumes are deleted."""
    from dfs_deploy.reports import change_object, deployed_lines

    name = session.cluster_name()
    with session.progress():
        change = session.operator.scale(name, nodes)
    if session.output.json:
        session.output.record(change_object(change, running=len(change.spec.roles)))
        return
    for line in deployed_lines(change):
        session.output.line(line)
