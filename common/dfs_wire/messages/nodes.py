"""How nodes register, live, and take orders."""

from enum import StrEnum

from dfs_wire.messages.base import Header, Item


class VolumeState(StrEnum):
    """What a node says of its volume."""

    OK = "ok"
    FULL = "full"
    FAILED = "failed"


class Register(Header, frozen=True, kw_only=True):
    """A node takes up service. `registration` is one more than the last; the node made it durable before asking.
    `node_id` 0 is a first join. `filesystem_id` tells volumes apart that share one file system. `volume_verified`:
    every chunk was read and found whole since the volume failed; only this clears the master's record of a failure.
    """

    node_id: int = 0
    registration: int
    name: str
    zone: str = ""
    address: str
    public_address: str
    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    filesystem_id: str = ""
    volume_state: VolumeState = VolumeState.OK
    volume_verified: bool = False
    highest_epoch: int = 0
    highest_commit_seq: int = 0


class RegisterReply(Header, frozen=True, kw_only=True):
    """`node_key` is given on a first join only: the node keeps it in its identity file."""

    node_id: int
    node_key: bytes = b""
    cluster_id: str
    epoch: int
    commit_seq: int
    time_ms: int
    heartbeat_seconds: float


class FindingKind(StrEnum):
    """What a node found about one of its chunks."""

    GOOD = "good"
    CORRUPT = "corrupt"
    MISSING = "missing"
    #: A copy order was carried out: the chunk is verified and durable here.
    STORED = "stored"
    #: A copy order failed; `detail` says why.
    NOT_STORED = "not_stored"
    #: A delete order was carried out: no file of that generation or an older one is here, or ever was.
    DELETED = "deleted"


class Finding(Item, frozen=True):
    """A node's word on one of its chunks, after it looked."""

    digest: bytes
    generation: int
    kind: FindingKind
    detail: str = ""


class Heartbeat(Header, frozen=True, kw_only=True):
    """A node lives. Body: list of `Finding`. Reply body: list of `Order`."""

    node_id: int
    registration: int
    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    volume_state: VolumeState = VolumeState.OK
    highest_epoch: int = 0
    highest_commit_seq: int = 0
    leaving: bool = False


class HeartbeatReply(Header, frozen=True, kw_only=True):
    """Signed with `tickets.order_mac` over all of this and the body."""

    epoch: int
    commit_seq: int
    time_ms: int
    mac: bytes = b""


class OrderKind(StrEnum):
    """What a master asks of a node."""

    #: Read the chunk and say what it is like.
    VERIFY = "verify"
    #: Fetch the chunk from another node and store it.
    COPY = "copy"
    #: Remove the chunk's file, if it was written at `generation` or before.
    DELETE = "delete"


class Order(Item, frozen=True):
    """One thing to do with one chunk. The fields from `size` on are for COPY: what to fetch, from where, and the
    `expires_at_ms` and `mac` of a `ReadTicket` for it.
    """

    kind: OrderKind
    digest: bytes
    generation: int = 0
    size: int = 0
    source_node: int = 0
    source_address: str = ""
    expires_at_ms: int = 0
    mac: bytes = b""
