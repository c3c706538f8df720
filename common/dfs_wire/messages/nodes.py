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
    #: Random bytes of this process: the same process on a new connection need not wait for its old one to be forgotten.
    instance: bytes = b""


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
    #: A repack order was carried out: `made` and `made_size` are the new chunk's; without them it failed.
    REPACKED = "repacked"


class Finding(Item, frozen=True):
    """A node's word on one of its chunks, after it looked."""

    digest: bytes
    generation: int
    kind: FindingKind
    detail: str = ""
    #: REPACKED: digest and size of the chunk that was made, and the generation of the order for it.
    made: bytes = b""
    made_size: int = 0
    ordered: int = 0


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
    #: When the last full pass of the scrub ended, 0 before the first; how far the pass under way is, in thousandths.
    scrubbed_at_ms: int = 0
    scrub_permille: int = 0


class HeartbeatReply(Header, frozen=True, kw_only=True):
    """`mac` is `tickets.order_mac` over the first three fields and the body; `rules_mac` is `tickets.rules_mac` over
    what stands before it: an older node that does not know these fields can still check its orders. Rules that are 0
    are not given: the node keeps what it has. `again_seconds` is under no MAC: a node bounds it instead.
    """

    epoch: int
    commit_seq: int
    time_ms: int
    mac: bytes = b""
    scrub_seconds: int = 0
    scrub_bytes_per_second: int = 0
    inventory_seconds: int = 0
    rules_mac: bytes = b""
    again_seconds: float = 0.0


class OrderKind(StrEnum):
    """What a master asks of a node."""

    #: Read the chunk and say what it is like.
    VERIFY = "verify"
    #: Fetch the chunk from another node and store it.
    COPY = "copy"
    #: Read all chunks now, as fast as the rules allow; the digest is empty.
    SCRUB = "scrub"
    #: Remove the chunk's file, if it was written at `generation` or before.
    DELETE = "delete"
    #: Write the chunk's `slices` anew, one behind the other, as a chunk of its own.
    REPACK = "repack"


class Slice(Item, frozen=True):
    """A part of a chunk."""

    offset: int
    length: int


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
    #: COPY: no other verified copy can be reached, so it comes before others; and how many copies to make at once.
    last_copy: bool = False
    streams: int = 0
    #: REPACK: what is still needed, in order.
    slices: list[Slice] = []


class Inventory(Header, frozen=True, kw_only=True):
    """All chunks of a node with `first` <= digest <= `last`. Body: list of `InventoryChunk`, at most
    `INVENTORY_PAGE_CHUNKS_MAX`. `started_at_ms` is the master's time, as the node knows it, from before it looked:
    what was stored or deleted later is not judged by this page. Reply body: list of `InventoryAsk`.
    """

    node_id: int
    registration: int
    first: bytes
    last: bytes
    started_at_ms: int


class InventoryChunk(Item, frozen=True):
    """One chunk file. `age_ms`: since it was stored. `damage` is empty where the file's header is in order; with
    damage, generation and size are not known.
    """

    digest: bytes
    generation: int
    size: int
    age_ms: int
    damage: str = ""


class InventoryReply(Header, frozen=True, kw_only=True):
    """What the master makes of a page."""


class InventoryAsk(Item, frozen=True):
    """The catalog and the page differ on this chunk: look at it, and tell with a heartbeat. `adopt`: nobody knew of
    this copy, and the chunk needs one: say STORED if it is good.
    """

    digest: bytes
    adopt: bool = False
