"""`dfs export`: a cluster in the words of other tools."""

import click

from dfs_deploy.options import HELP_NAMES, ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.group(context_settings=HELP_NAMES)
def export() -> None:
    """Describe a cluster for other tools."""


@export.command(cls=ClusterCommand)
@pass_session
def compose(session: Session) -> None:
    """Print a compose file of the same cluster: the same containers over the same volumes.

    `dfs destroy` first (it keeps the volumes), then `docker compose -f FILE up -d` starts it. There is no secret in it.
    """
    from dfs_deploy.compose import compose_file
    from dfs_wire.errors import UsageError

    spec = session.cluster()
    if spec.engine != "docker":
        raise UsageError(f"Cluster {spec.name!r} runs as processes; only one with --engine docker has a compose file.")
    with session.progress():
        text = compose_file(spec.name, session.engines.docker(spec).layout(spec))
    if session.output.json:
        session.output.record({"name": spec.name, "compose": text})
    else:
        session.output.line(text.rstrip("\n"))
