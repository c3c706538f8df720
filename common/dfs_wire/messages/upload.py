"""`Plan` and `Commit`."""

import msgspec

from dfs_wire.messages.base import Header, Item
from dfs_wire.messages.tickets import Receipt, WriteTicket


class Plan(Header, frozen=True, kw_only=True):
    """Where may these chunks go? `path` decides the policy. Body: `PlanBody`; reply body: list of `PlanAnswer`."""

    path: str


class ChunkWanted(Item, frozen=True):
    """A chunk that the client holds and the store may need. `size` in bytes."""

    digest: bytes
    size: int


class PlanBody(msgspec.Struct, frozen=True):
    """What a plan asks: the chunks, receipts already held for them, nodes that failed just now."""

    chunks: list[ChunkWanted]
    receipts: list[Receipt] = []
    exclude_nodes: list[int] = []


class PlanAnswer(Item, frozen=True):
    """`ticket` is None where the chunk needs no bytes (stored, or the receipts suffice); the order is the request's."""

    digest: bytes
    ticket: WriteTicket | None


class PlanReply(Header, frozen=True, kw_only=True):
    """Header of the reply to `Plan`."""

    copies: int


class TakeTickets(Header, frozen=True, kw_only=True):
    """Leave to store small chunks that nobody knows yet, under the policy of `path`. Reply body: list of `WriteTicket`
    with `bytes_max`, without digest and size.
    """

    path: str
    holder: bytes
    count: int = 1
    exclude_nodes: list[int] = []


class TakeTicketsReply(Header, frozen=True, kw_only=True):
    """Header of the reply to `TakeTickets`."""

    copies: int
    time_ms: int


#: `expect` of a mutation: the target may be anything, must not exist, or must be the version with this id.
EXPECT_ANY = -1
EXPECT_ABSENT = 0


class Extent(Item, frozen=True):
    """A slice of a chunk: `length` bytes from `offset` of the chunk `digest`, which has `chunk_size` bytes."""

    digest: bytes
    chunk_size: int
    offset: int
    length: int


class FileCommit(Item, frozen=True):
    """A new version of one file. `digest` is the BLAKE3 of the whole content. `mode` is the permission bits."""

    path: str
    expect: int
    size: int
    digest: bytes
    mtime_ns: int
    mode: int
    extents: list[Extent]


class Commit(Header, frozen=True, kw_only=True):
    """Make versions visible, each whole or not at all. Body: `CommitBody`; reply body: list of `Outcome`."""

    request_id: bytes


class CommitBody(msgspec.Struct, frozen=True):
    """The versions and the receipts of all their chunks that are new."""

    files: list[FileCommit]
    receipts: list[Receipt] = []


class Outcome(Item, frozen=True):
    """What became of one item of a mutation: `version` (0 for a directory), or an error."""

    version: int
    code: str = ""
    message: str = ""
    details: dict[str, object] = {}


class OutcomesReply(Header, frozen=True, kw_only=True):
    """Header of a reply whose body is a list of `Outcome`, in the order of the request."""
