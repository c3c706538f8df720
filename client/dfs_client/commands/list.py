"""`dfs-client list`: what a directory holds."""

import click

from dfs_client.entries import entry_record, long_cells, short_cells
from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.output import Column
from dfs_client.readings import Readings
from dfs_client.remote_paths import last_name
from dfs_client.session import Session

_SHORT = [Column("SIZE", right=True), Column("MODIFIED")]
_LONG = [Column("MODE"), *_SHORT, Column("COPIES")]


@click.command(
    "list",
    cls=ClientCommand,
    short_help="List directories.",
    examples=(
        ("dfs-client list", ""),
        ("dfs-client list -l -r /backup", ""),
    ),
    json_fields=(
        "One object an entry: path, kind (file, directory), size, modified_at (UTC; null for a directory), mode;",
        "with -l also copies: [{node, address}], every node that holds a chunk of the file.",
    ),
)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=REMOTE_PATH)
@click.option("-l", "--long", "long_format", is_flag=True, help="Also mode and the nodes that hold copies.")
@click.option("-r", "--recursive", is_flag=True, help="All entries below, with their whole paths.")
@click.pass_obj
def list_(session: Session, paths: tuple[str, ...], long_format: bool, recursive: bool) -> None:
    """List directories, / without an argument; a file lists itself. Entries come by name.

    Off a terminal a line holds the name first, then fields separated by a tab, with exact sizes and UTC times.
    Control characters in a name are shown as escapes. A path that fails does not stop the others.
    """
    wanted = [session.remote(path) for path in paths] or [session.directory]
    walk = session.dfs.walk if recursive else session.dfs.list
    readings = Readings(session.output, wanted)
    entries = readings.each(lambda path: walk(path, copies=long_format))
    output = session.output
    if output.json:
        for entry in entries:
            output.record(entry_record(entry, copies=long_format))
        readings.finish()
        return
    whole_paths = recursive or len(wanted) > 1
    cells = long_cells if long_format else short_cells
    rows = ([entry.path if whole_paths else last_name(entry.path), *cells(entry, output)] for entry in entries)
    output.table([Column("NAME"), *(_LONG if long_format else _SHORT)], rows, name_last=True)
    readings.finish()
