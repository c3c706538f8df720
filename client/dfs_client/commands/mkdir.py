"""`dfs-client mkdir`: make directories."""

import click

from dfs_client.batch import Batch
from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.session import Session
from dfs_wire.errors import DfsError


@click.command(
    cls=ClientCommand,
    short_help="Make directories.",
    json_fields=("One object a path: path, status (made, failed).",),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=REMOTE_PATH)
@click.option("-p", "--parents", is_flag=True, help="Make parents too; a directory that exists is no error.")
@click.pass_obj
def mkdir(session: Session, paths: tuple[str, ...], parents: bool) -> None:
    """Make directories. An upload makes the ones that it needs by itself."""
    batch = Batch(session.output, "directory", alone=len(paths) == 1)
    for path in map(session.remote, paths):
        try:
            session.dfs.make_directory(path, parents=parents, exist_ok=parents)
            batch.add_done({"path": path, "status": "made"})
        except DfsError as error:
            batch.add_failed(path, error, {"path": path})
    batch.finish()
