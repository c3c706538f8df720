"""The cluster as a whole, and letting nodes go."""

from dfs_wire.messages.base import Header, Item


class Status(Header, frozen=True, kw_only=True):
    """The cluster at a glance. Reply body: list of `NodeInfo`."""


class StatusReply(Header, frozen=True, kw_only=True):
    """Counts over current versions. `unreadable`: files with a chunk that no reachable node holds. `notice`: what an
    operator should know of the master itself, a sentence, or empty.
    """

    cluster_id: str
    state: str
    epoch: int
    software: str
    files: int
    bytes: int
    under_replicated: int
    unreadable: int
    copies: int
    notice: str = ""


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
    #: The scrub: when its last full pass ended (0: never), and how far the pass under way is, in thousandths.
    scrubbed_at_ms: int = 0
    scrub_permille: int = 0


class Explain(Header, frozen=True, kw_only=True):
    """Where are the copies, and why there? `subject`: a path, a chunk's digest (or 8 hex digits of it), or a node.
    Reply body: list of str, sentences for people.
    """

    subject: str


class ExplainReply(Header, frozen=True, kw_only=True):
    """`kind` is file, directory, chunk or node. `survives`: how many nodes may be lost, whichever they are, with
    every byte still readable; -1 where it cannot be read now, and for directories and nodes.
    """

    kind: str
    survives: int


class SpaceDetail(Header, frozen=True, kw_only=True):
    """What are the bytes on each volume there for? Reply body: list of `NodeSpace`."""


class SpaceDetailReply(Header, frozen=True, kw_only=True):
    """Over the volumes that serve; those that share a file system are counted once. `first_free_at_ms`: when the first
    of the bytes that wait are free, 0 where none wait.
    """

    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    first_free_at_ms: int
    time_ms: int


class NodeSpace(Item, frozen=True):
    """One volume. `used_bytes` is what its chunk files take; what no other field accounts for is on no record yet."""

    node_id: int
    name: str
    state: str
    filesystem_id: str
    capacity_bytes: int
    used_bytes: int
    #: Good copies that versions need.
    live_bytes: int
    #: Copies beyond those wanted, and bad ones.
    surplus_bytes: int
    #: Removed or replaced: deleted when its grace is over.
    waiting_bytes: int
    #: Files that nobody knows of, by the last inventory; -1 before the first.
    orphan_bytes: int
    #: Kept free of uploads.
    reserve_bytes: int
    #: Free for uploads.
    free_bytes: int


class DrainNode(Header, frozen=True, kw_only=True):
    """Put no new data on a node and move its copies to others; or, with `cancel`, stop that."""

    node_id: int
    cancel: bool = False


class DrainProgress(Header, frozen=True, kw_only=True):
    """How far is the draining of a node?"""

    node_id: int


class DrainProgressReply(Header, frozen=True, kw_only=True):
    """Chunks that have too few copies elsewhere, and their bytes. With none left the node may go. `only_here`: chunks
    that could not be read without the node; with none it may stop for a while. `files`: some of the files that these
    are in, else of those with too few copies elsewhere. `damaged`: of how many chunks it has all that is left, and that
    is damaged: no waiting helps them.
    """

    state: str
    chunks_left: int
    bytes_left: int
    draining: bool = False
    only_here: int = 0
    files: list[str] = []
    damaged: int = 0


class RemoveNode(Header, frozen=True, kw_only=True):
    """Forget a drained node. Refused while any chunk needs its copy there."""

    node_id: int


class AcceptDatabase(Header, frozen=True, kw_only=True):
    """The operator decides that this database is right, though nodes have seen a newer one: the master goes on with
    an epoch and a commit_seq above what they saw.
    """


class AcceptDatabaseReply(Header, frozen=True, kw_only=True):
    """What holds now."""

    epoch: int
    commit_seq: int


class ReportFinding(Header, frozen=True, kw_only=True):
    """An operator's tool found a damaged copy: the node is asked to look itself. An empty digest stands for all
    chunks of the node.
    """

    node_id: int
    digest: bytes = b""
    detail: str = ""
