"""`dfs deploy`: start a cluster, or change it to N nodes."""

import platform

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


def _pairs(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """NAME=VALUE in two."""
    pairs = []
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE; `dfs settings list` shows the names.")
        pairs.append((name, value))
    return tuple(pairs)


@click.command(cls=ClusterCommand)
@click.option("--nodes", type=int, metavar="N", help="How many nodes; more than before grows it.  [new cluster: 3]")
@click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="What runs the roles, for the life of a cluster; auto is docker where an engine answers.",
)
@click.option(
    "--context",
    metavar="NAME",
    help="The Docker context whose engine runs it, for the life of a cluster.  [the current one, each time]",
)
@click.option("--copies", type=int, metavar="N", help="Copies kept of every file.  [new cluster: 2]")
@click.option("--port", type=int, metavar="PORT", help="The master's port.  [new cluster: 5000 or the next free one]")
@click.option("--listen", metavar="ADDRESS", help="The address to listen on.  [new cluster: 127.0.0.1]")
@click.option(
    "--public-host", metavar="HOST", help="How other machines reach this one, with --listen 0.0.0.0.  [its host name]"
)
@click.option(
    "--line-protocol/--no-line-protocol",
    default=None,
    help="Answer the line protocol of loopback clients, which needs no key.  [new cluster: yes]",
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_pairs,
    help="Change a setting of the running cluster; may be repeated. See `dfs settings list`.",
)
@pass_session
def deploy(
    session: Session,
    nodes: int | None,
    engine: str,
    context: str | None,
    copies: int | None,
    port: int | None,
    listen: str | None,
    public_host: str | None,
    line_protocol: bool | None,
    settings: tuple[tuple[str, str], ...],
) -> None:
    """Start a cluster, or change the one there is to N nodes.

    Returns when all nodes are live and an uploaded file came back; takes back what it began if that fails.
    Run again, it starts what has died, over its data, and changes nothing else.
    """
    from dfs_deploy.plan import DeployRequest
    from dfs_deploy.reports import change_object, deployed_lines
    from dfs_deploy.spec import is_wildcard

    if public_host is None and listen is not None and is_wildcard(listen):
        public_host = platform.node()
    request = DeployRequest(
        name=session.cluster_name_for_deploy(),
        engine=engine,
        nodes=nodes,
        copies=copies,
        port=port,
        listen=listen,
        public_host=public_host,
        line_protocol=line_protocol,
        context=context,
        settings=settings,
    )
    with session.progress():
        change = session.operator.deploy(request)
    if session.output.json:
        session.output.record(change_object(change, running=len(change.spec.roles)))
        return
    for line in deployed_lines(change):
        session.output.line(line)
