"""Removing a node: its copies are given up step by step, then its deletions are forgotten, then its row goes."""

from collections.abc import Callable
from dataclasses import replace

from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.mutations.draining import ForgetDeletions, ReleaseCopies, RemoveNode
from dfs_master.cluster import Cluster
from dfs_wire.errors import DfsError

Done = Callable[[DfsError | None], None]


def remove_node(cluster: Cluster, node_id: int, done: Done) -> None:
    """Remove a node, each step bounded; `done` hears that it is gone, or why it stays. Nothing is lost by trying.

    From the moment when nothing needs the node, its receipts do not count: they could vouch for files whose deletions
    are forgotten now. If it stays after all, they count again.

    Raises:
        DfsError: too much waits; ask again.
    """

    def failed(error: DfsError) -> None:
        cluster.registry.change(node_id, lambda node: replace(node, removing=False))
        done(error)

    def submit(step: Mutation[int], then: Callable[[], None]) -> None:
        def applied(result: int | DfsError) -> None:
            try:
                if isinstance(result, DfsError):
                    failed(result)
                elif result > 0:
                    cluster.committer.submit(step, applied)
                else:
                    then()
            except DfsError as error:
                failed(error)  # too much waits: nothing is lost, the caller may ask again

        cluster.committer.submit(step, applied)

    def forget() -> None:
        cluster.registry.change(node_id, lambda node: replace(node, removing=True))
        submit(ForgetDeletions(node_id), lambda: cluster.committer.submit(RemoveNode(node_id), removed))

    def removed(result: DfsError | None) -> None:
        if isinstance(result, DfsError):
            failed(result)
            return
        cluster.registry.forget(node_id)
        cluster.inventories.forget(node_id)
        done(None)

    submit(ReleaseCopies(node_id), forget)
