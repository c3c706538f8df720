"""An empty file has no chunk: it is one commit, without anything that brings bytes to nodes."""

from blake3 import blake3

from dfs_client.master import MasterClient, outcome_error
from dfs_client.meter import Meter
from dfs_client.types import Uploaded
from dfs_wire.errors import ProtocolError
from dfs_wire.messages import FileCommit

#: The permission bits of what has none of its own: streams, and files written through `open`.
STREAM_MODE = 0o644

_DIGEST = blake3(b"").digest()


def upload_empty(master: MasterClient, path: str, meter: Meter, *, mode: int, mtime_ns: int, expect: int) -> Uploaded:
    """Make a version without content visible.

    Raises:
        DfsError: nothing is visible.
    """
    outcomes = master.commit([FileCommit(path, expect, 0, _DIGEST, mtime_ns, mode, [])], ())
    if len(outcomes) != 1:
        raise ProtocolError(f"the master answered {len(outcomes)} outcomes for one file; upgrade one")
    error = outcome_error(outcomes[0])
    if error is not None:
        raise error
    meter.tell("done")
    return Uploaded(path, outcomes[0].version, 0, _DIGEST, 0)
