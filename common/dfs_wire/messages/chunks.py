"""The verbs that a node serves."""

from dfs_wire.messages.base import Header, Item
from dfs_wire.messages.tickets import ReadTicket, Receipt, WriteTicket


class PutChunk(Header, frozen=True, kw_only=True):
    """Store the body as a chunk and forward it along the ticket's hops. `hop` is the receiver's place in them."""

    ticket: WriteTicket
    hop: int = 0
    secret: bytes = b""


class HopFailure(Item, frozen=True):
    """A node of the chain that did not store the chunk, and why."""

    node_id: int
    code: str
    message: str


class PutChunkReply(Header, frozen=True, kw_only=True):
    """Receipts of all hops that stored the chunk."""

    receipts: list[Receipt]
    failures: list[HopFailure] = []


class GetChunk(Header, frozen=True, kw_only=True):
    """Read `length` bytes (-1: to the end) from `offset`; the node widens the range to whole blocks."""

    ticket: ReadTicket
    offset: int = 0
    length: int = -1


class GetChunkReply(Header, frozen=True, kw_only=True):
    """The body holds `length` bytes from `offset` (a multiple of the block size) of a chunk of `size` bytes.
    `block_crcs` has the big-endian CRC32C of each block in the body.
    """

    size: int
    generation: int
    offset: int
    length: int
    block_crcs: bytes


class RenewReceipts(Header, frozen=True, kw_only=True):
    """Verify chunks that the node gave receipts for, expired or not, and sign anew. Body: list of `Receipt`;
    reply body: list of `Receipt` for those that are still there and whole.
    """


class RenewReceiptsReply(Header, frozen=True, kw_only=True):
    """Header of the reply to `RenewReceipts`."""


class ProveJoin(Header, frozen=True, kw_only=True):
    """The master dialled back: show that you hold the join token, by `tickets.join_proof` over the nonce."""

    nonce: bytes


class ProveJoinReply(Header, frozen=True, kw_only=True):
    """The proof."""

    mac: bytes
