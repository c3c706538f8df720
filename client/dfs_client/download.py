"""One version to a local file, or to a file object: which of the ways it goes."""

from pathlib import Path
from typing import BinaryIO

from dfs_client.download_small import SMALL_BYTES_MAX, download_small
from dfs_client.engine import Engine
from dfs_client.executors import Executor
from dfs_client.opened import OpenedVersion
from dfs_client.small_files import SmallFiles
from dfs_client.types import Downloaded, LocalPath, Progress


def download_file(
    engine: Engine, path: str, target: LocalPath, *, force: bool, progress: Progress | None, executor: Executor
) -> Downloaded:
    """Give a version a place on the local disk; see `Dfs.download`."""
    small_files = SmallFiles(force=force)
    # First, so that an existing target costs no round trip.
    small_files.refuse_existing(target)
    opened = OpenedVersion(engine.master, engine.clock, path)
    if opened.size <= SMALL_BYTES_MAX:
        return download_small(engine, opened, target, small_files, progress=progress)
    # Threads and what belongs to them are loaded by who fetches more than one chunk.
    from dfs_client.download_large import download_large

    return download_large(engine, opened, Path(target), force=force, progress=progress, executor=executor)


def download_stream(engine: Engine, path: str, target: BinaryIO, *, progress: Progress | None) -> Downloaded:
    """Write a version to a file object, in order; see `Dfs.download`."""
    from dfs_client.download_large import write_in_order

    return write_in_order(engine, OpenedVersion(engine.master, engine.clock, path), target, progress=progress)
