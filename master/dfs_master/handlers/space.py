"""`SpaceDetail`: what the bytes are there for."""

from dfs_master.cluster import Cluster
from dfs_master.collecting import version_grace_seconds
from dfs_master.membership import capacity
from dfs_master.space import first_free_at_ms, node_space, surplus_bytes
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.service import Session


class SpaceHandlers:
    """Called on a worker: it reads every replica. Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def detail(self, _session: Session, _request: m.SpaceDetail, _body: bytes) -> Answer[m.SpaceDetailReply]:
        """Every node's bytes, split, and the sums over volumes that serve."""
        cluster = self._cluster
        nodes = cluster.registry.nodes
        settings = cluster.settings.current
        summary = cluster.reader.space_summary()
        surplus = surplus_bytes(summary.surplus, nodes)
        on_record = {each.node_id: each for each in summary.nodes}
        items = []
        for node in sorted(nodes.values(), key=lambda each: each.name):
            inventory = cluster.inventories.of(node.id)
            orphan = None if inventory is None else inventory.unknown_bytes
            items.append(node_space(node, on_record.get(node.id), surplus[node.id], orphan))
        total, used, free = capacity(nodes.values())
        full = any(node.serves and node.volume_state is m.VolumeState.FULL for node in nodes.values())
        grace = version_grace_seconds(settings.version_grace_seconds, any_volume_full=full)
        reply = m.SpaceDetailReply(
            capacity_bytes=total,
            used_bytes=used,
            free_bytes=free,
            first_free_at_ms=first_free_at_ms(
                summary.pending, grace, settings.chunk_grace_seconds, cluster.clock.wall_ms()
            ),
            time_ms=cluster.clock.wall_ms(),
        )
        return Answer(reply, encode_list(items))
