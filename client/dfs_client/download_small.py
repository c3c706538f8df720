"""One small file, in the calling thread: opened, fetched into memory, verified, written."""

from blake3 import blake3

from dfs_client.engine import Engine
from dfs_client.opened import OpenedVersion
from dfs_client.small_files import SmallFiles
from dfs_client.types import Downloaded, LocalPath, Progress, ProgressEvent
from dfs_wire.errors import CorruptError
from dfs_wire.limits import MIB

#: What is held in memory rather than written as it comes.
SMALL_BYTES_MAX = 1 * MIB


def download_small(
    engine: Engine, opened: OpenedVersion, target: LocalPath, files: SmallFiles, *, progress: Progress | None
) -> Downloaded:
    """Give a version of at most `SMALL_BYTES_MAX` bytes its place on the local disk; see `Dfs.download`.

    It is not fsynced: a local copy is the user's, as one that `cp` made.
    """
    reply, path, size = opened.reply, opened.path, opened.size
    if progress is not None:
        progress(ProgressEvent("start", path, 0, size))
    first = opened.first
    if len(first) == 1 and (first[0].start, first[0].length) == (0, size):
        data, digest = engine.fetcher.read_extent(opened, 0)
    else:
        data, digest = b"".join(engine.fetcher.read_extent(opened, start)[0] for start in opened.starts()), b""
    # Where the whole file is one chunk, that was verified against its name.
    if (digest or blake3(data).digest()) != reply.digest:
        raise CorruptError(f"the content of {path} has another digest than was stored; see `dfs status`")
    files.write(target, data, mode=reply.mode, mtime_ns=reply.mtime_ns)
    if progress is not None:
        progress(ProgressEvent("bytes", path, size, size))
        progress(ProgressEvent("done", path, size, size))
    return Downloaded(path, target, reply.version, size, reply.digest)
