"""`dfs-client cat`: content to standard output."""

from typing import BinaryIO

import click

from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.readings import Readings
from dfs_client.session import Session

#: How much of a range is read at a time, in bytes.
_READ_BYTES = 1024 * 1024


@click.command(cls=ClientCommand, short_help="Write content to standard output.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=REMOTE_PATH)
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="BYTES", help="Begin here.  [default: 0]")
@click.option("--length", type=click.IntRange(min=0), metavar="BYTES", help="Stop after so many.  [default: the end]")
@click.pass_obj
def cat(session: Session, paths: tuple[str, ...], offset: int, length: int | None) -> None:
    """Write files to standard output, one behind the other; with --offset and --length a range of each.

    Every byte is verified before it is written. A range transfers only the 64 KiB blocks that it touches.
    A path that fails does not stop the others.
    """
    dfs = session.dfs  # here, so that a master that does not answer is said once
    stream = session.output.binary()

    def write(path: str) -> list[None]:
        if offset == 0 and length is None:
            dfs.download(path, stream)
        else:
            _copy_range(session, path, stream, offset, length)
        stream.flush()
        return []  # all of it is shown already

    readings = Readings(session.output, [session.remote(path) for path in paths])
    for _ in readings.each(write):
        pass
    readings.finish()


def _copy_range(session: Session, path: str, stream: BinaryIO, offset: int, length: int | None) -> None:
    with session.dfs.open(path, "rb") as content:
        content.seek(offset)
        left = length
        while left is None or left > 0:
            data = content.read(_READ_BYTES if left is None else min(left, _READ_BYTES))
            if not data:
                return
            stream.write(data)
            left = None if left is None else left - len(data)
