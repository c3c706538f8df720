"""What the master does by itself, a bounded step at a time."""

import logging

from dfs_master.catalog.mutations.housekeeping import EmptyRemoved, ForgetRequests
from dfs_master.catalog.mutations.nodes import SaveNodes
from dfs_master.cluster import Cluster
from dfs_master.handlers.nodes import node_update
from dfs_wire.errors import DfsError
from dfs_wire.limits import REQUEST_MEMORY_SECONDS

log = logging.getLogger(__name__)


class Housekeeping:
    """Each method is one step, called by one thread of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def watch_nodes(self) -> None:
        """Let time pass for the nodes, and write down whose state changed."""
        changes = self._cluster.registry.step()
        for change in changes:
            log.info("node %s is %s", change.node.name, change.node.state, extra={"before": change.before})
        if changes:
            self._cluster.committer.submit(SaveNodes([node_update(change.node) for change in changes]), _warn)

    def tidy(self) -> None:
        """Delete what removed trees left, and forget old outcomes."""
        before_ms = self._cluster.clock.wall_ms() - REQUEST_MEMORY_SECONDS * 1000
        self._cluster.committer.submit(EmptyRemoved(), self._go_on)
        self._cluster.committer.submit(ForgetRequests(before_ms), _warn)

    def _go_on(self, result: bool | DfsError) -> None:
        """More is left: the next thousand queue up behind what users asked meanwhile."""
        if result is True:
            self._cluster.committer.submit(EmptyRemoved(), self._go_on)
        else:
            _warn(result)


def _warn(result: object) -> None:
    if isinstance(result, DfsError):
        log.warning("housekeeping was refused: %s", result)
