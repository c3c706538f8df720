"""`RepairStatus`, `ForceRepair`, `PauseRebalance`, `SetMaintenance`: healing, as operators see and steer it."""

from dataclasses import replace

from dfs_master.catalog.mutations.draining import SetMaintenance
from dfs_master.catalog.rows import NodeRow
from dfs_master.cluster import Cluster
from dfs_master.handlers.nodes import maintenance_until
from dfs_master.healing import Healing
from dfs_master.repair_status import reasons, seconds_left, state_of
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.errors import DfsError, UsageError
from dfs_wire.event_listener import Respond
from dfs_wire.limits import MAINTENANCE_SECONDS, MAINTENANCE_SECONDS_MAX
from dfs_wire.service import Session


class HealingHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster, healing: Healing) -> None:
        self._cluster = cluster
        self._healing = healing

    def status(self, _session: Session, _request: m.RepairStatus, _body: bytes) -> Answer[m.RepairStatusReply]:
        """What the last step counted; nothing is read for this."""
        cluster, view, even = self._cluster, self._healing.repairer.view, self._healing.rebalancer.view
        now, now_ms = cluster.clock.monotonic(), cluster.clock.wall_ms()
        held = _held_reason(cluster)
        return Answer(
            m.RepairStatusReply(
                state=state_of(view, cluster.registry.nodes, is_held=bool(held)),
                reasons=reasons(view, cluster.registry.nodes, now, now_ms, cluster.registry.timing, held)[:16],
                chunks_left=view.chunks_left,
                bytes_left=view.bytes_left,
                bytes_per_second=round(view.bytes_per_second),
                seconds_left=seconds_left(view),
                under_way=view.under_way,
                counting=view.counting,
                rebalance=even.state,
                rebalance_bytes_left=even.bytes_left,
                rebalance_bytes_per_second=round(even.bytes_per_second),
                rebalance_seconds_left=even.seconds_left,
            )
        )

    def force(self, _session: Session, _request: m.ForceRepair, _body: bytes) -> Answer[m.ForceRepairReply]:
        """Give up the nodes that vanished at once, and wait no more for those that are missing since a start."""
        self._cluster.safe_mode.force()
        return Answer(m.ForceRepairReply(nodes=self._healing.repairer.force()))

    def pause(self, _session: Session, request: m.PauseRebalance, _body: bytes, respond: Respond) -> None:
        """Pause or go on; that outlives a restart."""

        def deliver(result: DfsError | None) -> None:
            respond(result if isinstance(result, DfsError) else Answer(m.Done()))

        self._healing.rebalancer.pause(request.paused, deliver)

    def maintenance(self, _session: Session, request: m.SetMaintenance, _body: bytes, respond: Respond) -> None:
        """Begin or end a node's maintenance."""
        cluster = self._cluster
        seconds = request.seconds or MAINTENANCE_SECONDS
        if not 0 < seconds <= MAINTENANCE_SECONDS_MAX:
            raise UsageError(f"a maintenance takes 1 to {MAINTENANCE_SECONDS_MAX} seconds, not {request.seconds}")
        until_ms = 0 if request.off else cluster.clock.wall_ms() + seconds * 1000

        def deliver(result: NodeRow | DfsError) -> None:
            if isinstance(result, DfsError):
                respond(result)
                return
            until = maintenance_until(result, cluster.clock)
            cluster.registry.change(request.node_id, lambda node: replace(node, maintenance_until=until))
            respond(Answer(m.SetMaintenanceReply(until_ms=result.intent_until)))

        cluster.committer.submit(SetMaintenance(request.node_id, until_ms), deliver)


def _held_reason(cluster: Cluster) -> str:
    """Why nothing may be repaired at all, or nothing."""
    if cluster.safe_mode.held:
        return cluster.safe_mode.held
    if cluster.safe_mode.active:
        return "the master was just started and waits for its nodes; nothing is repaired before they were heard"
    return ""
