"""Nodes whose volume was replaced: their rows go by themselves when nothing needs them any more."""

import logging

from dfs_master.catalog.mutations.draining import ReleaseCopies, RemoveNode
from dfs_master.cluster import Cluster
from dfs_master.membership import DEAD
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
            if gone and cluster.reader.moves_left(node.id).chunks == 0:
                self._release(node.id)

    def _release(self, node_id: int) -> None:
        """Give up its copies a bounded number at a time, then its row. What is needed after all ends it until later."""
        cluster = self._cluster

        def released(result: int | DfsError) -> None:
            if isinstance(result, DfsError):
                log.info("replaced node %d stays on record: %s", node_id, result)
            elif result > 0:
                cluster.committer.submit(ReleaseCopies(node_id), released)
            else:
                cluster.committer.submit(RemoveNode(node_id), removed)

        def removed(result: DfsError | None) -> None:
            if isinstance(result, DfsError):
                log.info("replaced node %d stays on record: %s", node_id, result)
            else:
                cluster.registry.forget(node_id)
                cluster.inventories.forget(node_id)

        cluster.committer.submit(ReleaseCopies(node_id), released)
