"""`dfs-client mv`: rename and move."""

import click

from dfs_client.batch import Batch
from dfs_client.destinations import Source, destination, place, split_arguments
from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.remote_paths import ROOT, last_name
from dfs_client.remote_tree import remote_kind
from dfs_client.session import Session
from dfs_wire.errors import DfsError, UsageError
from dfs_wire.messages import EntryKind


@click.command(
    cls=ClientCommand,
    short_help="Rename or move files and directories.",
    examples=(
        ("dfs-client mv /a /b", "gives /a the name /b"),
        ("dfs-client mv /a /b /old/", "makes /old/a and /old/b"),
    ),
    json_fields=("One object a source: source, path, status (moved, failed).",),
)
@click.argument("arguments", metavar="SRC... DEST", nargs=-1, required=True, type=REMOTE_PATH)
@click.option("-n", "--no-clobber", is_flag=True, help="Refuse to replace a file that exists (exit code 4).")
@click.pass_obj
def mv(session: Session, arguments: tuple[str, ...], no_clobber: bool) -> None:
    """Rename files and whole directories. Each is one step, however much a directory holds.

    A DEST that is a directory, or ends with /, takes each source under its own name (and is made if need be);
    any other DEST is the new name. A file replaces a file, a directory only an empty directory.
    """
    if len(arguments) < 2:
        raise UsageError("name a source and a destination")
    texts, target_text = split_arguments(arguments, ROOT)
    paths = [session.remote(text) for text in texts]
    if ROOT in paths:
        raise UsageError("the root directory cannot be moved; name what is inside it")
    target_path = session.remote(target_text)
    target = destination(target_text, target_path, remote_kind(session.dfs, target_path))
    # Whether a file or a directory is moved makes no difference to where it goes: the master judges the rest.
    placed = place([Source(path, EntryKind.FILE, last_name(path)) for path in paths], target)
    if target.slash and target.kind is None:
        session.dfs.make_directory(target_path, parents=True, exist_ok=True)
    batch = Batch(session.output, "path", alone=len(paths) == 1)
    for path, new_path in zip(paths, placed, strict=True):
        try:
            session.dfs.rename(path, new_path, clobber=not no_clobber)
            batch.add_done({"source": path, "path": new_path, "status": "moved"})
        except DfsError as error:
            batch.add_failed(path, error, {"source": path, "path": new_path})
    batch.finish()
