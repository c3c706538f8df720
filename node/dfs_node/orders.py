"""Carries out what the master orders, on threads of its own, so that heartbeats never wait for a disk."""

import logging
import threading
from functools import partial

from dfs_node.copying import CopyQueue
from dfs_node.findings import FindingQueue
from dfs_node.repack import repack
from dfs_node.replicate import Replicator
from dfs_node.scrub import Scrubber
from dfs_node.volume import Volume
from dfs_runtime.workers import QueueFullError, WorkerPool
from dfs_wire.errors import DfsError
from dfs_wire.messages import Finding, FindingKind, Order, OrderKind

_QUEUE_MAX = 1_000
#: Chunks that are read whole at once, to verify them.
ORDER_THREADS = 2

log = logging.getLogger(__name__)


class OrderWork:
    """What is done for an order. Without threads, so that a simulation can call it. Safe to share between threads."""

    def __init__(
        self, volume: Volume, findings: FindingQueue, replicator: Replicator, scrubber: Scrubber | None = None
    ) -> None:
        self._volume = volume
        self._replicator = replicator
        self._findings = findings
        self._scrubber = scrubber
        #: From now on orders are left undone.
        self.stopping = threading.Event()

    def carry_out(self, order: Order) -> None:
        """Do what one order asks. Its outcome goes out with a heartbeat."""
        if self.stopping.is_set():
            return
        try:
            if order.kind is OrderKind.VERIFY:
                self._findings.add(self._volume.verify(order.digest))
            elif order.kind is OrderKind.COPY:
                self._findings.add(self._copied(order))
            elif order.kind is OrderKind.DELETE:
                self._findings.add(self._deleted(order))
            elif order.kind is OrderKind.REPACK:
                self._findings.add(self._repacked(order))
            elif order.kind is OrderKind.SCRUB and self._scrubber is not None:
                self._scrubber.start_pass()
        except DfsError as error:
            log.warning("order %s of chunk %s failed: %s", order.kind, order.digest.hex(), error)

    def _copied(self, order: Order) -> Finding:
        """Make a copy; the finding says how it went."""
        try:
            stored = self._replicator.copy(order)
        except DfsError as error:
            log.warning("chunk %s could not be copied: %s", order.digest.hex(), error)
            return Finding(order.digest, 0, FindingKind.NOT_STORED, f"{error.code}: {error}")
        return Finding(stored.digest, stored.generation, FindingKind.STORED)

    def _repacked(self, order: Order) -> Finding:
        """Write a pack anew; the finding names what was made, or says why nothing was."""
        try:
            made = repack(self._volume, order)
        except DfsError as error:
            log.warning("pack %s could not be written anew: %s", order.digest.hex(), error)
            return Finding(order.digest, 0, FindingKind.REPACKED, f"{error.code}: {error}", ordered=order.generation)
        return Finding(
            order.digest,
            made.generation,
            FindingKind.REPACKED,
            made=made.digest,
            made_size=made.size,
            ordered=order.generation,
        )

    def _deleted(self, order: Order) -> Finding:
        """Remove a file; the finding says that nothing of this generation or older is here any more.

        Raises:
            DfsError: the volume could not do it; the master orders it again.
        """
        self._volume.delete(order.digest, order.generation)
        return Finding(order.digest, order.generation, FindingKind.DELETED)


class OrderRunner(OrderWork):
    """The same on a few threads. Safe to share between threads."""

    def __init__(
        self,
        volume: Volume,
        findings: FindingQueue,
        replicator: Replicator,
        *,
        threads: int = ORDER_THREADS,
        scrubber: Scrubber | None = None,
    ) -> None:
        super().__init__(volume, findings, replicator, scrubber)
        self._pool = WorkerPool("order", threads, _QUEUE_MAX)
        self._copies = CopyQueue(self.carry_out)
        # Apart, so that a full disk gets room while copies are made.
        self._deletes = WorkerPool("delete", 1, _QUEUE_MAX)

    def take(self, orders: list[Order]) -> None:
        """Queue orders. What finds no room is dropped: the master orders again what it gets no answer to."""
        for order in orders:
            if order.kind is OrderKind.COPY:
                if not self._copies.take(order):
                    log.warning("too many copies wait; one of chunk %s is dropped", order.digest.hex())
                continue
            try:
                pool = self._deletes if order.kind is OrderKind.DELETE else self._pool
                pool.submit(partial(self.carry_out, order))
            except QueueFullError:
                log.warning("too many orders wait; %s of chunk %s is dropped", order.kind, order.digest.hex())

    def stop(self) -> None:
        """Finish the order under way, drop what is queued."""
        self.stopping.set()
        self._copies.stop()
        self._pool.stop()
        self._deletes.stop()
