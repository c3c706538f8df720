"""What the master does by itself, a bounded step at a time."""

import logging

from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.mutations.housekeeping import EmptyRemoved, ForgetEvents, ForgetRequests
from dfs_master.catalog.mutations.nodes import SaveNodes
from dfs_master.catalog.mutations.records import AddEvent
from dfs_master.cluster import Cluster
from dfs_master.handlers.nodes import node_update
from dfs_wire.errors import DfsError
from dfs_wire.limits import REQUEST_MEMORY_SECONDS

#: Events that are kept, and how often those before them are forgotten: a reader's report is one, so is each start of a
#: node, and nobody else ever deletes any.
EVENTS_KEPT = 100_000
EVENTS_SECONDS = 300.0

log = logging.getLogger(__name__)


class Housekeeping:
    """Each method is one step, called by one thread of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events_at = 0.0

    def watch_nodes(self) -> None:
        """Let time pass for the nodes, and write down whose state changed."""
        changes = self._cluster.registry.step()
        for change in changes:
            log.info("node %s is %s", change.node.name, change.node.state, extra={"before": change.before})
        if changes:
            self._cluster.committer.submit(SaveNodes([node_update(change.node) for change in changes]), _warn)
        self._leave_safe_mode()

    def _leave_safe_mode(self) -> None:
        """Begin to heal once the nodes were heard after a start."""
        cluster = self._cluster
        heard = {node.id for node in cluster.registry.nodes.values() if node.heard}
        limit = cluster.settings.current.safe_mode_seconds
        reason = cluster.safe_mode.step(heard, cluster.clock.monotonic(), limit)
        if reason is not None:
            log.info("safe mode is over: %s", reason)
            cluster.committer.submit(AddEvent("safe_mode_left", "master", {"reason": reason}), _warn)

    def tidy(self) -> None:
        """Delete what removed trees left, forget old outcomes and events; a read-only master changes not even those."""
        if self._cluster.safe_mode.held:
            return
        before_ms = self._cluster.clock.wall_ms() - REQUEST_MEMORY_SECONDS * 1000
        self._repeat(EmptyRemoved())
        self._repeat(ForgetRequests(before_ms))
        now = self._cluster.clock.monotonic()
        if now >= self._events_at:
            self._events_at = now + EVENTS_SECONDS
            if last := self._cluster.reader.surplus_event(EVENTS_KEPT):
                self._repeat(ForgetEvents(last))

    def _repeat(self, step: Mutation[bool]) -> None:
        """Until nothing is left: each further thousand queues up behind what users asked meanwhile."""

        def done(result: bool | DfsError) -> None:
            if result is True:
                self._repeat(step)
            else:
                _warn(result)

        self._cluster.committer.submit(step, done)


def _warn(result: object) -> None:
    if isinstance(result, DfsError):
        log.warning("housekeeping was refused: %s", result)
