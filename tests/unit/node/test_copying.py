"""Copies at once, last copies first, and rest while users send chunks."""

import math
import threading

from dfs_node.copying import LATELY_SECONDS, REST_FACTOR, REST_SECONDS_MAX, CopyQueue, Courtesy
from dfs_node.slots import StreamSlots
from dfs_runtime.clock import ManualClock
from dfs_wire.messages import Order, OrderKind


def order(number: int, *, last_copy: bool = False, streams: int = 0) -> Order:
    """A copy of chunk `number`."""
    return Order(OrderKind.COPY, number.to_bytes(32, "big"), last_copy=last_copy, streams=streams)


class Gate:
    """Copies that begin and then wait until they may end."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.begun: list[int] = []
        self.open = False

    def carry_out(self, what: Order) -> None:
        """Begin, and wait."""
        with self.changed:
            self.begun.append(int.from_bytes(what.digest, "big"))
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.open, timeout=20)

    def wait_for(self, count: int) -> list[int]:
        """Those that began, once they are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) >= count, timeout=20)
            return list(self.begun)

    def release(self) -> None:
        """All may end."""
        with self.changed:
            self.open = True
            self.changed.notify_all()


def test_streams_are_bounded_and_a_last_copy_has_one_more() -> None:
    """Two at once; the third waits, a last copy does not, and a second last copy waits again."""
    gate = Gate()
    queue = CopyQueue(gate.carry_out, streams=2)
    for number in (1, 2, 3):
        queue.take(order(number))
    assert sorted(gate.wait_for(2)) == [1, 2]
    queue.take(order(4, last_copy=True))
    queue.take(order(5, last_copy=True))
    assert sorted(gate.wait_for(3)) == [1, 2, 4]
    gate.release()
    # The last copy that waited goes before the order that waited longer; with two threads free they may swap.
    assert set(gate.wait_for(5)[3:]) == {3, 5}
    queue.stop()


def test_an_order_says_how_many() -> None:
    """The master's setting comes with each order."""
    gate = Gate()
    queue = CopyQueue(gate.carry_out, streams=1)
    for number in range(1, 5):
        queue.take(order(number, streams=4))
    assert sorted(gate.wait_for(4)) == [1, 2, 3, 4]
    gate.release()
    queue.stop()


def test_the_same_chunk_once() -> None:
    """An order that is given anew while the first is under way is that one."""
    gate = Gate()
    queue = CopyQueue(gate.carry_out, streams=2)
    assert queue.take(order(1))
    assert queue.take(order(1))
    queue.take(order(2))
    assert sorted(gate.wait_for(2)) == [1, 2]
    gate.release()
    queue.stop()
    assert not queue.take(order(3))


def test_copies_rest_while_users_send() -> None:
    """In proportion to their work, a second at most; not at all while nobody sends."""
    clock, users = ManualClock(), [0]
    courtesy = Courtesy(clock, lambda: users[0])
    began = clock.monotonic()
    assert not courtesy.is_due()
    users[0] = 1
    assert courtesy.is_due()
    courtesy.rest(0.1)
    assert round(clock.monotonic() - began, 6) == round(0.1 * REST_FACTOR, 6)
    courtesy.rest(100.0)
    assert round(clock.monotonic() - began, 6) == round(0.1 * REST_FACTOR + REST_SECONDS_MAX, 6)


def test_users_of_small_files_are_seen_between_their_streams() -> None:
    """None is under way when it is looked, but one began a moment ago; a second without any ends the rest."""
    clock, begun_at = ManualClock(), [-math.inf]
    courtesy = Courtesy(clock, lambda: 0, lambda: begun_at[0])
    assert not courtesy.is_due()
    begun_at[0] = clock.monotonic()
    assert courtesy.is_due()
    clock.advance(LATELY_SECONDS)
    assert not courtesy.is_due()


def test_a_put_of_long_ago_slows_no_copy() -> None:
    """A repair begins when nobody has sent a chunk for minutes, and there is nobody to rest for."""
    clock = ManualClock()
    slots = StreamSlots(clock=clock)
    courtesy = Courtesy(clock, lambda: slots.in_use, lambda: slots.begun_at)
    assert not courtesy.is_due()
    with slots.take(0):
        assert courtesy.is_due()
    assert courtesy.is_due()
    clock.advance(LATELY_SECONDS)
    assert not courtesy.is_due()
