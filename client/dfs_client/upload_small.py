"""One small file, in the calling thread: read at once, put, committed.

There is no journal: what a second try could spare is one small chunk, and keeping its receipt costs more.
"""

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.committing import Pending, commit_one
from dfs_client.engine import Engine
from dfs_client.receipts import Ledger
from dfs_client.sending import Chunk
from dfs_client.source import LocalSource
from dfs_client.types import Progress, ProgressEvent, Uploaded
from dfs_wire.errors import DfsError
from dfs_wire.limits import EAGER_BODY_BYTES_MAX
from dfs_wire.messages import Extent, FileCommit

#: What goes out right behind its request, without another round trip.
SMALL_BYTES_MAX = EAGER_BODY_BYTES_MAX

#: Nobody gives up a small file half-way: an interruption ends the call itself.
_NEVER = Cancellation()


def upload_small(engine: Engine, local: LocalSource, path: str, *, expect: int, progress: Progress | None) -> Uploaded:
    """Store a regular file of 1 to `SMALL_BYTES_MAX` bytes; see `Dfs.upload`."""
    size = local.size
    if progress is not None:
        progress(ProgressEvent("start", path, 0, size))
    data = local.read_whole()
    digest = blake3(data).digest()
    ledger = Ledger()
    sent = engine.sender.store(path, Chunk(digest, memoryview(data)), ledger, _NEVER)
    if progress is not None:
        progress(ProgressEvent("bytes", path, size, size))
    commit = FileCommit(path, expect, size, digest, local.mtime_ns, local.mode, [Extent(digest, size, 0, size)])

    def read_again(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    def refused(_path: str, _error: DfsError) -> None:
        engine.sender.ahead.forget(path)

    version = commit_one(engine, Pending(commit, read_again), ledger, _NEVER, on_refused=refused)
    if progress is not None:
        progress(ProgressEvent("done", path, size, size))
    return Uploaded(path, version, size, digest, sent)
