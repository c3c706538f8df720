"""The master's listener: one I/O thread reads small frames and answers what can be answered at once.

What needs longer is answered later, from any thread, through the `respond` that its handler was given.
"""

import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

from dfs_runtime.clock import Clock
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode, error_header
from dfs_wire.errors import DfsError, InternalError, ProtocolError
from dfs_wire.event_connection import READ_BYTES, EventConnection
from dfs_wire.frame import MAGIC, Kind, encode_frame
from dfs_wire.limits import CONNECTIONS_MAX, HEADER_BYTES_MAX, HELLO_SECONDS, IDLE_SECONDS
from dfs_wire.line_connections import LineConnections, LineService
from dfs_wire.messages import Header, Hello, Role
from dfs_wire.parser import Frame
from dfs_wire.service import Session, authorise, find_rule
from dfs_wire.transport import Transport, format_address, listen
from dfs_wire.verbs import BY_NUMBER, BY_REQUEST, Body, Server

log = logging.getLogger(__name__)

#: A peer that sent a part of a frame must send the rest within this time.
FRAME_SECONDS = 30.0
#: After a refusal that ends a connection, what still comes is read and thrown away this long: a close over unread
#: bytes could take the refusal back before the peer saw it.
LINGER_SECONDS = 2.0
#: Frames of one connection that are served before the others have their turn.
_FRAMES_PER_TURN = 64
_SWEEP_SECONDS = 1.0
#: Unfinished frames of all connections together.
_HELD_BYTES_MAX = 256 * 1024 * 1024
_STOP_SECONDS = 8.0

#: What the master answers, by the number of the verb.
_RULES = {number: rule for number, rule in BY_NUMBER.items() if rule.server in (Server.MASTER, Server.BOTH)}
_HELLO = BY_REQUEST[Hello]

Respond = Callable[["Answer[Any] | BaseException"], None]


class EventService(Protocol):
    """What the I/O thread calls."""

    def serve(self, session: Session, request: Header, body: bytes, respond: Respond) -> None:
        """Answer now or later by calling `respond` once, from any thread. An error raised here is the answer."""
        ...

    def recall(self, kind: type[Header], request: bytes) -> bytes | None:
        """The encoded header of the reply to an encoded request without a body, where that is known at once.

        Raises:
            DfsError: this is the answer.
        """
        ...


class _Mark(Enum):
    LISTENER = auto()
    WAKE = auto()


class EventListener:
    """Accepts and serves on one thread of its own. `start` and `stop` from the owning thread."""

    def __init__(
        self,
        address: str,
        service: EventService,
        clock: Clock,
        *,
        lines: LineService | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._service = service
        self._clock = clock
        self._lines = LineConnections(lines, max(1, connections_max // 8), _STOP_SECONDS) if lines else None
        self._connections_max = connections_max
        self._connections: set[EventConnection] = set()
        self._completed: deque[Callable[[], None]] = deque()
        #: A wake-up is under way: more would only cost.
        self._woken = False
        #: Answers from other threads: to whom, and the frame.
        self._answers: deque[tuple[EventConnection, bytes]] = deque()
        #: Connections that other threads answered themselves: the I/O thread counts that in its next turn.
        self._answered_elsewhere: deque[EventConnection] = deque()
        self._scratch = memoryview(bytearray(READ_BYTES))
        self._now = clock.monotonic()
        self._ident = 0
        self._selector = selectors.DefaultSelector()
        self._listening = listen(address)
        self._listening.setblocking(False)
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._accepting = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="io", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens, with the real port."""
        host, port = self._listening.getsockname()[:2]
        return format_address(host, port)

    def start(self) -> None:
        """Begin to accept."""
        self._watch_for_peers()
        self._selector.register(self._wake_in, selectors.EVENT_READ, _Mark.WAKE)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, close all connections, end the threads."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        if self._lines is not None:
            self._lines.stop()
        for part in (self._listening, self._wake_in, self._wake_out):
            part.close()
        self._selector.close()

    def call_soon(self, work: Callable[[], None]) -> None:
        """Run something on the I/O thread. From any thread."""
        # Order matters: the queue first, then the wake-up, or the work could sleep until the next event.
        self._completed.append(work)
        self._wake()

    def _wake(self) -> None:
        if self._woken:
            return
        self._woken = True
        with suppress(BlockingIOError, OSError):  # full: a wake-up is already under way; closed: nobody waits
            self._wake_out.send(b"\0")

    # -- the loop ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._ident = threading.get_ident()
        next_sweep = self._clock.monotonic() + _SWEEP_SECONDS
        while not self._stopping.is_set():
            ready = self._selector.select(0 if self._completed or self._answers else _SWEEP_SECONDS)
            self._now = self._clock.monotonic()
            while self._answered_elsewhere:
                self._answered_elsewhere.popleft().pending -= 1
            for key, events in ready:
                self._handle_safely(key.data, events)
            # What is added meanwhile waits for the next round: nobody's requests keep the others from being read.
            for _ in range(len(self._completed)):
                self._guarded(self._completed.popleft())
            for _ in range(len(self._answers)):
                self._answer_safely(*self._answers.popleft())
            if self._now >= next_sweep:
                self._sweep()
                next_sweep = self._now + _SWEEP_SECONDS
        for connection in list(self._connections):
            self._close(connection)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # the I/O thread serves everybody: one fault must not end it
            log.exception("work on the I/O thread failed")

    def _handle_safely(self, target: "_Mark | EventConnection", events: int) -> None:
        try:
            self._handle(target, events)
        except Exception:  # as above; a connection that brings up a fault of ours would bring it up for ever
            log.exception("the I/O thread failed on an event")
            if isinstance(target, EventConnection):
                self._close(target)

    def _answer_safely(self, connection: EventConnection, data: bytes) -> None:
        try:
            self._answered(connection, data)
        except Exception:  # as above
            log.exception("the I/O thread failed on an answer")
            self._close(connection)

    def _handle(self, target: "_Mark | EventConnection", events: int) -> None:
        if isinstance(target, EventConnection):
            if events & selectors.EVENT_WRITE:
                self._flush(target)
            if events & selectors.EVENT_READ and not target.closed:
                self._read(target)
        elif target is _Mark.LISTENER:
            self._accept()
        else:
            with suppress(BlockingIOError):
                self._wake_in.recv(4096)
            # Before the queues are looked at: whoever adds to them from here on wakes us again.
            self._woken = False

    def _watch_for_peers(self) -> None:
        self._selector.register(self._listening, selectors.EVENT_READ, _Mark.LISTENER)
        self._accepting = True

    def _accept(self) -> None:
        for _ in range(64):
            try:
                connected, peer = self._listening.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # gone before its turn came
            except OSError:
                # Out of descriptors: those who wait would be announced again at once, for ever. The sweep tries again.
                log.warning("accept failed", exc_info=True)
                self._selector.unregister(self._listening)
                self._accepting = False
                return
            if len(self._connections) >= self._connections_max:
                log.warning("too many connections", extra={"peer": str(peer)})
                connected.close()
                continue
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = EventConnection(connected, format_address(*peer[:2]), self._clock.monotonic())
            self._connections.add(connection)
            self._selector.register(connected, selectors.EVENT_READ, connection)

    def _read(self, connection: EventConnection) -> None:
        try:
            count = connection.socket.recv_into(self._scratch)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._close(connection)
            return
        if connection.closing:
            return  # only read so that the peer sees our last words
        connection.heard_at = self._now
        data = bytes(self._scratch[:count])
        if connection.fresh:
            if data[0] != MAGIC[0]:
                self._hand_to_lines(connection, data)
                return
            connection.fresh = False
        connection.parser.feed(data)
        self._serve_frames(connection)

    def _serve_frames(self, connection: EventConnection) -> None:
        """Serve what is whole, as long as the connection may have more under way."""
        try:
            served, cut_short = self._serve_turn(connection)
        except ProtocolError as error:
            log.warning("connection closed", extra={"peer": connection.session.peer, "reason": error.message})
            connection.queue(encode_frame(Kind.ERROR, 0, 0, encode(error_header(error))))
            self._close_after_sending(connection)
            return
        if connection.unsent_bytes:
            self._flush(connection)
        if connection.closed:
            return
        held = connection.parser.held_bytes
        if not held or served or connection.partial_since is None:
            connection.partial_since = self._now if held else None
        if held > READ_BYTES and sum(each.parser.held_bytes for each in self._connections) > _HELD_BYTES_MAX:
            log.warning("too much is held of unfinished frames", extra={"peer": connection.session.peer})
            self._close(connection)
            return
        if cut_short and held and connection.may_take_more():
            # Whole frames may be left, and no event will announce them. Where it may not take more yet,
            # `_update_interest` does this later.
            self._completed.append(partial(self._serve_frames, connection))
        self._update_interest(connection)

    def _serve_turn(self, connection: EventConnection) -> tuple[int, bool]:
        """Serve some whole frames; returns how many, and whether the turn ended before what is here was looked through.

        Their answers are collected, to go out together.
        """
        connection.collecting = True
        try:
            for served in range(_FRAMES_PER_TURN):
                if connection.closed or not connection.may_take_more():
                    return served, True
                found = connection.parser.next_frame()
                if found is None:
                    return served, False
                self._serve_frame(connection, found)
        finally:
            connection.collecting = False
        return _FRAMES_PER_TURN, True

    def _serve_frame(self, connection: EventConnection, found: Frame) -> None:
        head = found.head
        if head.kind is not Kind.REQUEST:
            raise ProtocolError(f"a {head.kind.name} frame where a request was due")
        rule = _RULES.get(head.verb) or find_rule(head.verb, Server.MASTER)
        session = connection.session
        allowed = session.role in rule.roles
        if allowed and not found.body:
            try:
                known = self._service.recall(rule.request, found.header)
            except DfsError as error:
                connection.queue(encode_frame(Kind.ERROR, head.verb, head.request, encode(error_header(error))))
                self._refused(connection, error)
                return
            if known is not None:
                connection.queue(encode_frame(Kind.REPLY, head.verb, head.request, known))
                return
        respond = self._responder(connection, head.verb, head.request)
        connection.pending += 1
        try:
            if not allowed:
                authorise(session, rule)
            request = decode(found.header, rule.request)
            if found.body and rule.body is Body.NONE:
                raise ProtocolError(f"{rule.name} has no body")
            self._service.serve(session, request, found.body, respond)
            if rule is _HELLO:
                self._greeted(connection, request)
        except DfsError as error:
            respond(error)
            self._refused(connection, error)
        except Exception:
            log.exception("a handler failed", extra={"verb": rule.name, "request": head.request})
            respond(InternalError("the master failed on this request; its log has the details"))

    def _refused(self, connection: EventConnection, error: DfsError) -> None:
        """A stranger gets one try: guessing credentials costs a connection each."""
        if connection.session.role is Role.STRANGER or isinstance(error, ProtocolError):
            self._close_after_sending(connection)

    def _greeted(self, connection: EventConnection, request: Header) -> None:
        if isinstance(request, Hello):
            connection.session.role = request.role
            connection.session.address_set = request.address_set
            connection.parser.greeted(HEADER_BYTES_MAX)

    def _responder(self, connection: EventConnection, verb: int, request: int) -> Respond:
        """A function that answers one request, from any thread.

        The only answer that a connection waits for is sent by the thread that has it: to hand it to the I/O thread
        costs two more changes of thread. Several go together.
        """

        def respond(answer: "Answer[Any] | BaseException") -> None:
            if isinstance(answer, BaseException):
                if not isinstance(answer, DfsError):
                    log.error("a handler failed", exc_info=answer, extra={"verb": verb, "request": request})
                data = encode_frame(Kind.ERROR, verb, request, encode(error_header(answer)))
            else:
                data = encode_frame(Kind.REPLY, verb, request, encode(answer.header), answer.body)
            if threading.get_ident() == self._ident:
                self._answered(connection, data)
            elif connection.pending == 1 and connection.send_whole(data):
                self._answered_elsewhere.append(connection)
                if connection.unsent_bytes:
                    self.call_soon(partial(self._flush, connection))
            else:
                self._answers.append((connection, data))
                self._wake()

        return respond

    def _answered(self, connection: EventConnection, data: bytes) -> None:
        connection.pending -= 1
        if connection.closed or connection.lingering_since is not None:
            return
        connection.queue(data)
        if not connection.collecting:
            self._flush(connection)

    # -- sending and closing -----------------------------------------------------------------------------------

    def _flush(self, connection: EventConnection) -> None:
        try:
            connection.send_some()
        except OSError:
            self._close(connection)
            return
        if connection.closing and not connection.unsent_bytes and connection.lingering_since is None:
            connection.lingering_since = self._clock.monotonic()
            with suppress(OSError):  # the peer is gone already
                connection.socket.shutdown(socket.SHUT_WR)
        self._update_interest(connection)

    def _update_interest(self, connection: EventConnection) -> None:
        """Watch for what can be acted upon; a peer that does not take its replies is not read from."""
        if connection.closed or connection.is_usual():
            return
        was_paused, connection.reading_paused = connection.reading_paused, not connection.may_take_more()
        if connection.reading_paused:
            connection.partial_since = None  # the rest is late because of us
        elif was_paused and connection.parser.held_bytes:
            # What was read before the pause may hold whole frames that no further event will announce.
            self._completed.append(partial(self._serve_frames, connection))
        reading = connection.lingering_since is not None or not connection.reading_paused
        events = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if connection.unsent_bytes else 0)
        if events == connection.events:
            return
        if connection.events and events:
            self._selector.modify(connection.socket, events, connection)
        elif events:
            self._selector.register(connection.socket, events, connection)
        else:
            self._selector.unregister(connection.socket)
        connection.events = events

    def _close_after_sending(self, connection: EventConnection) -> None:
        connection.closing = True
        if not connection.closed:
            self._flush(connection)

    def _close(self, connection: EventConnection) -> None:
        if connection.closed:
            return
        self._forget(connection)
        connection.close()
        for callback in connection.session.on_close:
            self._guarded(callback)

    def _forget(self, connection: EventConnection) -> None:
        if connection.events:
            self._selector.unregister(connection.socket)
            connection.events = 0
        self._connections.discard(connection)

    def _sweep(self) -> None:
        """Close connections that are too slow with their Hello, stuck in a frame, or idle for long."""
        now = self._clock.monotonic()
        if not self._accepting:
            self._watch_for_peers()
        for connection in list(self._connections):
            hello_late = connection.session.role is Role.STRANGER and now - connection.opened_at > HELLO_SECONDS
            stuck = connection.partial_since is not None and now - connection.partial_since > FRAME_SECONDS
            idle = not connection.pending and now - connection.heard_at > IDLE_SECONDS
            said_all = connection.lingering_since is not None and now - connection.lingering_since > LINGER_SECONDS
            if hello_late or stuck or idle or said_all:
                self._close(connection)

    # -- the line protocol ---------------------------------------------------------------------------------------

    def _hand_to_lines(self, connection: EventConnection, beginning: bytes) -> None:
        """Give a connection that began with text to a thread of its own, unless it would be refused there."""
        lines = self._lines
        if lines is None or not 0x20 <= beginning[0] < 0x7F:
            self._close(connection)
            return
        refusal = lines.refusal(connection.session.peer)
        if refusal is not None:
            connection.queue(refusal)
            self._close_after_sending(connection)
            return
        if lines.full():
            log.warning("too many line connections", extra={"peer": connection.session.peer})
            self._close(connection)
            return
        self._forget(connection)
        connection.closed = True
        connection.socket.setblocking(True)
        lines.serve(Transport(connection.socket, connection.session.peer), beginning)
