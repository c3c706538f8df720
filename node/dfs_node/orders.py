"""Carries out what the master orders, on threads of its own, so that heartbeats never wait for a disk."""

import logging
import threading
from functools import partial

from dfs_node.findings import FindingQueue
from dfs_node.volume import Volume
from dfs_runtime.workers import QueueFullError, WorkerPool
from dfs_wire.errors import DfsError
from dfs_wire.messages import Order, OrderKind

_QUEUE_MAX = 1_000

log = logging.getLogger(__name__)


class OrderRunner:
    """A small pool for orders. Safe to share between threads."""

    def __init__(self, volume: Volume, findings: FindingQueue, *, threads: int = 1) -> None:
        self._volume = volume
        self._findings = findings
        self._stopping = threading.Event()
        self._pool = WorkerPool("order", threads, _QUEUE_MAX)

    def take(self, orders: list[Order]) -> None:
        """Queue orders. What finds no room is dropped: the master orders again what it gets no answer to."""
        for order in orders:
            try:
                self._pool.submit(partial(self.carry_out, order))
            except QueueFullError:
                log.warning("too many orders wait; %s of chunk %s is dropped", order.kind, order.digest.hex())

    def carry_out(self, order: Order) -> None:
        """Do what one order asks. Its outcome goes out with a heartbeat."""
        if self._stopping.is_set():
            return
        try:
            if order.kind is OrderKind.VERIFY:
                self._findings.add(self._volume.verify(order.digest))
        except DfsError as error:
            log.warning("order %s of chunk %s failed: %s", order.kind, order.digest.hex(), error)

    def stop(self) -> None:
        """Finish the order under way, drop what is queued."""
        self._stopping.set()
        self._pool.stop()
