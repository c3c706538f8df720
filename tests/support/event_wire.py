"""A small master behind a real event listener: for tests of the wire alone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dfs_runtime.clock import Clock, SystemClock
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.errors import BadCredentialError, DfsError, NotFoundError
from dfs_wire.event_listener import EventListener, Respond
from dfs_wire.line_connections import LineService
from dfs_wire.service import Session
from dfs_wire.sockets import SocketDialer
from dfs_wire.transport import Transport

KEY = b"k" * 32
HELLO = m.Hello(role=m.Role.CLIENT, credential=KEY)


@dataclass
class EchoMaster:
    """An `EventService`. Plans are kept back until `answer_plans`; a stat of `/big` gets a large reply."""

    plans: "list[Respond]" = field(default_factory=list)
    sessions: "list[Session]" = field(default_factory=list)
    big_bytes: int = 256 * 1024
    #: Encoded requests, and what is answered to them before anything is decoded.
    known: "dict[bytes, bytes]" = field(default_factory=dict)
    #: The same, with an error for an answer.
    refused: "dict[bytes, DfsError]" = field(default_factory=dict)

    def recall(self, kind: type[m.Header], request: bytes) -> bytes | None:
        """What it was told to remember."""
        del kind
        if request in self.refused:
            raise self.refused[request]
        return self.known.get(request)

    def serve(self, session: Session, request: m.Header, body: bytes, respond: Respond) -> None:
        """Answer by kind of request."""
        if isinstance(request, m.Hello):
            if request.credential != KEY:
                raise BadCredentialError("wrong key; check the profile")
            self.sessions.append(session)
            respond(Answer(m.HelloReply(cluster_id="test")))
        elif isinstance(request, m.Plan):
            self.plans.append(respond)
        elif isinstance(request, m.Commit):
            # From another thread, at once: the usual way of the committer.
            threading.Thread(target=respond, args=(Answer(m.OutcomesReply(), body),), daemon=True).start()
        elif isinstance(request, m.DiskUsage):
            respond(Answer(m.DiskUsageReply(), b"x" * self.big_bytes))
        elif isinstance(request, m.Remove):
            raise NotFoundError("nothing is there")
        elif isinstance(request, m.Space):
            raise ZeroDivisionError("a fault of ours")
        else:
            respond(Answer(m.Done()))

    def answer_plans(self) -> None:
        """Answer all that are kept back, from the calling thread."""
        while self.plans:
            self.answer_a_plan()

    def answer_a_plan(self) -> None:
        """Answer the oldest that is kept back."""
        self.plans.pop(0)(Answer(m.PlanReply(copies=2)))


class EchoLines:
    """Answers one line; refuses with what it is told."""

    def __init__(self, refused: bytes | None = None) -> None:
        self._refused = refused

    def refusal(self, peer: str) -> bytes | None:
        del peer
        return self._refused

    def serve_lines(self, transport: Transport, beginning: bytes) -> None:
        transport.send(b"HEARD " + beginning)


@contextmanager
def echo_master(
    *,
    clock: Clock | None = None,
    lines: LineService | None = None,
    connections_max: int = 300,
    before_start: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[str, EchoMaster]]:
    """Address and service of a running listener."""
    service = EchoMaster()
    listener = EventListener(
        "127.0.0.1:0", service, clock or SystemClock(), lines=lines, connections_max=connections_max
    )
    before_start(listener.address)
    listener.start()
    try:
        yield listener.address, service
    finally:
        listener.stop()


def require_service(address: str) -> None:
    """Somebody else is still served."""
    channel = SocketDialer().dial(address, HELLO)
    channel.call(m.Ping(), m.Done)
    channel.close()
