"""`Open` and readers' reports."""

from dfs_master.catalog.mutations.records import AddEvent
from dfs_master.catalog.reader_chunks import OpenVersion
from dfs_master.cluster import Cluster
from dfs_master.handlers.replies import done_to
from dfs_master.membership import KnownNode
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.errors import NotFoundError
from dfs_wire.event_listener import Respond
from dfs_wire.limits import TICKET_SECONDS
from dfs_wire.service import Session
from dfs_wire.tickets import check_read_ticket, read_mac

#: Extents whose replicas the I/O thread looks up for one request.
INLINE_EXTENTS_MAX = 256


class DownloadHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def open_at_once(self, session: Session, request: m.Open, _body: bytes) -> Answer[m.OpenReply] | None:
        """The same for the I/O thread, which remembers which version a path names; None where it may take long."""
        reader = self._cluster.reader
        version = request.version or self._cluster.entries.version_of(request.path)
        version = version or reader.current_version(request.path)
        opened = reader.open_short(version, request.offset, request.length, INLINE_EXTENTS_MAX)
        return None if opened is None else self._answer(session, opened)

    def open(self, session: Session, request: m.Open, _body: bytes) -> Answer[m.OpenReply]:
        """Extents, replicas and read tickets of one version."""
        reader = self._cluster.reader
        return self._answer(session, reader.open_version(request.path, request.version, request.offset, request.length))

    def _answer(self, session: Session, opened: OpenVersion) -> Answer[m.OpenReply]:
        cluster = self._cluster
        now_ms = cluster.clock.wall_ms()
        expires_at_ms = now_ms + TICKET_SECONDS * 1000
        extents = [
            m.OpenExtent(
                extent.start,
                extent.digest,
                extent.chunk_size,
                extent.offset,
                extent.length,
                self.replicas(session, extent.digest, extent.node_ids, expires_at_ms),
            )
            for extent in opened.extents
        ]
        version = opened.version
        reply = m.OpenReply(
            version=version.id,
            size=version.size,
            digest=version.digest,
            mtime_ns=version.mtime_ns,
            mode=version.mode,
            expires_at_ms=expires_at_ms,
            time_ms=now_ms,
        )
        return Answer(reply, encode_list(extents))

    def replicas(
        self, session: Session, digest: bytes, node_ids: tuple[int, ...], expires_at_ms: int
    ) -> list[m.ReplicaTicket]:
        """Best first: nodes that were heard lately, then silent ones, then the dead; chance decides between equals."""
        cluster = self._cluster
        nodes = [node for each in node_ids if (node := cluster.registry.nodes.get(each)) is not None]
        cluster.random.shuffle(nodes)
        nodes.sort(key=_preference)
        return [
            m.ReplicaTicket(
                node.id,
                node.name,
                node.address_for(session.address_set),
                read_mac(cluster.keys.of(node.id), cluster.cluster_id, node.id, digest, expires_at_ms),
            )
            for node in nodes
        ]

    def report(self, session: Session, request: m.ReportCopy, _body: bytes, respond: Respond) -> None:
        """Note a reader's finding and have the node look for itself: its word counts, not the reader's."""
        cluster = self._cluster
        ticket = request.ticket
        node = cluster.registry.nodes.get(ticket.node_id)
        if node is None:
            raise NotFoundError(f"node {ticket.node_id} is not one of this cluster's")
        check_read_ticket(cluster.keys.of(node.id), cluster.cluster_id, node.id, ticket, cluster.clock.wall_ms())
        cluster.registry.order(node.id, m.Order(m.OrderKind.VERIFY, ticket.digest))
        detail = {"node": node.name, "finding": request.finding[:500], "reader": session.peer}
        cluster.committer.submit(AddEvent("copy_reported", ticket.digest.hex(), detail), done_to(respond))


def _preference(node: KnownNode) -> int:
    return 0 if node.copies_count and node.heard else 1 if node.reachable else 2
