"""`dfs upgrade`: bring a running cluster to the installed version, one role at a time."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.option("--all", "everything", is_flag=True, help="Start roles of this version anew, too: a rolling restart.")
@pass_session
def upgrade(session: Session, everything: bool) -> None:
    """Bring a running cluster to the version that is installed here, one role at a time, the master first.

    Before each step all roles run and every chunk has all its copies, so files stay readable. When a role does not come
    back healthy, or another one ends meanwhile, all of them go back to the version before; so they do after Ctrl-C.
    """
    from importlib.metadata import version

    name = session.cluster_name()
    with session.progress():
        upgraded = session.operator.upgrade(name, everything=everything)
    if session.output.json:
        session.output.record({"name": name, "version": version("dfs"), "upgraded": list(upgraded)})
    elif upgraded:
        session.output.line(f"Cluster {name} runs version {version('dfs')}: {', '.join(upgraded)} were replaced.")
    else:
        session.output.line(f"Cluster {name} runs version {version('dfs')} already; nothing was done.")
