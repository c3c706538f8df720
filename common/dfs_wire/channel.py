"""What a caller sees of a connection. Sockets are one implementation, the simulation's network another."""

from typing import Generic, Protocol, TypeVar

import msgspec

from dfs_wire.codec import decode
from dfs_wire.limits import REPLY_SECONDS, STREAM_SECONDS_BY_HOP
from dfs_wire.messages import GetChunk, GetChunkReply, Header, Hello, HelloReply, PutChunk, PutChunkReply

R = TypeVar("R", bound=Header)
T = TypeVar("T")


class Answer(msgspec.Struct, Generic[R], frozen=True):
    """A reply: its header, and the bytes of its list body (empty where there is none)."""

    header: R
    body: bytes = b""

    def items(self, kind: type[T]) -> T:
        """Decode the body, for example `answer.items(list[Entry])`."""
        return decode(self.body, kind)


class PutStream(Protocol):
    """A chunk on its way to a node. Used by one thread."""

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Send the next bytes.

        Raises:
            UnavailableError: the node went away or stalled; the stream is over.
            DfsError: the node refused in mid-stream, and said why.
        """
        ...

    def finish(self) -> PutChunkReply:
        """All bytes are sent: wait for the receipts.

        Raises:
            DfsError: no hop stored the chunk.
        """
        ...

    def abort(self) -> None:
        """Give up: the connection is closed, every hop discards what it has."""
        ...


class GetStream(Protocol):
    """A chunk's bytes on their way from a node. Used by one thread."""

    header: GetChunkReply

    def read_into(self, buffer: memoryview) -> int:
        """Fill the start of `buffer`; returns how many bytes, 0 when all `header.length` bytes were read.

        Raises:
            UnavailableError: the node went away or stalled before the end.
        """
        ...

    def close(self) -> None:
        """Done with it. Before the end, this closes the connection."""
        ...


class Channel(Protocol):
    """One connection whose Hello was accepted. One request at a time; used by one thread at a time."""

    hello: HelloReply

    def call(self, request: Header, reply: type[R], body: bytes = b"", *, seconds: float = REPLY_SECONDS) -> Answer[R]:
        """One round trip.

        Raises:
            UnavailableError: the peer went away or did not answer within `seconds`; whether it acted is unknown.
            DfsError: the error that the peer answered with.
        """
        ...

    def put(self, request: PutChunk, *, seconds: float = STREAM_SECONDS_BY_HOP[0]) -> PutStream:
        """Begin to store a chunk; `seconds` is the no-progress deadline.

        A chunk over `EAGER_BODY_BYTES_MAX` waits here for the node's "go on".
        """
        ...

    def get(self, request: GetChunk, *, seconds: float = STREAM_SECONDS_BY_HOP[0]) -> GetStream:
        """Begin to read a chunk; `seconds` is the no-progress deadline."""
        ...

    def usable(self) -> bool:
        """Whether another request can be sent: not closed, not in mid-stream, not hung up by the peer."""
        ...

    def close(self) -> None:
        """Close the connection. May be called twice."""
        ...


class Dialer(Protocol):
    """Makes channels. Safe to use from several threads."""

    def dial(self, address: str, hello: Hello) -> Channel:
        """Connect to `host:port` and say Hello.

        Raises:
            ConnectFailedError, TimedOutError: nobody answers there.
            BadCredentialError: the peer refused the credential.
        """
        ...
