"""The collector over a real master: what it orders, how often, and when it does nothing."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.masters import CLIENT_SESSION, Master, running_master
from tests.support.polling import poll_for

from dfs_client.output import Output
from dfs_deploy.space_report import show_space, space_object
from dfs_master.collector import ORDER_SECONDS, Collector
from dfs_master.compactor import Compactor
from dfs_master.settings import Settings
from dfs_wire import messages as m
from dfs_wire.codec import encode_list
from dfs_wire.errors import VersionGoneError
from dfs_wire.service import Session

CONTENT = b"content of a chunk"
DIGEST = blake3(CONTENT).digest()
ADMIN_SESSION = Session("127.0.0.1:40002", role=m.Role.ADMIN)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """With three nodes, a file on two of them, and a second of grace."""
    with running_master(tmp_path / "data") as running:
        running.cluster.settings.current = Settings(version_grace_seconds=1, chunk_grace_seconds=1)
        for number in range(1, 4):
            running.join(f"node-{number}")
        running.upload("/f", CONTENT, nodes(running)[:2])
        yield running


@pytest.fixture
def collector(master: Master) -> Collector:
    """Stepped by hand."""
    return Collector(master.cluster, Compactor(master.cluster))


def nodes(master: Master) -> list[int]:
    """The ids of all nodes."""
    return sorted(master.cluster.registry.nodes)


def orders(master: Master, node_id: int) -> list[m.Order]:
    """What the next heartbeat of a node brings."""
    return master.cluster.registry.take_orders(node_id)


def remove(master: Master) -> None:
    """The file goes, and both graces pass."""
    master.ask(CLIENT_SESSION, m.Remove(request_id=b"x" * 16, path="/f"))


def step_until_ordered(master: Master, collector: Collector) -> list[m.Order]:
    """Let it come to its deletes; what the first node is told."""

    def found() -> list[m.Order]:
        master.clock.advance(1)
        collector.step()
        return orders(master, nodes(master)[0])

    return poll_for("a delete", found, seconds=20)


def test_a_removed_file_is_deleted_from_its_nodes(master: Master, collector: Collector) -> None:
    """Each copy is ordered away once, and again only when nobody confirmed it, or the node came anew."""
    remove(master)
    (order,) = step_until_ordered(master, collector)
    assert (order.kind, order.digest) == (m.OrderKind.DELETE, DIGEST)
    assert order.generation > 1
    assert [each.digest for each in orders(master, nodes(master)[1])] == [DIGEST]
    assert orders(master, nodes(master)[2]) == []
    collector.step()
    assert orders(master, nodes(master)[0]) == []
    master.clock.advance(ORDER_SECONDS)
    collector.step()
    assert orders(master, nodes(master)[0]) == [order]
    master.cluster.registry.change(nodes(master)[0], lambda node: replace(node, registration=node.registration + 1))
    collector.step()
    assert orders(master, nodes(master)[0]) == [order]


def test_a_node_that_is_away_is_told_when_it_is_back(master: Master, collector: Collector) -> None:
    """From what is on record, by a collector that knows nothing of before."""
    first = nodes(master)[0]
    remove(master)
    (order,) = step_until_ordered(master, collector)
    master.cluster.registry.change(first, lambda node: replace(node, state="dead"))
    master.clock.advance(ORDER_SECONDS)
    collector.step()
    assert orders(master, first) == []
    master.cluster.registry.change(first, lambda node: replace(node, state="live"))
    Collector(master.cluster, Compactor(master.cluster)).step()
    assert orders(master, first) == [order]


def test_nothing_is_collected_while_the_master_may_be_wrong(master: Master, collector: Collector) -> None:
    """In safe mode, or while it is behind its nodes: the version stays readable."""
    opened = master.ask(CLIENT_SESSION, m.Open(path="/f")).header
    remove(master)
    master.cluster.safe_mode.hold("behind")
    for _ in range(5):
        master.clock.advance(10)
        collector.step()
    assert master.ask(CLIENT_SESSION, m.Open(version=opened.version)).header.version == opened.version
    master.cluster.safe_mode.release()
    step_until_ordered(master, collector)
    with pytest.raises(VersionGoneError):
        master.ask(CLIENT_SESSION, m.Open(version=opened.version))


def test_a_plan_asks_for_a_chunk_that_is_being_deleted(master: Master, collector: Collector) -> None:
    """At once, with a ticket of a newer generation than the delete's, and the commit is taken."""
    remove(master)
    (order,) = step_until_ordered(master, collector)
    body = encode_list(m.PlanBody([m.ChunkWanted(DIGEST, len(CONTENT))], []))
    (answer,) = master.ask(CLIENT_SESSION, m.Plan(path="/g"), body).items(list[m.PlanAnswer])
    assert answer.ticket is not None
    assert answer.ticket.generation > order.generation


def test_the_space_is_told_for_what_it_is(master: Master) -> None:
    """Live bytes become waiting ones as soon as the file is removed; people and programs read the same."""
    detail = master.ask(ADMIN_SESSION, m.SpaceDetail())
    found = {each.node_id: each for each in detail.items(list[m.NodeSpace])}
    first, second, third = nodes(master)
    assert [found[each].live_bytes for each in (first, second, third)] == [len(CONTENT), len(CONTENT), 0]
    assert detail.header.first_free_at_ms == 0
    remove(master)
    detail = master.ask(ADMIN_SESSION, m.SpaceDetail())
    items = detail.items(list[m.NodeSpace])
    found = {each.node_id: each for each in items}
    assert [found[each].waiting_bytes for each in (first, second, third)] == [len(CONTENT), len(CONTENT), 0]
    assert found[first].live_bytes == 0
    assert detail.header.first_free_at_ms == master.clock.wall_ms() + 2_000
    told = space_object(detail.header, items)
    assert told["all"]["waiting_bytes"] == 2 * len(CONTENT)  # type: ignore[index]
    out = io.StringIO()
    show_space(detail.header, items, Output(program="dfs", out=out))
    assert "WAITING" in out.getvalue()
    assert "deleted in 2 seconds" in out.getvalue()
