"""What every mutation is, and what it sees while it is applied."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from dfs_master.catalog.rows import EventRow
from dfs_master.catalog.staged_content import StagedContent
from dfs_master.catalog.staged_tree import StagedTree
from dfs_master.catalog.staging import Staging
from dfs_wire.errors import DfsError, UsageError
from dfs_wire.limits import REQUEST_ID_BYTES

T = TypeVar("T")

#: What the database and the wire's integers have in common.
_INT64_MAX = 2**63 - 1


class Reads(NamedTuple):
    """Paths and chunks that a mutation will look up."""

    paths: Sequence[str] = ()
    digests: Iterable[bytes] = ()


class NodeStanding(Protocol):
    """What a node is good for, as its membership and its volume stand now. Immutable."""

    @property
    def copies_count(self) -> bool:
        """Whether known copies there count: it is live or draining, and its volume is sound."""
        ...

    @property
    def receipts_count(self) -> bool:
        """Whether a new receipt of it is believed: it is registered, and its volume did not fail."""
        ...

    @property
    def stays(self) -> bool:
        """Whether a verified copy there is one to rely on when another is given up, if the node vouches for it."""
        ...

    def vouches(self, digest: bytes, verified_at: int) -> bool:
        """Whether it answers for a good copy on record since it took up service."""
        ...


class Context:
    """What a mutation is judged by. Used by the committer's thread."""

    __slots__ = ("content", "ids_first", "nodes", "now_ms", "staging", "tree")

    def __init__(self, staging: Staging, now_ms: int, nodes: Mapping[int, NodeStanding]) -> None:
        self.staging = staging
        self.now_ms = now_ms
        self.nodes = nodes
        #: Look up each request's id before it is judged: one of the group seems to be a repeat.
        self.ids_first = False
        #: The entries; and the versions, chunks and replicas.
        self.tree: StagedTree = staging.tree
        self.content: StagedContent = staging.content

    @property
    def copies(self) -> int:
        """The cluster's own policy, which holds where no directory has one."""
        return self.staging.default_copies()

    def add_event(self, kind: str, subject: str, detail: Mapping[str, object]) -> None:
        """Note that something happened to `subject`, and why."""
        text = msgspec.json.encode(detail).decode()
        self.staging.add_event(EventRow(self.staging.new_id(), self.now_ms, kind, subject, text))


class Mutation(ABC, Generic[T]):
    """One change of the metadata: immutable, so safe to hand from thread to thread.

    It is applied once with everything before it in its group in sight. If that raises, whatever it staged is undone.
    """

    __slots__ = ()

    #: It looks through whole tables, so what the group staged before it is written first.
    reads_tables: ClassVar[bool] = False
    #: It is a `ClientMutation`.
    of_client: ClassVar[bool] = False

    @abstractmethod
    def apply(self, context: Context) -> T | DfsError:
        """Judge and stage.

        A `DfsError` that is returned, not raised, is the answer as well, but keeps what was staged (an event).

        Raises:
            DfsError: refused; it changed nothing.
        """

    def will_read(self) -> Reads:
        """What it will look up, as far as it can tell beforehand: a group reads that together."""
        return Reads()

    def row_count(self) -> int:
        """About how many rows it writes: a group is bounded by the sum."""
        return 4


class ClientMutation(Mutation[T]):
    """A change that a client may ask for twice without knowing: it carries the client's name for this one request."""

    __slots__ = ()

    of_client: ClassVar[bool] = True
    #: `REQUEST_ID_BYTES` bytes that no other request has.
    request_id: bytes
    #: What a stored outcome is decoded to.
    reply_type: ClassVar[object] = None

    def is_worth_remembering(self, reply: T) -> bool:
        """Whether a repeat must be answered with this reply rather than judged anew: it changed something."""
        del reply
        return True


def require_int64(what: str, value: int) -> int:
    """The value, if the database can hold it.

    Raises:
        UsageError: it is out of range.
    """
    if not -_INT64_MAX <= value <= _INT64_MAX:
        raise UsageError(f"{what} is out of range: {value}")
    return value


def require_request_id(request_id: bytes) -> bytes:
    """The id, if it has the right length.

    Raises:
        UsageError: it has not.
    """
    if len(request_id) != REQUEST_ID_BYTES:
        raise UsageError(f"a request id has {REQUEST_ID_BYTES} bytes, not {len(request_id)}")
    return request_id
