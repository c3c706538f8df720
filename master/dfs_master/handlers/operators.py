"""What operators and curious users ask of the whole."""

import threading

from dfs_master.catalog.reader_cluster import Counts
from dfs_master.cluster import Cluster
from dfs_master.condition import condition
from dfs_master.membership import KnownNode, capacity
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.errors import NotFoundError
from dfs_wire.service import Session

#: Counting that takes less than this is done for every request.
_QUICK_SECONDS = 0.1
_AGE_PER_COUNTING = 10.0


class OperatorHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._counted = _Counted(cluster)

    def ping(self, _session: Session, _request: m.Ping, _body: bytes) -> Answer[m.Done]:
        """The master serves."""
        return Answer(m.Done())

    def space(self, _session: Session, _request: m.Space, _body: bytes) -> Answer[m.SpaceReply]:
        """Free and used space over the nodes that serve."""
        nodes = [node for node in self._cluster.registry.nodes.values() if node.copies_count]
        total, used, free = capacity(nodes)
        return Answer(m.SpaceReply(capacity_bytes=total, used_bytes=used, free_bytes=free, nodes=len(nodes)))

    def report_finding(self, _session: Session, request: m.ReportFinding, _body: bytes) -> Answer[m.Done]:
        """An operator's tool saw a bad copy: its node looks itself, and its word counts. No digest: at all of them.

        Raises:
            NotFoundError: there is no such node.
        """
        node = self._cluster.registry.nodes.get(request.node_id)
        if node is None:
            raise NotFoundError(f"no node has the id {request.node_id}; see `dfs node list`")
        kind = m.OrderKind.VERIFY if request.digest else m.OrderKind.SCRUB
        self._cluster.registry.order(request.node_id, m.Order(kind, request.digest))
        return Answer(m.Done())

    def status(self, _session: Session, _request: m.Status, _body: bytes) -> Answer[m.StatusReply]:
        """Counts over the catalog, and every node."""
        cluster = self._cluster
        counts = self._counted.get()
        nodes = sorted(cluster.registry.nodes.values(), key=lambda node: node.id)
        state, notice = condition(cluster.safe_mode, nodes)
        reply = m.StatusReply(
            cluster_id=cluster.cluster_id,
            state=state,
            epoch=cluster.epoch,
            software=cluster.software,
            files=counts.files,
            bytes=counts.bytes,
            under_replicated=counts.under_replicated,
            unreadable=counts.unreadable,
            copies=cluster.copies,
            notice=notice,
        )
        return Answer(reply, encode_list([node_info(node) for node in nodes]))


class _Counted:
    """Counts over the whole catalog. What took long to count is told again for a while: `status` is asked often.

    Safe to use from several threads; one of them counts at a time.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._counts: Counts | None = None
        self._good_until = 0.0

    def get(self) -> Counts:
        """The counts, at most ten times as old as it takes to count."""
        clock = self._cluster.clock
        with self._lock:
            begun = clock.monotonic()
            if self._counts is None or begun >= self._good_until:
                self._counts = self._cluster.reader.counts()
                took = clock.monotonic() - begun
                self._good_until = begun + _AGE_PER_COUNTING * took if took > _QUICK_SECONDS else 0.0
            return self._counts


def node_info(node: KnownNode) -> m.NodeInfo:
    """A node as the wire tells of it."""
    return m.NodeInfo(
        node.id,
        node.name,
        node.address,
        node.public_address,
        node.zone,
        node.state,
        node.capacity_bytes,
        node.used_bytes,
        node.last_seen_at_ms,
        node.registered_at_ms,
        scrubbed_at_ms=node.scrubbed_at_ms,
        scrub_permille=node.scrub_permille,
    )
