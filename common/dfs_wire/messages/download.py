"""`Open`, and what readers report."""

from dfs_wire.messages.base import Header, Item
from dfs_wire.messages.tickets import ReadTicket


class Open(Header, frozen=True, kw_only=True):
    """The extents of a file, by path or (tickets renewed, no other version slips in) by version id.
    Only extents that overlap `offset` and `length` (-1: to the end) are given. Reply body: list of `OpenExtent`.
    """

    path: str = ""
    version: int = 0
    offset: int = 0
    length: int = -1


class OpenReply(Header, frozen=True, kw_only=True):
    """The version that was opened; tickets expire at `expires_at_ms` of the master's time."""

    version: int
    size: int
    digest: bytes
    mtime_ns: int
    mode: int
    expires_at_ms: int
    time_ms: int


class ReplicaTicket(Item, frozen=True):
    """Where a chunk is, and the MAC of a `ReadTicket` for it."""

    node_id: int
    node: str
    address: str
    mac: bytes


class OpenExtent(Item, frozen=True):
    """`start` is the extent's place in the file. Replicas come best first."""

    start: int
    digest: bytes
    chunk_size: int
    offset: int
    length: int
    replicas: list[ReplicaTicket]


class ReportCopy(Header, frozen=True, kw_only=True):
    """A reader found a copy bad. The node will verify it; its finding counts. The ticket shows that the reader may."""

    ticket: ReadTicket
    finding: str
