"""`dfs-client df`: how much space the cluster has."""

import click

from dfs_client.options import ClientCommand
from dfs_client.output import Column
from dfs_client.session import Session

_COLUMNS = [
    Column("CAPACITY", right=True),
    Column("USED", right=True),
    Column("FREE", right=True),
    Column("NODES", right=True),
]


@click.command(
    cls=ClientCommand,
    short_help="Show the space of the cluster.",
    json_fields=("One object: capacity_bytes, used_bytes, free_bytes, nodes.",),
)
@click.pass_obj
def df(session: Session) -> None:
    """Show capacity, used and free space over all nodes that serve. A file takes its size times its copies."""
    space = session.dfs.space()
    output = session.output
    if output.json:
        output.record(
            {
                "capacity_bytes": space.capacity_bytes,
                "used_bytes": space.used_bytes,
                "free_bytes": space.free_bytes,
                "nodes": space.nodes,
            }
        )
        return
    sizes = [output.size(count) for count in (space.capacity_bytes, space.used_bytes, space.free_bytes)]
    output.table(_COLUMNS, [[*sizes, str(space.nodes)]])
