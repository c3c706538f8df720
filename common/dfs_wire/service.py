"""What a server's handlers see: a session, a typed request, and for chunks a stream. No sockets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from dfs_wire.channel import Answer
from dfs_wire.errors import NotAllowedError, ProtocolError
from dfs_wire.messages import AddressSet, GetChunk, GetChunkReply, Header, Hello, PutChunk, PutChunkReply, Role
from dfs_wire.verbs import BY_NUMBER, Rule, Server


@dataclass(slots=True)
class Session:
    """One connection as the handlers know it. Used by one thread at a time."""

    peer: str
    role: Role = Role.STRANGER
    node_id: int = 0
    address_set: AddressSet = AddressSet.PUBLIC
    #: Called once when the connection ends, in the order they were added.
    on_close: list[Callable[[], None]] = field(default_factory=list)


#: session, request, list body -> reply. Raises any DfsError.
Handler = Callable[[Session, Any, bytes], Answer[Any]]


class ChunkBody(Protocol):
    """The body of a `PutChunk` as it arrives. Used by one thread."""

    size: int

    def go_on(self) -> None:
        """Tell a sender that waits to send. Does nothing where the body is already on its way."""
        ...

    def read_into(self, buffer: memoryview) -> int:
        """Fill the start of `buffer`; returns how many bytes, 0 when `size` bytes were read.

        Raises:
            UnavailableError: the sender went away or stalled.
        """
        ...


class ChunkSource(Protocol):
    """The bytes of a `GetChunk` reply: a slice of an open file, or of memory."""

    def fileno(self) -> int | None:
        """A descriptor to `sendfile` from, or None where `read` is the only way."""
        ...

    #: Where the slice begins in the file of `fileno`.
    file_offset: int

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the slice, from its own start."""
        ...

    def close(self) -> None:
        """Done with it."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkAnswer:
    """Reply to `GetChunk`. The listener sends `header.length` bytes of `source`, then closes it."""

    header: GetChunkReply
    source: ChunkSource


class ChunkService(Protocol):
    """The two verbs that move chunk bytes."""

    def put_chunk(self, session: Session, request: PutChunk, body: ChunkBody) -> PutChunkReply:
        """Store and forward. Calls `body.go_on()` once everything but the bytes is settled."""
        ...

    def get_chunk(self, session: Session, request: GetChunk) -> ChunkAnswer:
        """Open a range of a stored chunk."""
        ...


def find_rule(number: int, server: Server) -> Rule:
    """The rule of a verb that this server may be asked.

    Raises:
        ProtocolError: there is none.
    """
    rule = BY_NUMBER.get(number)
    if rule is None or rule.server not in (server, Server.BOTH):
        raise ProtocolError(f"verb {number} is not served here")
    return rule


def authorise(session: Session, rule: Rule) -> None:
    """Deny by default, before anything of the request is looked at.

    Raises:
        NotAllowedError: this role may not call this verb.
    """
    if session.role not in rule.roles:
        raise NotAllowedError(f"a {session.role} connection may not call {rule.name}")


def check_handlers(handlers: set[type[Header]], server: Server, *, chunk_verbs: bool) -> None:
    """Called at start: each verb of the table but Hello has exactly one handler here.

    Raises:
        ValueError: a verb is missing or is too many.
    """
    apart: set[type[Header]] = {Hello} | ({PutChunk, GetChunk} if chunk_verbs else set())
    wanted = {rule.request for rule in BY_NUMBER.values() if rule.server in (server, Server.BOTH)} - apart
    if wanted != handlers:
        raise ValueError(f"handlers missing {wanted - handlers}, unknown {handlers - wanted}")
