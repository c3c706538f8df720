"""Letting nodes go: `DrainNode`, `DrainProgress`, `RemoveNode`."""

from dataclasses import replace

from dfs_master.catalog.mutations.draining import SetDraining
from dfs_master.catalog.rows import NodeRow
from dfs_master.cluster import Cluster
from dfs_master.membership import LIVE
from dfs_master.removal import remove_node
from dfs_master.unsure import unsure_nodes
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.errors import ConflictError, DfsError, NotFoundError
from dfs_wire.event_listener import Respond
from dfs_wire.service import Session


class DrainHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def drain(self, _session: Session, request: m.DrainNode, _body: bytes, respond: Respond) -> None:
        """Begin or stop.

        Raises:
            ConflictError: it is too late to stop: the node goes just now.
        """
        registry = self._cluster.registry
        known = registry.nodes.get(request.node_id)
        if request.cancel and known is not None and known.removing:
            raise ConflictError(f"node {known.name} is being removed at this moment; it is too late to keep it")

        def deliver(result: NodeRow | DfsError) -> None:
            if isinstance(result, DfsError):
                respond(result)
                return
            registry.change(request.node_id, lambda node: replace(node, draining=not request.cancel))
            respond(Answer(m.Done()))

        self._cluster.committer.submit(SetDraining(request.node_id, not request.cancel), deliver)

    def progress(self, _session: Session, request: m.DrainProgress, _body: bytes) -> Answer[m.DrainProgressReply]:
        """What the node still holds alone."""
        node = self._cluster.registry.nodes.get(request.node_id)
        if node is None:
            raise NotFoundError(f"no node has the id {request.node_id}; see `dfs node list`")
        reader = self._cluster.reader
        left = reader.moves_left(request.node_id, unsure_nodes(self._cluster.registry.nodes.values(), reader))
        return Answer(
            m.DrainProgressReply(
                state=node.state,
                chunks_left=left.chunks,
                bytes_left=left.bytes,
                # Until the next step it may still be chosen for new data.
                draining=node.draining and node.state != LIVE,
                only_here=left.only_here,
                files=left.files,
                damaged=left.damaged,
            )
        )

    def remove(self, _session: Session, request: m.RemoveNode, _body: bytes, respond: Respond) -> None:
        """Give up the node's copies step by step, then forget it. Refused as soon as one is needed."""
        remove_node(
            self._cluster,
            request.node_id,
            lambda error: respond(Answer(m.Done()) if error is None else error),
        )
