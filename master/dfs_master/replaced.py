"""Nodes whose volume was replaced: their rows go by themselves when nothing needs them any more."""

import logging

from dfs_master.cluster import Cluster
from dfs_master.membership import DEAD
from dfs_master.removal import remove_node
from dfs_master.unsure import unsure_nodes
from dfs_wire.errors import DfsError

log = logging.getLogger(__name__)


class ReplacedNodes:
    """`step` belongs to one thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def step(self) -> None:
        """Forget each replaced node that is dead, and whose copies all exist elsewhere."""
        cluster = self._cluster
        if cluster.safe_mode.active:
            return
        for node in list(cluster.registry.nodes.values()):
            gone = node.state == DEAD and node.name.endswith(f" (replaced {node.id})")
            if gone and self._moves_left(node.id) == 0:
                self._remove(node.id)

    def _moves_left(self, node_id: int) -> int:
        reader = self._cluster.reader
        return reader.moves_left(node_id, unsure_nodes(self._cluster.registry.nodes.values(), reader)).chunks

    def _remove(self, node_id: int) -> None:
        """Give up its copies, then its row. What is needed after all ends it until later."""

        def done(error: DfsError | None) -> None:
            if error is not None:
                log.info("replaced node %d stays on record: %s", node_id, error)

        remove_node(self._cluster, node_id, done)
