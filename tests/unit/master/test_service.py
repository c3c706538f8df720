"""The master's verbs behind its real listener and without it: who may call them, where they run, what they answer."""

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from tests.support.masters import CLIENT_SESSION, Master, running_master
from tests.support.raw_peer import RawPeer, greeted_peer

from dfs_master import housekeeping
from dfs_master.catalog.mutations.collecting import CollectOrphans
from dfs_master.catalog.mutations.records import AddEvent
from dfs_master.collecting import Orphan
from dfs_master.healing import Healing
from dfs_master.service import MasterService
from dfs_wire import messages as m
from dfs_wire import tickets
from dfs_wire.codec import encode_list
from dfs_wire.errors import (
    BadCredentialError,
    BadTicketError,
    BusyError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    ProtocolError,
    TooFewNodesError,
    TooLargeError,
    UsageError,
)
from dfs_wire.event_listener import EventListener
from dfs_wire.frame import Kind, encode_head
from dfs_wire.limits import PLAN_CHUNKS_MAX
from dfs_wire.messages import Role
from dfs_wire.service import Session
from dfs_wire.sockets import SocketDialer
from dfs_wire.verbs import RULES, Server

CONTENT = b"content of a chunk"
DIGEST = blake3(CONTENT).digest()
CHUNK = m.ChunkWanted(DIGEST, len(CONTENT))


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """A fresh cluster's, with no node."""
    with running_master(tmp_path / "data") as running:
        yield running


@pytest.fixture
def address(master: Master) -> Iterator[str]:
    """The master behind its listener."""
    listener = EventListener("127.0.0.1:0", master.service, master.clock)
    listener.start()
    yield listener.address
    listener.stop()


def plan(master: Master, *, receipts: list[m.Receipt] | None = None, path: str = "/file") -> m.PlanAnswer:
    """The answer for the one chunk."""
    body = encode_list(m.PlanBody([CHUNK], receipts or []))
    (answer,) = master.ask(CLIENT_SESSION, m.Plan(path=path), body).items(list[m.PlanAnswer])
    return answer


# -- who may call what -------------------------------------------------------------------------------------------


def hellos(master: Master) -> dict[Role, m.Hello]:
    """A good Hello for each role that the master takes."""
    made = master.made
    _, joined = master.join("node-1")
    mac = tickets.hello_mac(joined.node_key, made.cluster_id, joined.node_id)
    return {
        Role.CLIENT: m.Hello(role=Role.CLIENT, credential=made.client_key),
        Role.ADMIN: m.Hello(role=Role.ADMIN, credential=made.admin_key),
        Role.JOIN: m.Hello(role=Role.JOIN, credential=made.join_token),
        Role.NODE: m.Hello(role=Role.NODE, credential=mac, node_id=joined.node_id),
    }


def test_every_verb_is_refused_to_every_role_that_its_rule_does_not_name(master: Master, address: str) -> None:
    """Before a byte of the request is looked at: even a request that is no msgpack is `not_allowed`, not `protocol`."""
    for role, hello in hellos(master).items():
        with greeted_peer(address, hello) as peer:
            for rule in RULES:
                if rule.server is not Server.NODE and role not in rule.roles:
                    peer.send(encode_head(Kind.REQUEST, rule.number, 9, b"\xc1", 0) + b"\xc1")
                    error = peer.error()
                    assert (error.code, error.details) == ("not_allowed", {}), (role, rule.name)
                    assert error.message == f"a {role} connection may not call {rule.name}"


def test_every_verb_of_a_node_is_unknown_to_the_master(master: Master, address: str) -> None:
    """No chunk's bytes pass through it, whoever asks."""
    hello = hellos(master)[Role.ADMIN]
    for rule in RULES:
        if rule.server is Server.NODE:
            with greeted_peer(address, hello) as peer:
                peer.send(encode_head(Kind.REQUEST, rule.number, 9, b"\x80", 0) + b"\x80")
                assert peer.error().code == "protocol"
                assert peer.at_end()


def test_no_verb_is_served_to_a_stranger(address: str) -> None:
    """Each number without Hello gets the same refusal, and the end."""
    for rule in RULES:
        if rule.server is not Server.NODE and rule.number != 1:
            with RawPeer(address) as peer:
                peer.send(encode_head(Kind.REQUEST, rule.number, 9, b"\xc1", 0) + b"\xc1")
                assert peer.error().code == "not_allowed"
                assert peer.at_end()


def test_every_wrong_credential_is_refused_alike(master: Master, address: str) -> None:
    """None, garbage, another role's, another node's, another cluster's: one error, and no hint which it was."""
    good = hellos(master)
    made = master.made
    other_node = tickets.hello_mac(master.cluster.keys.of(2), made.cluster_id, 2)
    other_cluster = tickets.hello_mac(master.cluster.keys.of(1), "other", 1)
    wrong = [
        *(m.Hello(role=role) for role in Role),
        *(m.Hello(role=role, credential=b"x" * 32) for role in Role),
        *(m.Hello(role=role, credential=good[Role.CLIENT].credential) for role in Role if role is not Role.CLIENT),
        *(m.Hello(role=role, credential=good[Role.JOIN].credential) for role in Role if role is not Role.JOIN),
        m.Hello(role=Role.CLIENT, credential=blake3(made.client_key).digest()),
        m.Hello(role=Role.NODE, credential=other_node, node_id=1),
        m.Hello(role=Role.NODE, credential=other_cluster, node_id=1),
        m.Hello(role=Role.NODE, credential=good[Role.NODE].credential, node_id=2),
    ]
    sentences = set()
    for hello in wrong:
        with pytest.raises(BadCredentialError) as caught:
            SocketDialer().dial(address, hello)
        sentences.add(caught.value.message.replace(str(hello.role), "ROLE"))
    assert len(sentences) == 1


def test_good_credentials_are_told_the_clusters_state(master: Master, address: str) -> None:
    """The reply to Hello carries cluster, epoch, the master's time and software."""
    for hello in hellos(master).values():
        channel = SocketDialer().dial(address, hello)
        reply = channel.hello
        assert (reply.cluster_id, reply.epoch) == (master.made.cluster_id, master.cluster.epoch)
        assert (reply.time_ms, reply.software) == (master.clock.wall_ms(), master.cluster.software)
        channel.call(m.Ping(), m.Done)
        channel.close()


# -- nodes -------------------------------------------------------------------------------------------------------


def heartbeat(node_id: int, registration: int = 1) -> m.Heartbeat:
    """A plain one."""
    return m.Heartbeat(
        node_id=node_id, registration=registration, capacity_bytes=10**12, used_bytes=1, free_bytes=10**12 - 1
    )


def test_a_node_joins_registers_again_and_heartbeats(master: Master) -> None:
    """It gets id and key once; its key then opens its Hello, and signs what the master tells it."""
    session, joined = master.join("node-1")
    assert joined.node_key == master.cluster.keys.of(joined.node_id)
    assert (session.role, session.node_id) == (Role.NODE, joined.node_id)
    answer = master.ask(session, heartbeat(joined.node_id))
    tickets.check_orders(joined.node_key, joined.cluster_id, joined.node_id, answer.header, answer.body)
    assert answer.items(list[m.Order]) == []
    for callback in session.on_close:
        callback()
    again = Session("later", role=Role.NODE, node_id=joined.node_id)
    request = m.Register(
        node_id=joined.node_id,
        registration=2,
        name="node-1",
        address="moved:5001",
        public_address="127.0.0.1:5001",
        capacity_bytes=1,
        used_bytes=0,
        free_bytes=1,
    )
    reply = master.ask(again, request).header
    assert (reply.node_id, reply.node_key) == (joined.node_id, b"")
    with pytest.raises(ConflictError):
        master.ask(again, heartbeat(joined.node_id, registration=1))
    with pytest.raises(ConflictError):
        master.ask(
            Session("third", role=Role.NODE, node_id=joined.node_id), msgspec.structs.replace(request, registration=3)
        )


def test_a_node_speaks_for_itself_only(master: Master) -> None:
    """Neither registration nor heartbeat of another; a join token gives a first join and nothing more."""
    session, joined = master.join("node-1")
    _, other = master.join("node-2")
    with pytest.raises(NotAllowedError):
        master.ask(session, heartbeat(other.node_id))
    request = m.Register(
        node_id=other.node_id,
        registration=9,
        name="node-2",
        address="a:1",
        public_address="a:1",
        capacity_bytes=1,
        used_bytes=0,
        free_bytes=1,
    )
    for thief in (session, Session("token", role=Role.JOIN)):
        with pytest.raises(NotAllowedError):
            master.ask(thief, request)
    with pytest.raises(NotAllowedError):
        master.ask(session, msgspec.structs.replace(request, node_id=0, name="node-3"))
    with pytest.raises(NotFoundError):
        master.ask(Session("ghost", role=Role.NODE, node_id=99), heartbeat(99))
    assert joined.node_id in master.cluster.registry.nodes


@pytest.mark.parametrize("address", ["", "nonsense", "host:99999", "a host:1", "a\nb:1"])
def test_an_address_that_nobody_could_dial_is_refused(master: Master, address: str) -> None:
    """It would be handed to every client."""
    request = m.Register(
        registration=1,
        name="node-1",
        address=address,
        public_address="a:1",
        capacity_bytes=1,
        used_bytes=0,
        free_bytes=1,
    )
    for each in (request, msgspec.structs.replace(request, address="a:1", public_address=address)):
        with pytest.raises(ProtocolError):
            master.ask(Session("node", role=Role.JOIN), each)


def test_a_readers_report_becomes_an_order(master: Master) -> None:
    """Only with a ticket that the master signed; the node is told to look for itself at its next heartbeat."""
    session, joined = master.join("node-1")
    expires = master.clock.wall_ms() + 1_000
    mac = tickets.read_mac(joined.node_key, joined.cluster_id, joined.node_id, DIGEST, expires)
    ticket = m.ReadTicket(DIGEST, joined.node_id, expires, mac)
    forged = msgspec.structs.replace(ticket, digest=blake3(b"other").digest())
    with pytest.raises(BadTicketError):
        master.ask(CLIENT_SESSION, m.ReportCopy(ticket=forged, finding="bad"))
    with pytest.raises(NotFoundError):
        master.ask(CLIENT_SESSION, m.ReportCopy(ticket=msgspec.structs.replace(ticket, node_id=99), finding="bad"))
    master.ask(CLIENT_SESSION, m.ReportCopy(ticket=ticket, finding="bad"))
    orders = master.ask(session, heartbeat(joined.node_id)).items(list[m.Order])
    assert [(order.kind, order.digest) for order in orders] == [(m.OrderKind.VERIFY, DIGEST)]
    assert master.ask(session, heartbeat(joined.node_id)).items(list[m.Order]) == []


# -- plans, commits, opens ---------------------------------------------------------------------------------------


def test_a_plan_gives_tickets_that_the_nodes_take(master: Master) -> None:
    """As many hops as copies, each with a MAC under its own key; the first hop by the caller's address set."""
    keys = {joined.node_id: joined.node_key for _, joined in (master.join("node-1"), master.join("node-2"))}
    ticket = plan(master).ticket
    assert ticket is not None
    assert {hop.node_id for hop in ticket.hops} == set(keys)
    for place, hop in enumerate(ticket.hops):
        now_ms = master.clock.wall_ms()
        tickets.check_write_ticket(keys[hop.node_id], master.made.cluster_id, hop.node_id, ticket, place, now_ms)
    assert ticket.hops[0].address == "127.0.0.1:5001"
    assert ticket.hops[1].address in {"node-1:5001", "node-2:5001"}
    later = plan(master).ticket
    assert later is not None
    assert later.generation > ticket.generation
    assert later.nonce != ticket.nonce


def test_what_is_stored_needs_no_bytes(master: Master) -> None:
    """After a commit the same chunk is planned without a ticket; receipts alone do as well; one copy is topped up."""
    nodes = [master.join(f"node-{number}")[1] for number in (1, 2, 3)]
    now_ms = master.clock.wall_ms()
    receipts = [
        tickets.sign_receipt(
            node.node_key,
            node.cluster_id,
            m.Receipt(node.node_id, DIGEST, len(CONTENT), 1, now_ms, now_ms + 9_999, b""),
        )
        for node in nodes
    ]
    assert plan(master, receipts=receipts[:2]).ticket is None
    ticket = plan(master, receipts=receipts[:1]).ticket
    assert ticket is not None
    assert len(ticket.hops) == 1
    assert ticket.hops[0].node_id != nodes[0].node_id
    assert master.upload("/file", CONTENT, [node.node_id for node in nodes[:2]])[0].code == ""
    assert plan(master).ticket is None


def test_a_plan_waits_a_little_after_a_start(master: Master) -> None:
    """For ten seconds nodes may still come; the plan is answered as soon as they do, or refused at the end."""
    answers: list[object] = []
    body = encode_list(m.PlanBody([CHUNK]))
    master.service.serve(CLIENT_SESSION, m.Plan(path="/"), body, answers.append)
    master.join("node-1")
    assert answers == []
    master.join("node-2")
    assert len(answers) == 1
    assert not isinstance(answers[0], BaseException)
    master.clock.advance(30)
    master.cluster.registry.step()
    with pytest.raises(TooFewNodesError):
        plan(master)


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        ([], TooLargeError),
        ([CHUNK] * (PLAN_CHUNKS_MAX + 1), TooLargeError),
        ([m.ChunkWanted(b"short", 1)], UsageError),
        ([m.ChunkWanted(DIGEST, 0)], UsageError),
        ([m.ChunkWanted(DIGEST, -1)], UsageError),
        ([m.ChunkWanted(DIGEST, 2**26 + 1)], UsageError),
    ],
)
def test_plans_that_make_no_sense(master: Master, chunks: list[m.ChunkWanted], error: type[Exception]) -> None:
    """Sizes and counts are judged before anything is looked up."""
    with pytest.raises(error):
        master.ask(CLIENT_SESSION, m.Plan(path="/file"), encode_list(m.PlanBody(chunks)))


def test_a_commit_with_a_bad_receipt(master: Master) -> None:
    """One forged or expired receipt refuses the request and names the digests, so that they can be renewed."""
    nodes = [master.join(f"node-{number}")[1].node_id for number in (1, 2)]
    forged = m.Receipt(nodes[0], DIGEST, len(CONTENT), 1, 0, 2**62, bytes(32))
    body = m.CommitBody([m.FileCommit("/f", m.EXPECT_ANY, 0, blake3(b"").digest(), 0, 0o644, [])], [forged])
    with pytest.raises(BadTicketError) as caught:
        master.ask(CLIENT_SESSION, m.Commit(request_id=b"r" * 16), encode_list(body))
    assert caught.value.details == {"digests": [DIGEST]}


def test_open_gives_read_tickets(master: Master) -> None:
    """For each replica one that its node takes; by version id as well, for renewals."""
    keys = {joined.node_id: joined.node_key for _, joined in (master.join("node-1"), master.join("node-2"))}
    (outcome,) = master.upload("/file", CONTENT, list(keys))
    for request in (m.Open(path="/file"), m.Open(version=outcome.version), m.Open(path="/file", offset=3, length=4)):
        answer = master.ask(CLIENT_SESSION, request)
        (extent,) = answer.items(list[m.OpenExtent])
        assert (answer.header.version, answer.header.size) == (outcome.version, len(CONTENT))
        assert {replica.node_id for replica in extent.replicas} == set(keys)
        for replica in extent.replicas:
            ticket = m.ReadTicket(DIGEST, replica.node_id, answer.header.expires_at_ms, replica.mac)
            key = keys[replica.node_id]
            tickets.check_read_ticket(key, master.made.cluster_id, replica.node_id, ticket, master.clock.wall_ms())


# -- where requests run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "on_worker"),
    [
        (m.Stat(path="/"), False),
        (m.Stat(path="/", chunks=True), True),
        (m.Stat(path="/a" * 65), True),
        (m.List(path="/", limit=256), False),
        (m.List(path="/", limit=1, copies=True), True),
        (m.List(path="/"), True),
        (m.Open(path="/file", length=1024), False),
        (m.Open(path="/file"), True),
        (m.DiskUsage(path="/"), True),
        (m.Space(), False),
        (m.Ping(), False),
    ],
)
def test_only_bounded_work_runs_on_the_io_thread(master: Master, request_: m.Header, on_worker: bool) -> None:
    """What may touch many rows is handed to a worker."""
    queued: list[object] = []
    service = MasterService(master.cluster, queued.append, Healing(master.cluster))
    answers: list[object] = []
    try:
        service.serve(CLIENT_SESSION, request_, b"", answers.append)
    except NotFoundError:
        answers.append("not found")
    assert (len(queued), len(answers)) == ((1, 0) if on_worker else (0, 1))


def test_a_short_range_of_many_extents_is_opened_on_a_worker(master: Master) -> None:
    """A legal version may have an extent for each byte: to find that out is all that the I/O thread does."""
    nodes = [master.join(name)[1].node_id for name in ("node-1", "node-2")]
    master.upload("/small", CONTENT, nodes)
    extents = [m.Extent(DIGEST, len(CONTENT), 0, 1)] * 300
    whole = CONTENT[:1] * 300
    commit = m.FileCommit("/many", m.EXPECT_ANY, 300, blake3(whole).digest(), 0, 0o644, extents)
    master.ask(CLIENT_SESSION, m.Commit(request_id=b"m" * 16), encode_list(m.CommitBody([commit], [])))
    queued: list[Callable[[], None]] = []
    service = MasterService(master.cluster, queued.append, Healing(master.cluster))
    answers: list[Any] = []
    for path in ("/small", "/many"):
        for length in (300, 301, 100_000):
            service.serve(CLIENT_SESSION, m.Open(path=path, length=length), b"", answers.append)
    assert (len(answers), len(queued)) == (3, 3)
    for work in queued:
        work()
    assert [len(answer.items(list[m.OpenExtent])) for answer in answers] == [1, 1, 1, 300, 300, 300]


def test_too_much_long_work_is_busy(master: Master) -> None:
    """A full pool refuses at once, and what was refused is not done."""
    from dfs_runtime.workers import QueueFullError

    def full(_: object) -> None:
        raise QueueFullError

    service = MasterService(master.cluster, full, Healing(master.cluster))
    with pytest.raises(BusyError):
        service.serve(CLIENT_SESSION, m.DiskUsage(path="/"), b"", lambda _: None)


def test_a_copy_counts_for_nobody_before_its_node_has_listed_it(master: Master) -> None:
    """A node that came back may have lost what is on record: until it lists that, the same content is stored anew."""
    nodes = [master.join(name)[1].node_id for name in ("node-1", "node-2")]
    master.upload("/first", CONTENT, nodes)
    assert plan(master).ticket is None
    assert master.upload("/again", CONTENT, [])[0].code == ""
    # As a new process of it: `registered` forgets what the one before had listed.
    master.cluster.registry.change(nodes[1], lambda node: replace(node, listed=None))
    ticket = plan(master).ticket
    assert ticket is not None
    assert [hop.node_id for hop in ticket.hops] == [nodes[1]]
    (outcome,) = master.upload("/third", CONTENT, [], request_id=b"t" * 16)
    assert outcome.code == "chunks_missing"


def test_a_plan_counts_no_receipt_that_the_commit_will_not(master: Master) -> None:
    """A file that was stored, not committed, and collected: its receipts are good for a day, and say nothing any more.
    With them, the content has to be sent again, or its upload is refused for as long.
    """
    nodes = [master.join(name)[1].node_id for name in ("node-1", "node-2")]
    receipts = master.receipts(CONTENT, nodes)
    assert plan(master, receipts=receipts).ticket is None
    done: queue.SimpleQueue[object] = queue.SimpleQueue()
    for node in nodes:
        orphan = Orphan(DIGEST, len(CONTENT), receipts[0].generation)
        generation = master.cluster.generations.next()
        master.cluster.committer.submit(CollectOrphans(node, generation, [orphan]), done.put)
        assert done.get(timeout=20) == 1
    (outcome,) = master.upload("/file", CONTENT, nodes)
    assert outcome.code == "chunks_missing"
    ticket = plan(master, receipts=receipts).ticket
    assert ticket is not None
    assert {hop.node_id for hop in ticket.hops} == set(nodes)


def test_events_do_not_pile_up(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's reports are events; who has a ticket could fill the master's disk with them."""
    monkeypatch.setattr(housekeeping, "EVENTS_KEPT", 5)
    done: queue.SimpleQueue[object] = queue.SimpleQueue()
    for number in range(1_020):
        master.cluster.committer.submit(AddEvent("copy_reported", f"{number}"), done.put)
    for _ in range(1_020):
        done.get(timeout=20)
    watch = housekeeping.Housekeeping(master.cluster)
    watch.tidy()
    for _ in range(200):
        if master.cluster.reader.surplus_event(5) == 0:
            break
        time.sleep(0.05)
    assert master.cluster.reader.surplus_event(5) == 0
    assert master.cluster.reader.surplus_event(4) > 0
