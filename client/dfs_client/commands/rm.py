"""`dfs-client rm`: remove names."""

import click

from dfs_client.batch import Batch
from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.remote_paths import ROOT
from dfs_client.session import Session
from dfs_wire.errors import DfsError, NotEmptyError, NotFoundError, UsageError


@click.command(
    cls=ClientCommand,
    short_help="Remove files and directories.",
    json_fields=("One object a path: path, status (removed, absent, failed).",),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=REMOTE_PATH)
@click.option("-r", "--recursive", is_flag=True, help="Remove directories with all they hold.")
@click.option("-f", "--force", is_flag=True, help="A path that does not exist is no error.")
@click.pass_obj
def rm(session: Session, paths: tuple[str, ...], recursive: bool, force: bool) -> None:
    """Remove files and directories. A directory that is not empty needs -r.

    A path that fails does not stop the others.
    """
    wanted = [session.remote(path) for path in paths]
    if ROOT in wanted:
        raise UsageError("the root directory cannot be removed; name what is inside it")
    batch = Batch(session.output, "path", alone=len(wanted) == 1)
    for path in wanted:
        try:
            session.dfs.remove(path, recursive=recursive)
            batch.add_done({"path": path, "status": "removed"})
        except NotFoundError as error:
            if force:
                batch.add_done({"path": path, "status": "absent"})
            else:
                batch.add_failed(path, error, {"path": path})
        except NotEmptyError as error:
            # The master's sentence knows of no options.
            hint = NotEmptyError(f"{path} is not empty; add -r to remove it with all it holds")
            batch.add_failed(path, error if recursive else hint, {"path": path})
        except DfsError as error:
            batch.add_failed(path, error, {"path": path})
    batch.finish()
