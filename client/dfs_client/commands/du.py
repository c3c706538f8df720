"""`dfs-client du`: how much a tree holds."""

import click

from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.output import Column
from dfs_client.readings import Readings
from dfs_client.session import Session

_COLUMNS = [
    Column("PATH"),
    Column("SIZE", right=True),
    Column("FILES", right=True),
    Column("DIRECTORIES", right=True),
]


@click.command(
    cls=ClientCommand,
    short_help="Sum up what directories hold.",
    json_fields=("One object a path: path, size, files, directories.",),
)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=REMOTE_PATH)
@click.option("-s", "--summarize", is_flag=True, help="Only the sum of each PATH, not its children.")
@click.pass_obj
def du(session: Session, paths: tuple[str, ...], summarize: bool) -> None:
    """Sum up files, directories and bytes of content: each PATH (/ without one), then its direct children.

    Content is counted once, however many copies are kept. A path that fails does not stop the others.
    """
    wanted = [session.remote(path) for path in paths] or [session.directory]
    usage = session.dfs.disk_usage
    readings = Readings(session.output, wanted)
    rows = readings.each(lambda path: usage(path)[:1] if summarize else usage(path))
    output = session.output
    if output.json:
        for row in rows:
            output.record({"path": row.path, "size": row.size, "files": row.files, "directories": row.directories})
        readings.finish()
        return
    cells = ([row.path, output.size(row.size), str(row.files), str(row.directories)] for row in rows)
    output.table(_COLUMNS, cells, name_last=True)
    readings.finish()
