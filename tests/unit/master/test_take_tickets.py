"""`TakeTickets` at the master: for whom, how many, along which nodes, for how long."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.masters import CLIENT_SESSION, Master, running_master

from dfs_wire import messages as m
from dfs_wire import tickets
from dfs_wire.errors import TooFewNodesError, UsageError
from dfs_wire.limits import AHEAD_BYTES_MAX, AHEAD_SECONDS, AHEAD_TICKETS_MAX
from dfs_wire.service import Session

SECRET = b"s" * 32
HOLDER = tickets.holder_of(SECRET)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """A cluster with three live nodes."""
    with running_master(tmp_path / "data") as running:
        for number in (1, 2, 3):
            running.join(f"node-{number}")
        running.cluster.registry.step()
        yield running


def take(master: Master, *, session: Session = CLIENT_SESSION, **fields: object) -> list[m.WriteTicket]:
    """Tickets for files under `/d`."""
    request = msgspec.convert({"path": "/d/file", "holder": HOLDER, "count": 8} | fields, m.TakeTickets)
    return master.ask(session, request).items(list[m.WriteTicket])


def named(master: Master, ticket: m.WriteTicket) -> list[str]:
    """The nodes of its hops, by name."""
    return [master.cluster.registry.nodes[hop.node_id].name for hop in ticket.hops]


def test_each_hop_takes_them_from_their_holder(master: Master) -> None:
    """Filled in with any small chunk, each ticket is good at each of its hops, and at no other node."""
    now_ms = master.clock.wall_ms()
    for ticket in take(master):
        assert (ticket.bytes_max, ticket.digest, ticket.size) == (AHEAD_BYTES_MAX, b"", 0)
        filled = msgspec.structs.replace(ticket, digest=b"d" * 32, size=100)
        assert len({hop.node_id for hop in ticket.hops}) == 2
        for place, hop in enumerate(ticket.hops):
            key = master.cluster.keys.of(hop.node_id)
            tickets.check_ahead_ticket(
                key, master.made.cluster_id, hop.node_id, filled, place, SECRET, now_ms=now_ms, started_at_ms=now_ms - 1
            )


def test_each_has_its_own_chain_nonce_and_generation(master: Master) -> None:
    """Together they spread over all nodes; generations rise."""
    given = take(master, count=AHEAD_TICKETS_MAX)
    assert len(given) == AHEAD_TICKETS_MAX == len({ticket.nonce for ticket in given})
    generations = [ticket.generation for ticket in given]
    assert generations == sorted(set(generations))
    assert {name for ticket in given for name in named(master, ticket)} == {"node-1", "node-2", "node-3"}


def test_they_are_short_lived(master: Master) -> None:
    """Issued now, for a minute, in the master's time."""
    (ticket,) = take(master, count=1)
    now_ms = master.clock.wall_ms()
    assert (ticket.issued_at_ms, ticket.expires_at_ms) == (now_ms, now_ms + AHEAD_SECONDS * 1000)


def test_the_path_decides_the_policy(master: Master) -> None:
    """As many hops as its directory asks for."""
    body = m.SetPolicy(request_id=b"p" * 16, path="/", copies=3)
    master.ask(CLIENT_SESSION, body)
    assert {len(ticket.hops) for ticket in take(master)} == {3}


def test_the_first_hop_is_where_the_caller_reaches_it(master: Master) -> None:
    """By its address set; the others inside."""
    inside = Session("127.0.0.1:40009", role=m.Role.CLIENT, address_set=m.AddressSet.CLUSTER)
    for session, expected in ((CLIENT_SESSION, "127.0.0.1:5001"), (inside, None)):
        for ticket in take(master, session=session):
            inside_addresses = [f"{name}:5001" for name in named(master, ticket)]
            assert ticket.hops[0].address == (expected or inside_addresses[0])
            assert ticket.hops[1].address == inside_addresses[1]


def test_failed_nodes_are_left_out(master: Master) -> None:
    """And where too few are left, the refusal says so at once: the plan that follows waits."""
    ids = {node.name: node.id for node in master.cluster.registry.nodes.values()}
    given = take(master, exclude_nodes=[ids["node-2"]])
    assert {name for ticket in given for name in named(master, ticket)} == {"node-1", "node-3"}
    with pytest.raises(TooFewNodesError):
        take(master, exclude_nodes=[ids["node-2"], ids["node-3"]])


@pytest.mark.parametrize(
    "fields", [{"count": 0}, {"count": AHEAD_TICKETS_MAX + 1}, {"holder": b"short"}, {"path": "x/../y"}]
)
def test_senseless_requests_are_refused(master: Master, fields: dict[str, object]) -> None:
    """Numbers, lengths and paths."""
    with pytest.raises(UsageError):
        take(master, **fields)
