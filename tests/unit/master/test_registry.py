"""The registry: membership's state with the connections and orders that belong to it."""

import threading
from dataclasses import replace

import pytest

from dfs_master.membership import DEAD, LIVE, SUSPECT, KnownNode
from dfs_master.registry import (
    LOOKS_WAITING_MAX,
    ORDERS_LIKELY_SECONDS,
    ORDERS_PER_REPLY_MAX,
    ROW_SECONDS,
    NodeRegistry,
)
from dfs_runtime.clock import ManualClock
from dfs_wire.limits import BUSY_HEARTBEAT_SECONDS, DEAD_SECONDS
from dfs_wire.messages import Heartbeat, Order, OrderKind, VolumeState
from dfs_wire.service import Session


def node(number: int = 1, **fields: object) -> KnownNode:
    """As a registration leaves it."""
    usual = {"state": LIVE, "registration": 1}
    return KnownNode(number, f"node-{number}", "in:1", "out:1", **{**usual, **fields})  # type: ignore[arg-type]


def beat(number: int = 1, **fields: object) -> Heartbeat:
    """A heartbeat."""
    usual = {"registration": 1, "capacity_bytes": 100, "used_bytes": 10, "free_bytes": 90}
    return Heartbeat(node_id=number, **{**usual, **fields})  # type: ignore[arg-type]


@pytest.fixture
def clock() -> ManualClock:
    """The registry's."""
    return ManualClock()


@pytest.fixture
def registry(clock: ManualClock) -> NodeRegistry:
    """An empty one."""
    return NodeRegistry(clock, [])


def test_a_node_registers_and_is_heard(registry: NodeRegistry, clock: ManualClock) -> None:
    """It takes data at once; what its heartbeats tell is known at once."""
    session = Session("node")
    registry.registered(node(), session)
    assert registry.nodes[1].takes_data
    clock.advance(3)
    registry.heard(session, beat(used_bytes=55, volume_state=VolumeState.FULL))
    known = registry.nodes[1]
    assert (known.used_bytes, known.volume_state) == (55, VolumeState.FULL)
    assert (known.heard_at, known.last_seen_at_ms) == (clock.monotonic(), clock.wall_ms())


def test_rows_are_written_once_a_minute(registry: NodeRegistry, clock: ManualClock) -> None:
    """Heartbeats live in memory; only now and then a row is due."""
    session = Session("node")
    registry.registered(node(), session)
    due = []
    for _ in range(60):
        clock.advance(3)
        due.append(registry.heard(session, beat()) is not None)
    assert due.count(True) == 180 // ROW_SECONDS


def test_a_snapshot_does_not_change(registry: NodeRegistry) -> None:
    """Who looks at the nodes sees one moment, and can change nothing."""
    before = registry.nodes
    registry.registered(node(), Session("node"))
    assert dict(before) == {}
    with pytest.raises(TypeError):
        registry.nodes[2] = node(2)  # type: ignore[index]


def test_a_second_connection_for_a_live_node(registry: NodeRegistry, clock: ManualClock) -> None:
    """One that is heard holds its identity; it is free when its connection ends, or when it fell silent."""
    first, second = Session("first"), Session("second")
    assert not registry.is_held(1, second)
    registry.registered(node(), first)
    assert registry.is_held(1, second)
    assert not registry.is_held(1, first)
    clock.advance(15)
    assert not registry.is_held(1, second)
    registry.heard(first, beat())
    assert registry.is_held(1, second)
    for callback in first.on_close:
        callback()
    assert not registry.is_held(1, second)


def test_the_end_of_an_old_connection_frees_nothing(registry: NodeRegistry) -> None:
    """Only the connection that speaks for the node now does."""
    first, second = Session("first"), Session("second")
    registry.registered(node(), first)
    registry.registered(node(), second)
    for callback in first.on_close:
        callback()
    assert registry.is_held(1, Session("third"))


def test_time_passes(registry: NodeRegistry, clock: ManualClock) -> None:
    """Silence is noticed step by step, and coming back as well."""
    session = Session("node")
    registry.registered(node(), session)
    states = []
    for _ in range(125):
        clock.advance(1)
        states += [(change.before, change.node.state) for change in registry.step()]
    assert states == [(LIVE, SUSPECT), (SUSPECT, DEAD)]
    registry.heard(session, beat())
    clock.advance(1)
    assert [change.node.state for change in registry.step()] == [LIVE]


def test_a_pause_of_the_masters_own_is_forgiven(registry: NodeRegistry, clock: ManualClock) -> None:
    """A step that comes ten minutes late (a stopped process) kills nobody."""
    registry.registered(node(), Session("node"))
    clock.advance(1)
    registry.step()
    clock.advance(600)
    assert registry.step() == []
    for _ in range(20):
        clock.advance(1)
        registry.step()
    assert registry.nodes[1].state == SUSPECT


def test_orders_wait_for_a_heartbeat(registry: NodeRegistry) -> None:
    """The same order twice is one; a reply carries so many, the rest waits; each node has its own."""
    for number in range(ORDERS_PER_REPLY_MAX + 10):
        for _ in range(2):
            registry.order(1, Order(OrderKind.VERIFY, number.to_bytes(32, "big")))
    assert len(registry.take_orders(1)) == ORDERS_PER_REPLY_MAX
    assert len(registry.take_orders(1)) == 10
    assert registry.take_orders(1) == []
    assert registry.take_orders(2) == []


def test_what_waits_for_nodes_is_tried_when_they_come(registry: NodeRegistry, clock: ManualClock) -> None:
    """And when time passes, until it says that it is done; then never again."""
    tried: list[int] = []

    def attempt() -> bool:
        tried.append(len(registry.nodes))
        return len(registry.nodes) == 2

    registry.settle_later(attempt)
    registry.registered(node(1), Session("node"))
    clock.advance(1)
    registry.step()
    registry.registered(node(2), Session("node"))
    registry.registered(node(3), Session("node"))
    registry.step()
    assert tried == [1, 1, 2]


def test_a_fault_in_one_that_waits_does_not_lose_the_others(
    registry: NodeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; everybody else is still tried."""
    tried: list[str] = []

    def broken() -> bool:
        raise ZeroDivisionError("a fault of ours")

    def good() -> bool:
        tried.append("good")
        return True

    registry.settle_later(broken)
    registry.settle_later(good)
    registry.settle()
    registry.settle()
    assert tried == ["good"]
    assert "ZeroDivisionError" in caplog.text


def test_many_threads(clock: ManualClock) -> None:
    """Registrations, heartbeats and steps at once lose no node."""
    registry = NodeRegistry(clock, [node(number) for number in range(1, 9)])

    def live(number: int) -> None:
        session = Session(str(number))
        registry.registered(replace(registry.nodes[number], heard=True), session)
        for used in range(200):
            registry.heard(session, beat(number, used_bytes=used))
            registry.step()

    threads = [threading.Thread(target=live, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.used_bytes for each in registry.nodes.values()] == [199] * 8


def test_only_so_many_looks_wait_for_a_node(registry: NodeRegistry) -> None:
    """Readers may report every copy of a node that is dead. It keeps out no other order."""
    registry.registered(node(), Session("node"))
    for number in range(LOOKS_WAITING_MAX + 5):
        registry.order(1, Order(OrderKind.VERIFY, number.to_bytes(4)))
    registry.order(1, Order(OrderKind.VERIFY, (7).to_bytes(4), 99))
    registry.order(1, Order(OrderKind.COPY, b"c"))
    taken: list[Order] = []
    while part := registry.take_orders(1):
        taken += part
    assert [int.from_bytes(each.digest) for each in taken[:-1]] == list(range(LOOKS_WAITING_MAX))
    assert taken[-1].kind is OrderKind.COPY
    assert taken[7].generation == 99


def test_nodes_come_sooner_while_orders_are_likely(registry: NodeRegistry, clock: ManualClock) -> None:
    """An order makes others likely for a while; without any, heartbeats come as usual."""
    registry.registered(node(), Session("node"))
    assert registry.beat_again_seconds == 0
    registry.order(1, Order(OrderKind.VERIFY, b"a"))
    assert registry.beat_again_seconds == BUSY_HEARTBEAT_SECONDS
    clock.advance(ORDERS_LIKELY_SECONDS)
    assert registry.beat_again_seconds == 0


def test_nodes_come_sooner_when_one_is_about_to_die(registry: NodeRegistry, clock: ManualClock) -> None:
    """Not while it is only silent, or left with a word; not any more when it is heard."""
    session = Session("node")
    registry.registered(node(), session)
    clock.advance(DEAD_SECONDS - ORDERS_LIKELY_SECONDS - 1)
    registry.step()
    assert (registry.nodes[1].state, registry.beat_again_seconds) == (SUSPECT, 0)
    clock.advance(1)
    registry.step()
    assert registry.beat_again_seconds > 0
    registry.heard(session, beat(leaving=True))
    clock.advance(DEAD_SECONDS)
    registry.step()
    assert (registry.nodes[1].state, registry.beat_again_seconds) == (SUSPECT, 0)


def test_a_node_in_maintenance_keeps_nobody_busy(registry: NodeRegistry, clock: ManualClock) -> None:
    """However long it is away, it does not die before its time is over."""
    registry.registered(node(maintenance_until=clock.monotonic() + 10 * DEAD_SECONDS), Session("node"))
    for seconds in (DEAD_SECONDS, 8 * DEAD_SECONDS):
        clock.advance(seconds)
        registry.step()
        assert (registry.nodes[1].state, registry.beat_again_seconds) == (SUSPECT, 0)
