"""One blocking connection's life at a server: read a frame, authorise, dispatch, reply."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from dfs_wire.channel import Answer
from dfs_wire.codec import decode, error_header
from dfs_wire.errors import DfsError, InternalError, ProtocolError, UnavailableError
from dfs_wire.frame import FrameHead, Kind
from dfs_wire.limits import (
    EAGER_BODY_BYTES_MAX,
    HEADER_BYTES_MAX,
    HEADER_BYTES_MAX_BEFORE_HELLO,
    HELLO_SECONDS,
    IDLE_SECONDS,
    STREAM_BLOCK_BYTES,
    STREAM_SECONDS_BY_HOP,
)
from dfs_wire.messages import GetChunk, Header, Hello, HelloReply, PutChunk, Role
from dfs_wire.service import ChunkAnswer, ChunkService, Handler, Session, authorise, find_rule
from dfs_wire.stream import FrameStream
from dfs_wire.transport import Transport
from dfs_wire.verbs import Body, Rule, Server

log = logging.getLogger(__name__)

#: After the last words, what still comes is read and thrown away this long, so that the peer sees them.
_LINGER_SECONDS = 2.0
#: A list, or the body of a refused request, must come whole within this time, however often a byte of it comes.
_BODY_SECONDS = 30.0
#: A chunk up to this size goes with the head of its reply: one packet for both wakes the reader once.
_TOGETHER_BYTES_MAX = 32 * 1024


@dataclass(frozen=True, slots=True)
class Services:
    """What a server answers with. Its parts are safe to use from several threads."""

    server: Server
    handlers: Mapping[type[Header], Handler]
    chunks: ChunkService
    hello: Callable[[Session, Hello], HelloReply]


class IncomingBody:
    """`ChunkBody` over a connection. Used by one thread."""

    def __init__(self, stream: FrameStream, head: FrameHead) -> None:
        self.size = head.body_bytes
        self._stream = stream
        self._head = head
        #: The sender of a large body holds it back until it is told to go on.
        self.held_back = head.body_bytes > EAGER_BODY_BYTES_MAX

    def go_on(self) -> None:
        """Tell a sender that waits to send."""
        if self.held_back:
            self._stream.send_go_on(self._head.verb, self._head.request)
            self.held_back = False

    def read_into(self, buffer: memoryview) -> int:
        """Some bytes of the body; see `ChunkBody.read_into`."""
        return self._stream.read_body_into(buffer)


class Connection:
    """Used by its own thread only."""

    def __init__(self, transport: Transport, session: Session, services: Services) -> None:
        self._transport = transport
        self._stream = FrameStream(transport, header_bytes_max=HEADER_BYTES_MAX_BEFORE_HELLO)
        self._session = session
        self._services = services
        #: A request is being carried out: it gives way to nobody, and who stops the listener gives it time to end. Not
        #: so while a request comes or is refused: a stranger could make that last.
        self.busy = False
        #: A reply is on its way: what fails now cannot be told in a frame any more, which would stand inside it.
        self._replying = False

    def run(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Serve requests until the peer ends, or the connection cannot be trusted any more, or all are to stop.

        Raises:
            DfsError: why the connection ended, where it did not end in good order.
        """
        self._transport.set_deadline(HELLO_SECONDS, in_all=True)
        while (found := self._next_request()) is not None:
            head, header = found
            self._transport.set_deadline(STREAM_SECONDS_BY_HOP[0])
            if not self._answer(head, header) or stopping():
                return
            self.busy = False
            self._transport.set_deadline(IDLE_SECONDS)

    def _next_request(self) -> tuple[FrameHead, bytes] | None:
        """The next frame's head; None when the peer ended. What is no frame is refused before the connection ends."""
        try:
            found = self._stream.read_head()
            if found is not None and found[0].kind is not Kind.REQUEST:
                raise ProtocolError(f"a {found[0].kind.name} frame where a request was due")
            return found
        except ProtocolError as error:
            self._transport.set_deadline(_LINGER_SECONDS)
            # Verb and request are 0: this speaks of the connection.
            self._stream.send(Kind.ERROR, 0, 0, error_header(error))
            self._transport.finish_sending()
            self._drop_what_comes()
            raise

    def _answer(self, head: FrameHead, header: bytes) -> bool:
        """Serve one request; False when the connection cannot go on."""
        body = IncomingBody(self._stream, head)
        try:
            rule = find_rule(head.verb, self._services.server)
            authorise(self._session, rule)
            self._dispatch(rule, head, decode(header, rule.request), body)
        except ProtocolError as error:
            if not self._replying:
                self._refuse(head, body, error)
            raise
        except DfsError as error:
            if self._replying:
                raise
            return self._refuse(head, body, error)
        except Exception:
            if self._replying:
                raise
            log.exception("a handler failed", extra={"verb": head.verb, "request": head.request})
            return self._refuse(head, body, InternalError("the node failed on this request; its log has the details"))
        return True

    def _dispatch(self, rule: Rule, head: FrameHead, request: Header, body: IncomingBody) -> None:
        if isinstance(request, PutChunk):
            if head.body_bytes != request.ticket.size:
                raise ProtocolError("the body is not as long as the ticket says")
            self._transport.set_deadline(
                STREAM_SECONDS_BY_HOP[min(max(request.hop, 0), len(STREAM_SECONDS_BY_HOP) - 1)]
            )
            # No byte of the body is waited for before the ticket was found good.
            self.busy = True
            self._reply(head, Answer(self._services.chunks.put_chunk(self._session, request, body)))
            return
        data = self._read_list(rule, head) if head.body_bytes else b""
        if isinstance(request, Hello):
            self._reply(head, Answer(self._greet(request)))
            return
        self.busy = True
        if isinstance(request, GetChunk):
            self._send_chunk(head, self._services.chunks.get_chunk(self._session, request))
        else:
            answer = self._services.handlers[rule.request](self._session, request, data)
            # These need no ticket: who asks without end and takes no replies must give way as well.
            self.busy = False
            self._reply(head, answer)

    def _read_list(self, rule: Rule, head: FrameHead) -> bytes:
        if rule.body is Body.NONE:
            raise ProtocolError(f"{rule.name} has no body")
        self._transport.set_deadline(_BODY_SECONDS, in_all=True)
        data = self._stream.read_list(head, rule.body_bytes_max)
        self._transport.set_deadline(STREAM_SECONDS_BY_HOP[0])
        return data

    def _greet(self, request: Hello) -> HelloReply:
        reply = self._services.hello(self._session, request)
        self._session.role = request.role
        self._session.address_set = request.address_set
        self._stream.take_headers_up_to(HEADER_BYTES_MAX)
        return reply

    def _reply(self, head: FrameHead, answer: Answer[Header]) -> None:
        if self._stream.body_left:
            raise ProtocolError("a handler left bytes of the body unread")
        self._replying = True
        self._stream.send(Kind.REPLY, head.verb, head.request, answer.header, answer.body)
        self._replying = False

    def _send_chunk(self, head: FrameHead, answer: ChunkAnswer) -> None:
        source, length = answer.source, answer.header.length
        try:
            if length <= _TOGETHER_BYTES_MAX:
                begin = source.read(0, length)
                self._replying = True
                self._stream.send_chunk_head(Kind.REPLY, head.verb, head.request, answer.header, length, begin)
                self._replying = False
                return
            self._replying = True
            self._stream.send_chunk_head(Kind.REPLY, head.verb, head.request, answer.header, length)
            descriptor = source.fileno()
            if descriptor is not None and self._transport.can_sendfile:
                self._transport.send_file(descriptor, source.file_offset, length)
            else:
                for offset in range(0, length, STREAM_BLOCK_BYTES):
                    self._transport.send(source.read(offset, min(STREAM_BLOCK_BYTES, length - offset)))
        finally:
            source.close()
        self._replying = False

    def _refuse(self, head: FrameHead, body: IncomingBody, error: DfsError) -> bool:
        """Send the error. The connection goes on only if the request's body is read past at little cost."""
        self.busy = False
        if body.held_back:
            self._stream.body_left = 0
        # A stranger gets one try: a wrong credential closes the connection.
        ends = isinstance(error, ProtocolError) or self._session.role is Role.STRANGER
        go_on = not ends and self._stream.body_left <= EAGER_BODY_BYTES_MAX
        if go_on and self._stream.body_left:
            self._drain()
        self._transport.set_deadline(_LINGER_SECONDS)
        self._stream.send(Kind.ERROR, head.verb, head.request, error_header(error))
        if not go_on:
            self._transport.finish_sending()
            self._drop_what_comes()
        return go_on

    def _drop_what_comes(self) -> None:
        """Read on until the peer ends, for a moment: a close over unread bytes could take our last words back."""
        self._transport.set_deadline(_LINGER_SECONDS, in_all=True)
        scratch = memoryview(bytearray(64 * 1024))
        with suppress(UnavailableError):
            while self._transport.recv_into(scratch):
                pass

    def _drain(self) -> None:
        """Read past the rest of a refused body."""
        self._transport.set_deadline(_BODY_SECONDS, in_all=True)
        scratch = memoryview(bytearray(64 * 1024))
        while self._stream.read_body_into(scratch):
            pass
