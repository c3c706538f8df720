"""Leave to store or read, and a node's word that a chunk is durable."""

from dfs_wire.messages.base import Item


class Hop(Item, frozen=True):
    """One node of a write ticket's chain. `address` is outside the MAC: it differs by address set."""

    node_id: int
    address: str
    mac: bytes


class WriteTicket(Item, frozen=True):
    """Leave to store one chunk on the nodes of `hops`, in that order; one MAC per hop.

    With `bytes_max` it was taken *ahead*: digest and size are the client's to fill in, for one chunk after the other,
    until so many bytes are used; only who knows the secret behind `holder` may use it.
    """

    digest: bytes
    size: int
    generation: int
    expires_at_ms: int
    nonce: bytes
    hops: list[Hop]
    bytes_max: int = 0
    issued_at_ms: int = 0
    holder: bytes = b""


class ReadTicket(Item, frozen=True):
    """Leave to read one chunk from one node."""

    digest: bytes
    node_id: int
    expires_at_ms: int
    mac: bytes


class Receipt(Item, frozen=True):
    """A node's statement that a chunk is durable on its volume."""

    node_id: int
    digest: bytes
    size: int
    generation: int
    stored_at_ms: int
    expires_at_ms: int
    mac: bytes
