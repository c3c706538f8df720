"""Letting nodes go: `DrainNode`, `DrainProgress`, `RemoveNode`."""

from dataclasses import replace

from dfs_master.catalog.mutations.draining import ReleaseCopies, RemoveNode, SetDraining
from dfs_master.catalog.rows import NodeRow
from dfs_master.cluster import Cluster
from dfs_master.membership import LIVE
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.errors import DfsError, NotFoundError
from dfs_wire.event_listener import Respond
from dfs_wire.service import Session


class DrainHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def drain(self, _session: Session, request: m.DrainNode, _body: bytes, respond: Respond) -> None:
        """Begin or stop."""
        registry = self._cluster.registry

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
        left = self._cluster.reader.moves_left(request.node_id)
        return Answer(
            m.DrainProgressReply(
                state=node.state,
                chunks_left=left.chunks,
                bytes_left=left.bytes,
                # Until the next step it may still be chosen for new data.
                draining=node.draining and node.state != LIVE,
                only_here=left.only_here,
                files=left.files,
            )
        )

    def remove(self, _session: Session, request: m.RemoveNode, _body: bytes, respond: Respond) -> None:
        """Give up the node's copies step by step, then forget it. Refused as soon as one is needed."""
        cluster = self._cluster

        def released(result: int | DfsError) -> None:
            if isinstance(result, DfsError):
                respond(result)
                return
            step = ReleaseCopies(request.node_id) if result > 0 else None
            try:
                if step is not None:
                    cluster.committer.submit(step, released)
                else:
                    cluster.committer.submit(RemoveNode(request.node_id), removed)
            except DfsError as error:
                respond(error)  # too much waits: nothing is lost, the caller may ask again

        def removed(result: DfsError | None) -> None:
            if isinstance(result, DfsError):
                respond(result)
                return
            cluster.registry.forget(request.node_id)
            respond(Answer(m.Done()))

        cluster.committer.submit(ReleaseCopies(request.node_id), released)
