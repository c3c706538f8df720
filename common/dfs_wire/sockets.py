"""Channels over TCP."""

import itertools
from typing import TypeVar

from dfs_wire.channel import Answer, Channel, GetStream, PutStream
from dfs_wire.codec import decode, raise_error
from dfs_wire.errors import ConnectFailedError, DfsError, ProtocolError
from dfs_wire.frame import FrameHead, Kind
from dfs_wire.limits import CONNECT_SECONDS, EAGER_BODY_BYTES_MAX, HELLO_SECONDS, REPLY_SECONDS, STREAM_SECONDS_BY_HOP
from dfs_wire.messages import GetChunk, GetChunkReply, Header, Hello, HelloReply, PutChunk, PutChunkReply
from dfs_wire.stream import FrameStream
from dfs_wire.transport import Transport, connect
from dfs_wire.verbs import BY_REQUEST

R = TypeVar("R", bound=Header)

_PUT = BY_REQUEST[PutChunk].number
_GET = BY_REQUEST[GetChunk].number


class SocketDialer:
    """Makes `SocketChannel`s. Safe to use from several threads."""

    def __init__(self, *, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._connect_seconds = connect_seconds

    def dial(self, address: str, hello: Hello) -> Channel:
        """Connect to `host:port` and say Hello; see `Dialer.dial`."""
        channel = SocketChannel(connect(address, self._connect_seconds))
        try:
            channel.hello = channel.call(hello, HelloReply, seconds=HELLO_SECONDS).header
        except BaseException:
            channel.close()
            raise
        return channel


class SocketChannel:
    """One connection, one request at a time. Any failure that leaves the stream in doubt closes it."""

    hello: HelloReply

    def __init__(self, transport: Transport) -> None:
        self.stream = FrameStream(transport)
        self._numbers = itertools.count(1)
        self._open = True

    def call(self, request: Header, reply: type[R], body: bytes = b"", *, seconds: float = REPLY_SECONDS) -> Answer[R]:
        """One round trip; see `Channel.call`."""
        verb = BY_REQUEST[type(request)].number
        number = next(self._numbers)
        stream = self.stream
        try:
            stream.transport.set_deadline(seconds)
            stream.send(Kind.REQUEST, verb, number, request, body)
            head, header = self.reply_head(verb, number)
            data = stream.read_list(head) if head.body_bytes else b""
        except BaseException:
            self.close()  # nobody knows what is still under way on it
            raise
        if head.kind is not Kind.REPLY:
            raise self.refusal(head, header)
        return Answer(decode(header, reply), data)

    def put(self, request: PutChunk, *, seconds: float = STREAM_SECONDS_BY_HOP[0]) -> PutStream:
        """Begin to store a chunk; see `Channel.put`."""
        number = next(self._numbers)
        size = request.ticket.size
        self.stream.transport.set_deadline(seconds)
        if size <= EAGER_BODY_BYTES_MAX:
            # The head waits for the first bytes: one packet for both wakes the node once.
            return SocketPutStream(self, number, size, request)
        try:
            self.stream.send_chunk_head(Kind.REQUEST, _PUT, number, request, size)
            answer = self.reply_head(_PUT, number)
        except BaseException:
            self.close()
            raise
        if answer[0].kind is not Kind.GO_ON:
            raise self.refusal(*answer)
        return SocketPutStream(self, number, size)

    def get(self, request: GetChunk, *, seconds: float = STREAM_SECONDS_BY_HOP[0]) -> GetStream:
        """Begin to read a chunk; see `Channel.get`."""
        number = next(self._numbers)
        try:
            self.stream.transport.set_deadline(seconds)
            self.stream.send(Kind.REQUEST, _GET, number, request)
            head, header = self.reply_head(_GET, number)
        except BaseException:
            self.close()
            raise
        if head.kind is not Kind.REPLY:
            raise self.refusal(head, header)
        return SocketGetStream(self, decode(header, GetChunkReply))

    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._open and self.stream.idle()

    def close(self) -> None:
        """Close the connection."""
        self._open = False
        self.stream.transport.close()

    def reply_head(self, verb: int, number: int) -> tuple[FrameHead, bytes]:
        """The head of the frame that answers request `number`.

        Raises:
            ProtocolError: it answers something else.
            UnavailableError: the peer went away.
            DfsError: why the peer gives up the connection.
        """
        found = self.stream.read_head()
        if found is None:
            raise ConnectFailedError(f"{self.stream.transport.peer} closed the connection; try again")
        head = found[0]
        if head.request != number or head.verb != verb:
            if head.kind is Kind.ERROR and head.request == 0:
                raise raise_error(found[1])  # not about one request: the peer gives up the connection
            raise ProtocolError("a reply to another request than the one that was sent")
        return found

    def refusal(self, head: FrameHead, header: bytes) -> DfsError:
        """The error that an error frame carries. Any other frame here is a broken protocol."""
        if head.kind is Kind.ERROR:
            return raise_error(header)
        self.close()
        return ProtocolError(f"a {head.kind.name} frame came out of turn")


class SocketPutStream:
    """`PutStream` over TCP."""

    def __init__(self, channel: SocketChannel, number: int, size: int, unsent: PutChunk | None = None) -> None:
        self._channel = channel
        self._number = number
        self._left = size
        self._unsent = unsent

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Send the next bytes; see `PutStream.write`."""
        if len(block) > self._left:
            raise ValueError("more bytes than the ticket's size")
        stream = self._channel.stream
        try:
            if self._unsent is not None:
                request, self._unsent = self._unsent, None
                stream.send_chunk_head(Kind.REQUEST, _PUT, self._number, request, self._left, block)
            else:
                stream.transport.send(block)
        except BaseException:
            self._channel.close()
            raise
        self._left -= len(block)

    def finish(self) -> PutChunkReply:
        """Wait for the receipts; see `PutStream.finish`."""
        if self._left:
            raise ValueError(f"{self._left} bytes of the chunk were not written")
        if self._unsent is not None:
            self.write(b"")
        try:
            head, header = self._channel.reply_head(_PUT, self._number)
        except BaseException:
            self._channel.close()
            raise
        if head.kind is not Kind.REPLY:
            raise self._channel.refusal(head, header)
        return decode(header, PutChunkReply)

    def abort(self) -> None:
        """Close the connection in mid-stream: the node sees a short body and discards it."""
        self._channel.close()


class SocketGetStream:
    """`GetStream` over TCP."""

    def __init__(self, channel: SocketChannel, header: GetChunkReply) -> None:
        self.header = header
        self._channel = channel

    def read_into(self, buffer: memoryview) -> int:
        """Some of the chunk's bytes; see `GetStream.read_into`."""
        try:
            return self._channel.stream.read_body_into(buffer)
        except BaseException:
            self._channel.close()
            raise

    def close(self) -> None:
        """Done; with bytes still under way the connection cannot be used again."""
        if self._channel.stream.body_left:
            self._channel.close()
