"""The master's listener, over real sockets on loopback."""

import os
import resource
import threading
from contextlib import ExitStack

import pytest
from tests.support.event_wire import HELLO, KEY, EchoLines, EchoMaster, echo_master, require_service
from tests.support.polling import poll_for
from tests.support.raw_peer import RawPeer, greeted_peer, request_bytes

from dfs_runtime.clock import ManualClock
from dfs_wire import messages as m
from dfs_wire.codec import decode, encode
from dfs_wire.errors import (
    BadCredentialError,
    InternalError,
    NotFoundError,
    ProtocolError,
    TooLargeError,
    UnavailableError,
)
from dfs_wire.event_connection import PENDING_MAX
from dfs_wire.event_listener import FRAME_SECONDS, LINGER_SECONDS
from dfs_wire.frame import Kind, encode_head
from dfs_wire.limits import HELLO_SECONDS, IDLE_SECONDS, LIST_BODY_BYTES_MAX
from dfs_wire.sockets import SocketDialer
from dfs_wire.transport import Transport

PING = request_bytes(m.Ping())
_ENTRY = m.Entry("/known", m.EntryKind.FILE, 1, 2, 3, 4, b"d" * 32)


# -- who may speak -----------------------------------------------------------------------------------------------


def test_nothing_is_served_before_hello() -> None:
    """A verb without Hello is `not_allowed`, and the connection ends behind the error."""
    with echo_master() as (address, _), RawPeer(address) as peer:
        peer.send(PING)
        assert peer.error().code == "not_allowed"
        assert peer.at_end()


def test_a_wrong_credential_ends_the_connection() -> None:
    """One try a connection; what was pipelined behind it is not served, and the reason still arrives."""
    with echo_master() as (address, service), RawPeer(address) as peer:
        wrong = request_bytes(m.Hello(role=m.Role.CLIENT, credential=b"guess"))
        peer.send(wrong, request_bytes(HELLO, 2), PING)
        assert peer.error().code == "bad_credential"
        assert peer.at_end()
        assert not service.sessions
        with pytest.raises(BadCredentialError):
            SocketDialer().dial(address, m.Hello(role=m.Role.CLIENT, credential=KEY[:-1]))
        require_service(address)


def test_a_second_hello_changes_nothing() -> None:
    """Role and credential of a connection are settled once; the connection goes on."""
    with echo_master() as (address, _), greeted_peer(address, HELLO) as peer:
        peer.send(request_bytes(m.Hello(role=m.Role.ADMIN, credential=KEY), 2))
        assert peer.error().code == "not_allowed"
        peer.send(request_bytes(m.Status(), 3), request_bytes(m.Ping(), 4))
        assert peer.error().code == "not_allowed"
        assert peer.next_frame()[0].kind is Kind.REPLY


# -- requests and answers ----------------------------------------------------------------------------------------


def test_pipelined_requests_are_all_answered() -> None:
    """Requests sent at once, in one packet or byte by byte, each get the answer with their number."""
    with echo_master() as (address, _), greeted_peer(address, HELLO) as peer:
        peer.send(*(request_bytes(m.Ping(), number) for number in range(1, 201)))
        assert [peer.next_frame()[0].request for _ in range(200)] == list(range(1, 201))
        for byte in request_bytes(m.Ping(), 7):
            peer.send(bytes([byte]))
        assert peer.next_frame()[0].request == 7


def test_what_the_service_remembers_is_answered_in_order_and_to_nobody_else() -> None:
    """Among other requests, each with its own number; a stranger gets none of it, nor one with a body."""
    request, reply = m.Stat(path="/known"), m.StatReply(entry=_ENTRY, copies_wanted=2)
    with echo_master() as (address, service):
        service.known[encode(request)] = encode(reply)
        with greeted_peer(address, HELLO) as peer:
            peer.send(PING, request_bytes(request, 7), request_bytes(request, 8), PING)
            answers = [peer.next_frame() for _ in range(4)]
            assert [head.request for head, *_ in answers][1:3] == [7, 8]
            assert [decode(header, m.StatReply) for _, header, *_ in answers[1:3]] == [reply, reply]
            peer.send(request_bytes(request, 9, b"body"))
            assert peer.error().code == "protocol"
        with RawPeer(address) as stranger:
            stranger.send(request_bytes(request))
            assert stranger.error().code == "not_allowed"


def test_an_error_of_what_is_answered_at_once_is_the_answer() -> None:
    """In its turn, and the connection goes on; unless the request itself was malformed."""
    missing, malformed = m.Stat(path="/missing"), m.Stat(path="/malformed")
    with echo_master() as (address, service), greeted_peer(address, HELLO) as peer:
        service.refused[encode(missing)] = NotFoundError("nothing is there")
        service.refused[encode(malformed)] = ProtocolError("no sense in it")
        peer.send(PING, request_bytes(missing, 7), request_bytes(m.Ping(), 8))
        peer.next_frame()
        assert peer.error().code == "not_found"
        assert peer.next_frame()[0].request == 8
        peer.send(request_bytes(malformed, 9))
        assert peer.error().code == "protocol"
        assert peer.at_end()


def test_answers_from_other_threads() -> None:
    """Deferred answers come as they are ready, overtaken by later requests."""
    with echo_master() as (address, service), greeted_peer(address, HELLO) as peer:
        body = os.urandom(3_000_000)
        peer.send(request_bytes(m.Plan(path="/"), 1), request_bytes(m.Ping(), 2))
        assert peer.next_frame()[0].request == 2
        peer.send(request_bytes(m.Commit(request_id=b"r" * 16), 3, body))
        head, _, echoed = peer.next_frame()
        assert (head.request, echoed) == (3, body)
        service.answer_plans()
        assert peer.next_frame()[0].request == 1


def test_the_only_answer_needs_no_turn_of_the_io_thread() -> None:
    """While the I/O thread is held up by somebody else, another thread's answer arrives; then all goes on."""
    held, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        held.set()
        go_on.wait(30)

    with echo_master() as (address, service), greeted_peer(address, HELLO) as peer:
        with greeted_peer(address, HELLO):
            service.sessions[-1].on_close.append(hold_up)
            peer.send(request_bytes(m.Plan(path="/"), 7))
            poll_for("the plan waits", lambda: service.plans, seconds=10)
        try:
            assert held.wait(10)
            service.answer_plans()
            assert peer.next_frame()[0].request == 7
        finally:
            go_on.set()
        for number in range(8, 8 + 2 * PENDING_MAX):
            peer.send(request_bytes(m.Commit(request_id=b"r" * 16), number, b"body"))
            assert peer.next_frame()[0].request == number


def test_an_answer_from_another_thread_that_is_taken_in_parts() -> None:
    """What the socket does not take at once follows, whole and in order."""
    body = os.urandom(LIST_BODY_BYTES_MAX)
    with echo_master() as (address, _), greeted_peer(address, HELLO, receive_buffer=65_536) as peer:
        peer.send(request_bytes(m.Commit(request_id=b"r" * 16), 3, body))
        head, _, echoed = peer.next_frame()
        assert (head.request, echoed == body) == (3, True)
        peer.send(PING)
        assert peer.next_frame()[0].kind is Kind.REPLY


def test_more_pipelined_requests_than_may_be_under_way() -> None:
    """What waits behind the limit is served when answers made room, without another byte from the peer."""
    count = 3 * PENDING_MAX
    with echo_master() as (address, service), greeted_peer(address, HELLO) as peer:
        peer.send(*(request_bytes(m.Plan(path="/"), number) for number in range(1, count + 1)))
        answered: list[int] = []
        while len(answered) < count:
            poll_for("a plan waits", lambda: len(service.plans), seconds=10, every=0.01)
            assert len(service.plans) <= PENDING_MAX
            service.answer_a_plan()
            answered.append(peer.next_frame()[0].request)
        assert answered == list(range(1, count + 1))


def test_requests_behind_more_answers_than_may_wait() -> None:
    """Answers that filled the queue and then fitted into the socket: what came behind them is served as well."""
    request = m.Stat(path="/known")
    with echo_master() as (address, service):
        service.big_bytes = 40 * 1024
        service.known[encode(request)] = bytes(40 * 1024)
        for each in (m.DiskUsage(path="/big"), request):
            with greeted_peer(address, HELLO) as peer:
                peer.send(*(request_bytes(each, number) for number in range(1, 41)))
                assert [peer.next_frame()[0].request for _ in range(40)] == list(range(1, 41))


def test_errors_are_typed_and_the_connection_goes_on() -> None:
    """A refusal and a fault of ours cost one answer, not the connection."""
    with echo_master() as (address, _):
        channel = SocketDialer().dial(address, HELLO)
        with pytest.raises(NotFoundError):
            channel.call(m.Remove(request_id=b"r" * 16, path="/x"), m.Done)
        with pytest.raises(InternalError):
            channel.call(m.Space(), m.SpaceReply)
        channel.call(m.Ping(), m.Done)
        channel.close()


def test_a_peer_that_goes_away_before_its_answer() -> None:
    """An answer for a closed connection is dropped; everybody else is served."""
    with echo_master() as (address, service):
        with greeted_peer(address, HELLO) as peer:
            peer.send(request_bytes(m.Plan(path="/")))
            poll_for("the plan waits", lambda: service.plans, seconds=10)
            closed: list[bool] = []
            service.sessions[0].on_close.append(lambda: closed.append(True))
        poll_for("the end is noticed", lambda: closed, seconds=10)
        service.answer_plans()
        require_service(address)


def test_a_peer_that_does_not_take_its_replies_is_not_read_from() -> None:
    """Its requests pile up at its own end, others are served meanwhile, and it gets every answer once it reads."""
    with echo_master() as (address, service), greeted_peer(address, HELLO, receive_buffer=65_536) as slow:
        for number in range(1, 41):
            slow.send(request_bytes(m.DiskUsage(path="/"), number))
        # Requests of far more bytes than all buffers on the way have: the listener must stop to read them.
        stat = request_bytes(m.Stat(path="x" * 32_000))
        taken = slow.send_until_refused(stat, 5_000)
        assert taken < 5_000 * len(stat)
        require_service(address)
        for number in range(1, 41):
            head, _, body = slow.next_frame()
            assert (head.request, len(body)) == (number, service.big_bytes)
        for _ in range(taken // len(stat)):
            assert slow.next_frame()[0].verb == 13


# -- what is no request ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (PING[:36] + b"\0\0\0\0" + PING[40:], "protocol"),
        (b"\xdfDFX" + PING[4:], "protocol"),
        (encode_head(Kind.REQUEST, 999, 1, b"\x80", 0) + b"\x80", "protocol"),
        (encode_head(Kind.REPLY, 2, 1, b"\x80", 0) + b"\x80", "protocol"),
        (encode_head(Kind.REQUEST, 2, 1, b"\xc1", 0) + b"\xc1", "protocol"),
        (encode_head(Kind.REQUEST, 30, 1, b"\x80", 0) + b"\x80", "protocol"),
        (request_bytes(m.Ping(), 1, b"body"), "protocol"),
        (encode_head(Kind.REQUEST, 10, 1, b"\x81\xa4path\xa1/", 4, 12345) + b"\x81\xa4path\xa1/body", "protocol"),
        (encode_head(Kind.REQUEST, 2, 1, b"x" * 65_537, 0), "too_large"),
        (encode_head(Kind.REQUEST, 10, 1, b"\x80", LIST_BODY_BYTES_MAX + 1), "too_large"),
        (encode_head(Kind.REQUEST, 10, 1, b"\x80", 2**63), "too_large"),
    ],
)
def test_what_breaks_the_protocol_is_refused(data: bytes, code: str) -> None:
    """A typed error, then the end, even with more bytes on the way; nobody else notices."""
    with echo_master() as (address, _):
        with greeted_peer(address, HELLO) as peer:
            peer.send(data, b"\0" * 300_000)
            assert peer.error().code == code
            assert peer.at_end()
        require_service(address)


def test_limits_are_narrow_before_hello() -> None:
    """A stranger's header has at most 4 KiB, and no body."""
    with echo_master() as (address, _):
        for data in (
            encode_head(Kind.REQUEST, 1, 1, b"x" * 4_097, 0),
            encode_head(Kind.REQUEST, 1, 1, b"\x80", 1),
        ):
            with RawPeer(address) as peer:
                peer.send(data)
                assert peer.error().code == "too_large"
                assert peer.at_end()


def test_a_client_learns_why_its_frame_was_refused() -> None:
    """The error about the connection reaches the caller as its class, not as a broken protocol."""
    with echo_master() as (address, _):
        channel = SocketDialer().dial(address, HELLO)
        with pytest.raises(TooLargeError):
            channel.call(m.Plan(path="x" * 70_000), m.PlanReply)
        assert not channel.usable()
        channel.close()


def test_frames_cut_at_every_byte() -> None:
    """A connection that ends in the middle of a frame, anywhere, harms nobody."""
    hello = request_bytes(HELLO)
    commit = request_bytes(m.Commit(request_id=b"r" * 16), 2, b"body")
    with echo_master() as (address, service):
        for cut in range(1, len(hello)):
            with RawPeer(address) as peer:
                peer.send(hello[:cut])
        for cut in range(1, len(commit)):
            with RawPeer(address) as peer:
                peer.send(hello, commit[:cut])
        require_service(address)
        assert len(service.sessions) >= 1


# -- slow, idle and too many -------------------------------------------------------------------------------------


def ends_within_seconds(peer: RawPeer) -> bool:
    """Whether the listener closes soon (it looks once a second)."""
    peer.socket.settimeout(5)
    return peer.at_end()


@pytest.mark.parametrize("beginning", [b"", request_bytes(HELLO)[:50]])
def test_a_late_hello_is_not_waited_for(beginning: bytes) -> None:
    """A stranger that says nothing, or a byte now and then, is closed after five seconds."""
    clock = ManualClock()
    with echo_master(clock=clock) as (address, _), RawPeer(address) as peer:
        peer.send(beginning)
        with greeted_peer(address, HELLO) as known:
            clock.advance(HELLO_SECONDS + 0.1)
            assert ends_within_seconds(peer)
            known.send(PING)
            known.next_frame()


def test_a_frame_that_never_ends() -> None:
    """The rest of a frame must come within its time, however often a byte of it comes."""
    clock = ManualClock()
    with echo_master(clock=clock) as (address, service), greeted_peer(address, HELLO) as peer:
        poll_for("the peer is known", lambda: service.sessions, seconds=10)
        peer.send(PING[:10])
        with greeted_peer(address, HELLO):
            pass  # the listener has surely read those ten bytes
        for byte in PING[10:13]:
            clock.advance(FRAME_SECONDS / 4)
            peer.send(bytes([byte]))
        clock.advance(FRAME_SECONDS / 4 + 0.1)
        assert ends_within_seconds(peer)


def test_a_frame_held_up_by_the_listener_is_not_late() -> None:
    """Time in which the listener itself did not read is not the peer's fault."""
    clock = ManualClock()
    with echo_master(clock=clock) as (address, service), greeted_peer(address, HELLO) as peer:
        plan = request_bytes(m.Plan(path="/"))
        peer.send(plan * PENDING_MAX, PING, PING[:10])
        poll_for("all plans wait", lambda: len(service.plans) == PENDING_MAX, seconds=10)
        clock.advance(FRAME_SECONDS + 1)
        with greeted_peer(address, HELLO):
            clock.advance(1.1)  # a sweep surely came by
            require_service(address)
        service.answer_plans()
        peer.send(PING[10:])
        verbs = [peer.next_frame()[0].verb for _ in range(PENDING_MAX + 2)]
        assert verbs.count(2) == 2


def test_idle_connections_end() -> None:
    """A connection that asks nothing is closed after five minutes, one that waits for an answer is not."""
    clock = ManualClock()
    with (
        echo_master(clock=clock) as (address, service),
        greeted_peer(address, HELLO) as idle,
        greeted_peer(address, HELLO) as waiting,
    ):
        waiting.send(request_bytes(m.Plan(path="/")))
        poll_for("the plan waits", lambda: service.plans, seconds=10)
        clock.advance(IDLE_SECONDS + 0.1)
        assert ends_within_seconds(idle)
        service.answer_plans()
        assert waiting.next_frame()[0].kind is Kind.REPLY


def test_a_refused_peer_that_stays_is_closed() -> None:
    """After the last words the peer has a moment to hang up; then the listener does."""
    clock = ManualClock()
    with echo_master(clock=clock, connections_max=1) as (address, _), RawPeer(address) as peer:
        peer.send(PING)
        assert peer.error().code == "not_allowed"
        assert peer.at_end()
        clock.advance(LINGER_SECONDS + 0.1)

        def served() -> bool:
            try:
                require_service(address)
            except UnavailableError:
                return False
            return True

        poll_for("the only place is free again", served, seconds=10)


def test_too_many_connections() -> None:
    """Beyond the limit a connection is closed at once, and the others are served."""
    with echo_master(connections_max=2) as (address, _), greeted_peer(address, HELLO) as first:
        with greeted_peer(address, HELLO):
            with pytest.raises(UnavailableError):
                SocketDialer().dial(address, HELLO)
            first.send(PING)
            first.next_frame()
        poll_for("a place is free", lambda: _dials(address), seconds=10)


def _dials(address: str) -> bool:
    try:
        SocketDialer().dial(address, HELLO).close()
    except UnavailableError:
        return False
    return True


def test_two_hundred_connections() -> None:
    """Many at once, all served, in any order."""
    with echo_master() as (address, _), ExitStack() as peers:
        everybody = [peers.enter_context(greeted_peer(address, HELLO)) for _ in range(200)]
        for number, peer in enumerate(everybody, 1):
            peer.send(request_bytes(m.Ping(), number))
        assert [peer.next_frame()[0].request for peer in reversed(everybody)] == list(range(200, 0, -1))


def test_out_of_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    """Without descriptors nobody new is accepted, nothing spins, and service goes on when there are some again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:

        def connect_and_take_all_descriptors(address: str) -> None:
            stack.peer = stack.enter_context(RawPeer(address))  # type: ignore[attr-defined] # waits in the backlog
            highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
            # Fill the gaps below the highest, so that the next one would be above the limit.
            while (filler := os.dup(0)) < highest:
                stack.callback(os.close, filler)
            stack.callback(os.close, filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (filler + 1, hard))

        try:
            with echo_master(before_start=connect_and_take_all_descriptors):
                poll_for("accept failed", lambda: "accept failed" in caplog.text, seconds=10, every=0.01)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                peer: RawPeer = stack.peer  # type: ignore[attr-defined]
                peer.send(request_bytes(HELLO))
                assert peer.next_frame()[0].kind is Kind.REPLY
                assert caplog.text.count("accept failed") <= 3
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- the end --------------------------------------------------------------------------------------------------


def test_the_end_leaves_nothing_behind() -> None:
    """After `stop`, threads and descriptors are as before, and open connections are closed."""

    class Stuck(EchoLines):
        def serve_lines(self, transport: Transport, beginning: bytes) -> None:
            del beginning
            transport.recv_exactly(memoryview(bytearray(1_000)))

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only

    threads_before, descriptors_before = set(threading.enumerate()), descriptors()
    peers: list[RawPeer] = []
    service: EchoMaster
    with echo_master(lines=Stuck()) as (address, service):
        for _ in range(20):
            peer = RawPeer(address)
            peer.send(request_bytes(HELLO), request_bytes(m.Plan(path="/")), PING[:7])
            peers.append(peer)
        lines = RawPeer(address)
        lines.send(b"UPLOAD x 5\n")
        peers.append(lines)
        poll_for("all plans wait", lambda: len(service.plans) == 20, seconds=10)
    service.answer_plans()  # too late, and harmless
    for peer in peers:
        peer.rest()
        peer.socket.close()
    assert set(threading.enumerate()) == threads_before
    assert descriptors() == descriptors_before
