"""One typed struct per request and reply, and the items of the lists that travel in bodies.

Headers are msgpack maps with the field names as keys; unknown fields are ignored, missing ones take their
default, so that versions can differ by a field. Items of lists are msgpack arrays in the order of their fields,
because there are thousands of them; a new field goes to the end.

Times are milliseconds since 1970 in UTC (`…_at_ms`) except file times, which are nanoseconds (`mtime_ns`).
"""

from enum import StrEnum

import msgspec


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every request and reply."""


class Item(msgspec.Struct, frozen=True, array_like=True):
    """Base of what lists are made of."""


# -- Hello -----------------------------------------------------------------------------------------------------


class Role(StrEnum):
    """Who a connection speaks for."""

    CLIENT = "client"
    ADMIN = "admin"
    #: A node that has no identity yet and holds a join token.
    JOIN = "join"
    #: A registered node; the credential is `tickets.hello_mac`.
    NODE = "node"
    #: Anybody, at a node: each request carries its own ticket.
    TICKET = "ticket"
    #: A connection before its Hello.
    STRANGER = "stranger"


class AddressSet(StrEnum):
    """Which of a node's two addresses the caller can reach."""

    PUBLIC = "public"
    CLUSTER = "cluster"


class Hello(Header, frozen=True, kw_only=True):
    """The first request of every connection."""

    role: Role
    credential: bytes = b""
    node_id: int = 0
    address_set: AddressSet = AddressSet.PUBLIC
    software: str = ""


class HelloReply(Header, frozen=True, kw_only=True):
    """The peer accepted the credential."""

    cluster_id: str
    epoch: int = 0
    time_ms: int = 0
    software: str = ""


class Ping(Header, frozen=True, kw_only=True):
    """Does the peer serve?"""


class Done(Header, frozen=True, kw_only=True):
    """The reply that carries nothing."""


class ErrorReply(Header, frozen=True, kw_only=True):
    """Header of every error frame."""

    code: str
    message: str
    details: dict[str, object] = {}
    retryable: bool = False


# -- Tickets and receipts --------------------------------------------------------------------------------------


class Hop(Item, frozen=True):
    """One node of a write ticket's chain. `address` is outside the MAC: it differs by address set."""

    node_id: int
    address: str
    mac: bytes


class WriteTicket(Item, frozen=True):
    """Leave to store one chunk on the nodes of `hops`, in that order; one MAC per hop."""

    digest: bytes
    size: int
    generation: int
    expires_at_ms: int
    nonce: bytes
    hops: list[Hop]


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


# -- Upload ----------------------------------------------------------------------------------------------------


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


# -- Tree ------------------------------------------------------------------------------------------------------


class EntryKind(StrEnum):
    """What a name stands for."""

    FILE = "file"
    DIRECTORY = "directory"


class Copy(Item, frozen=True):
    """A node that holds something of a file."""

    node: str
    address: str


class Entry(Item, frozen=True):
    """One name in the tree. A directory has size 0, version 0 and an empty digest. `copies` only where asked for."""

    path: str
    kind: EntryKind
    size: int
    mtime_ns: int
    mode: int
    version: int
    digest: bytes
    copies: list[Copy] = []


class Stat(Header, frozen=True, kw_only=True):
    """One entry. With `chunks`, the reply's body is a list of `ChunkInfo`."""

    path: str
    chunks: bool = False


class StatReply(Header, frozen=True, kw_only=True):
    """`copies_wanted` and the directory whose policy says so (empty: the cluster's default)."""

    entry: Entry
    copies_wanted: int
    policy_from: str = ""


class ReplicaInfo(Item, frozen=True):
    """One chunk on one node. `state` is `good`, `bad` or `missing`."""

    node: str
    address: str
    state: str


class ChunkInfo(Item, frozen=True):
    """One extent of a version with the replicas of its chunk."""

    ordinal: int
    digest: bytes
    chunk_size: int
    offset: int
    length: int
    replicas: list[ReplicaInfo]


class List(Header, frozen=True, kw_only=True):
    """A page of a directory by name, from the first name behind `after`. A file lists itself.
    Reply body: list of `Entry`.
    """

    path: str
    after: str = ""
    limit: int = 1000
    copies: bool = False


class ListReply(Header, frozen=True, kw_only=True):
    """`more`: there are names behind the last one of this page."""

    more: bool = False


class DirectorySpec(Item, frozen=True):
    """A directory to make. Missing parents are made as well."""

    path: str
    mode: int
    mtime_ns: int


class MakeDirectories(Header, frozen=True, kw_only=True):
    """Make directories. With `exist_ok` an existing directory takes the mode and time given.
    Body: list of `DirectorySpec`; reply body: list of `Outcome`.
    """

    request_id: bytes
    exist_ok: bool = True


class Remove(Header, frozen=True, kw_only=True):
    """Remove a name. A directory that is not empty needs `recursive`."""

    request_id: bytes
    path: str
    recursive: bool = False
    expect: int = EXPECT_ANY


class Rename(Header, frozen=True, kw_only=True):
    """Move a file or a whole tree to a new name. `expect` speaks of the target."""

    request_id: bytes
    source: str
    target: str
    expect: int = EXPECT_ANY


class SetPolicy(Header, frozen=True, kw_only=True):
    """Set the copies wanted below a directory; 0 inherits again."""

    request_id: bytes
    path: str
    copies: int


class DiskUsage(Header, frozen=True, kw_only=True):
    """Sums over a tree. Reply body: list of `UsageRow`, the tree first, then its direct children by name."""

    path: str


class DiskUsageReply(Header, frozen=True, kw_only=True):
    """Header of the reply to `DiskUsage`."""


class UsageRow(Item, frozen=True):
    """Files, directories (itself included) and bytes of content below a path."""

    path: str
    files: int
    directories: int
    size: int


class Space(Header, frozen=True, kw_only=True):
    """Free and used space of the cluster."""


class SpaceReply(Header, frozen=True, kw_only=True):
    """Bytes over all nodes that serve; volumes on one file system are counted once."""

    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    nodes: int


# -- Download --------------------------------------------------------------------------------------------------


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


# -- At a node -------------------------------------------------------------------------------------------------


class PutChunk(Header, frozen=True, kw_only=True):
    """Store the body as a chunk and forward it along the ticket's hops. `hop` is the receiver's place in them."""

    ticket: WriteTicket
    hop: int = 0


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


# -- Nodes and the master --------------------------------------------------------------------------------------


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


# -- Operators -------------------------------------------------------------------------------------------------


class Status(Header, frozen=True, kw_only=True):
    """The cluster at a glance. Reply body: list of `NodeInfo`."""


class StatusReply(Header, frozen=True, kw_only=True):
    """Counts over current versions. `unreadable`: files with a chunk that no reachable node holds."""

    cluster_id: str
    state: str
    epoch: int
    software: str
    files: int
    bytes: int
    under_replicated: int
    unreadable: int
    copies: int


class NodeInfo(Item, frozen=True):
    """One node as the master sees it."""

    id: int
    name: str
    address: str
    public_address: str
    zone: str
    state: str
    capacity_bytes: int
    used_bytes: int
    last_seen_at_ms: int
    registered_at_ms: int


class DrainNode(Header, frozen=True, kw_only=True):
    """Put no new data on a node and move its copies to others; or, with `cancel`, stop that."""

    node_id: int
    cancel: bool = False


class DrainProgress(Header, frozen=True, kw_only=True):
    """How far is the draining of a node?"""

    node_id: int


class DrainProgressReply(Header, frozen=True, kw_only=True):
    """Chunks that have too few copies elsewhere, and their bytes. With none left the node may go."""

    state: str
    chunks_left: int
    bytes_left: int


class RemoveNode(Header, frozen=True, kw_only=True):
    """Forget a drained node. Refused while any chunk needs its copy there."""

    node_id: int
