"""`dfs scale`: grow a cluster."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.option("--nodes", type=int, required=True, metavar="N", help="How many nodes the cluster shall have.")
@pass_session
def scale(session: Session, nodes: int) -> None:
    """Grow a cluster to N nodes (this version cannot shrink one: nodes are not drained yet)."""
    from dfs_deploy.reports import change_object, deployed_lines

    name = session.cluster_name()
    with session.progress():
        change = session.operator.scale(name, nodes)
    if session.output.json:
        session.output.record(change_object(change, running=len(change.spec.roles)))
        return
    for line in deployed_lines(change):
        session.output.line(line)
