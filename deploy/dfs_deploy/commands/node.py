"""`dfs node`: the nodes of a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dfs_deploy.options import HELP_NAMES, ClusterCommand, pass_session
from dfs_deploy.session import Session

if TYPE_CHECKING:
    from dfs_client.api import Dfs


@click.group(context_settings=HELP_NAMES)
def node() -> None:
    """Look at the nodes of a cluster, and let them go."""


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


@node.command("drain", cls=ClusterCommand)
@click.argument("member", metavar="NODE")
@pass_session
def drain(session: Session, member: str) -> None:
    """Put no new data on NODE and copy what only it holds to others; `dfs node list` shows the state."""
    _drain(session, member, cancel=False)


@node.command("verify", cls=ClusterCommand)
@click.argument("member", metavar="NODE")
@pass_session
def verify(session: Session, member: str) -> None:
    """Have NODE read all its chunks now; bad ones are reported and repaired, `dfs node list` shows how far it is."""
    from dfs_deploy.status import connect_to
    from dfs_wire.errors import NotFoundError

    with connect_to(session) as dfs:
        ids = {each.name: each.id for each in dfs.status().nodes}
        if member not in ids:
            raise NotFoundError(f"The cluster has no node {member}; see `dfs node list`.")
        dfs.admin.report_finding(ids[member])
    if session.output.json:
        session.output.record({"node": member, "verifying": True})
    else:
        session.output.line(f"{member} reads all its chunks; `dfs node list` shows how far it is.")


@node.command("cancel", cls=ClusterCommand)
@click.argument("member", metavar="NODE")
@pass_session
def cancel(session: Session, member: str) -> None:
    """Stop draining NODE; it serves on with what it holds."""
    _drain(session, member, cancel=True)


@node.command("maintenance", cls=ClusterCommand)
@click.argument("member", metavar="NODE")
@click.option("--off", is_flag=True, help="End it; the node serves on.")
@click.option("--hours", type=click.FloatRange(0.01, 168), default=4.0, show_default=True, help="How long at most.")
@pass_session
def maintenance(session: Session, member: str, *, off: bool, hours: float) -> None:
    """Let NODE be away for a while: no new data goes there, and nothing is copied because it is away."""
    from dfs_client.display import utc_time, visible
    from dfs_deploy.reports import safety_lines, safety_object

    with _found(session, member) as (dfs, node_id):
        until_ms = dfs.admin.set_maintenance(node_id, off=off, seconds=int(hours * 3_600))
        left = dfs.admin.drain_progress(node_id)
    until = utc_time(until_ms * 1_000_000) if until_ms else None
    if session.output.json:
        session.output.record({"node": member, "maintenance_until": until, **safety_object(left)})
        return
    session.output.line(f"{member} is in maintenance until {until}." if until else f"{member} serves on.")
    for line in safety_lines(member, left) if until else []:
        session.output.line(visible(line))


@node.command("replace", cls=ClusterCommand)
@click.argument("member", metavar="NODE")
@click.option(
    "--yes", is_flag=True, help="Do not ask; where there are several clusters, --name or DFS_PROFILE must say which."
)
@pass_session
def replace_volume(session: Session, member: str, yes: bool) -> None:
    """NODE has a new, empty disk: delete what is left of its old volume and let it join as a new node of that name.

    What only the old volume held is lost; the rest is copied from the other nodes at once. Asks first.
    """
    from dfs_deploy.reports import change_object, deployed_lines

    cluster = session.cluster_name()
    question = f"Delete what is left of the volume of {member} of cluster {cluster}, and begin an empty one?"
    session.confirm_deletion(question, yes=yes)
    with session.progress():
        change = session.operator.replace_node(cluster, member)
    if session.output.json:
        session.output.record(change_object(change, running=len(change.spec.roles)))
        return
    for line in deployed_lines(change):
        session.output.line(line)


@node.command("remove", cls=ClusterCommand)
@click.argument("member", metavar="NODE")
@pass_session
def remove(session: Session, member: str) -> None:
    """Drain NODE, wait until nothing needs it, end it and delete its volume."""
    from dfs_deploy.reports import change_object, deployed_lines

    cluster = session.cluster_name()
    with session.progress():
        change = session.operator.remove_node(cluster, member)
    if session.output.json:
        session.output.record(change_object(change, running=len(change.spec.roles)))
        return
    for line in deployed_lines(change):
        session.output.line(line)


def _drain(session: Session, name: str, *, cancel: bool) -> None:
    from dfs_client.display import visible
    from dfs_deploy.reports import safety_lines, safety_object

    with _found(session, name) as (dfs, node_id):
        dfs.admin.drain_node(node_id, cancel=cancel)
        left = dfs.admin.drain_progress(node_id)
    if session.output.json:
        session.output.record(
            {
                "node": name,
                "draining": not cancel,
                "chunks_left": left.chunks_left,
                "bytes_left": left.bytes_left,
                **safety_object(left),
            }
        )
    elif cancel:
        session.output.line(f"{name} serves on.")
    else:
        session.output.line(
            f"{name} is being drained: {left.chunks_left} chunks are left; `dfs node remove {name}` waits and ends it."
        )
        for line in safety_lines(name, left):
            session.output.line(visible(line))


@contextmanager
def _found(session: Session, name: str) -> "Iterator[tuple[Dfs, int]]":
    """A connection as operator, and the id of the node that is meant."""
    from dfs_deploy.status import connect_to
    from dfs_wire.errors import NotFoundError

    with connect_to(session) as dfs:
        ids = {each.name: each.id for each in dfs.status().nodes}
        if name not in ids:
            raise NotFoundError(f"The cluster has no node {name}; see `dfs node list`.")
        yield dfs, ids[name]
