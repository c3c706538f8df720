"""`Register` and `Heartbeat`: how nodes come, live, and are told what to do."""

import logging
from collections.abc import Callable

import msgspec

from dfs_master.catalog.models import NodeIntent
from dfs_master.catalog.mutations.nodes import NodeUpdate, RecordFindings, RegisterNode, SaveNodes
from dfs_master.catalog.rows import NodeRow
from dfs_master.cluster import Cluster
from dfs_master.fence import Point, can_be
from dfs_master.handlers.fencing import FenceHandlers
from dfs_master.membership import KnownNode
from dfs_master.twins import Verdict
from dfs_runtime.clock import Clock
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import ConflictError, DfsError, NotAllowedError, NotFoundError, ReadOnlyError, UnavailableError
from dfs_wire.event_listener import Respond
from dfs_wire.limits import HEARTBEAT_SECONDS
from dfs_wire.service import Session
from dfs_wire.tickets import order_mac, rules_mac
from dfs_wire.transport import parse_address

log = logging.getLogger(__name__)

#: How long after its last inventory a node that answers for nothing makes another: its pages may have come while it
#: registered anew, or held more doubts than are remembered. Else it would answer for nothing until the next day's.
LIST_AGAIN_SECONDS = 300
#: What is kept of a process's random bytes.
INSTANCE_BYTES_MAX = 64

#: Node id, findings: told after they are on record.
Heard = Callable[[int, list[m.Finding]], None]


class NodeHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster, heard: Heard) -> None:
        self._cluster = cluster
        self._heard = heard
        self._fence = FenceHandlers(cluster)

    def register(self, session: Session, request: m.Register, _body: bytes, respond: Respond) -> None:
        """A node takes up service; a first join gets its id and key."""
        first = request.node_id == 0
        if first is not (session.role is m.Role.JOIN) or (not first and request.node_id != session.node_id):
            raise NotAllowedError("a node registers itself only: by a join token at first, then by its own key")
        for address in (request.address, request.public_address):
            parse_address(address)  # others will dial it, and read it in lists
        cluster = self._cluster
        if cluster.registry.was_forgotten(request.node_id):
            # What it has seen it has from us: it must not look like one that comes from a newer database.
            raise NotFoundError(f"node {request.node_id} was removed; to come back it needs an empty volume")
        if not first:
            self._hear_point(request, request.name)
        elif cluster.safe_mode.held:
            # Its id might be one that the newer database gave to another node.
            raise ReadOnlyError(cluster.safe_mode.held)
        instance = request.instance[:INSTANCE_BYTES_MAX]
        verdict = Verdict.ADMIT if first else cluster.registry.judge(request.node_id, instance, session)
        everybody = cluster.registry.nodes.values()
        namesake = next((node for node in everybody if first and node.name == request.name), None)
        mutation = RegisterNode(
            node_id=request.node_id,
            registration=request.registration,
            name=request.name,
            zone=request.zone,
            address=request.address,
            public_address=request.public_address,
            capacity_bytes=request.capacity_bytes,
            used_bytes=request.used_bytes,
            filesystem_id=request.filesystem_id,
            volume_state=request.volume_state,
            volume_verified=request.volume_verified,
            first_is_live=verdict is Verdict.WAIT,
            is_copy=verdict is Verdict.TWIN,
            replaces=namesake.id if namesake is not None and not cluster.registry.is_held(namesake.id, session) else 0,
        )

        def deliver(result: NodeRow | DfsError) -> None:
            if isinstance(result, DfsError):
                respond(self._refusal(result))
                return
            session.role = m.Role.NODE
            session.node_id = result.id
            node = known_node(result, cluster.clock, free_bytes=request.free_bytes)
            cluster.registry.registered(node, session, instance)
            if namesake is not None and namesake.id != result.id:
                cluster.registry.replaced(namesake.id, f"{namesake.name} (replaced {namesake.id})")
            respond(Answer(self._registered(result, first=first)))

        cluster.committer.submit(mutation, deliver)

    def _hear_point(self, told: m.Register | m.Heartbeat, name: str) -> None:
        """What the node has seen of the metadata, before anything else is believed.

        Raises:
            NotAllowedError: nobody can have seen that.
        """
        cluster = self._cluster
        known = cluster.registry.nodes.get(told.node_id)
        seen = Point(told.highest_epoch, told.highest_commit_seq)
        if not can_be(seen, Point(cluster.epoch, cluster.committer.commit_seq)):
            log.error("node %s says that it has seen epoch %d, change %d; it is refused", name, *seen)
            raise NotAllowedError(
                f"no master has come to epoch {seen.epoch}, change {seen.commit_seq}; is this a node?"
            )
        self._fence.heard(name, seen, first_contact=known is None or not known.heard)

    def _refusal(self, error: DfsError) -> DfsError:
        """A node that an older database does not know may be right: it waits until an operator has decided."""
        if isinstance(error, NotFoundError) and self._cluster.safe_mode.held:
            return UnavailableError(f"{error}; {self._cluster.safe_mode.held}")
        return error

    def _registered(self, row: NodeRow, *, first: bool) -> m.RegisterReply:
        cluster = self._cluster
        return m.RegisterReply(
            node_id=row.id,
            node_key=cluster.keys.of(row.id) if first else b"",
            cluster_id=cluster.cluster_id,
            epoch=cluster.epoch,
            commit_seq=cluster.committer.commit_seq,
            time_ms=cluster.clock.wall_ms(),
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )

    def heartbeat(self, session: Session, request: m.Heartbeat, body: bytes, respond: Respond) -> None:
        """A node lives, tells what it found, and takes its orders. Findings are on record before the reply."""
        cluster = self._cluster
        known = cluster.registry.nodes.get(request.node_id)
        if request.node_id != session.node_id:
            raise NotAllowedError("a node speaks for itself only")
        if known is None:
            raise NotFoundError("this master does not know the node; register first")
        if known.registration != request.registration:
            raise ConflictError("another process registered as this node since; is its volume in use twice?")
        self._hear_point(request, known.name)
        findings = decode(body, list[m.Finding]) if body else []
        due = cluster.registry.heard(session, request)
        if due is not None:
            cluster.committer.submit(SaveNodes([node_update(due)]), _ignore)
        if findings:
            cluster.committer.submit(
                RecordFindings(request.node_id, findings),
                lambda result: self._recorded(request, findings, result, respond),
            )
        else:
            self._beat(request, None, respond)

    def _recorded(self, request: m.Heartbeat, findings: list[m.Finding], result: object, respond: Respond) -> None:
        if not isinstance(result, DfsError):
            self._heard(request.node_id, findings)
        self._beat(request, result, respond)

    def _beat(self, request: m.Heartbeat, recorded: object, respond: Respond) -> None:
        if isinstance(recorded, DfsError):
            respond(recorded)
            return
        cluster = self._cluster
        orders = encode_list(cluster.registry.take_orders(request.node_id))
        settings = cluster.settings.current
        reply = m.HeartbeatReply(
            epoch=cluster.epoch,
            commit_seq=cluster.committer.commit_seq,
            time_ms=cluster.clock.wall_ms(),
            scrub_seconds=int(settings.scrub_seconds),
            scrub_bytes_per_second=int(settings.scrub_bytes_per_second),
            inventory_seconds=self._inventory_seconds(request.node_id),
            again_seconds=cluster.registry.beat_again_seconds,
        )
        signed = (cluster.keys.of(request.node_id), cluster.cluster_id, request.node_id, reply)
        macs = {"mac": order_mac(*signed, orders), "rules_mac": rules_mac(*signed)}
        respond(Answer(msgspec.structs.replace(reply, **macs), orders))

    def _inventory_seconds(self, node_id: int) -> int:
        """How often the node is to list its chunks, as things are now."""
        usual = int(self._cluster.settings.current.inventory_seconds)
        node = self._cluster.registry.nodes.get(node_id)
        return min(usual, LIST_AGAIN_SECONDS) if node is not None and node.listed is None else usual


def node_update(node: KnownNode) -> NodeUpdate:
    """What a node's row should say now."""
    return NodeUpdate(
        node.id, node.state, node.volume_state, node.capacity_bytes, node.used_bytes, node.last_seen_at_ms
    )


def _ignore(_result: object) -> None:
    """The row will be written again."""


def known_node(row: NodeRow, clock: Clock, *, free_bytes: int = 0) -> KnownNode:
    """A node as its row tells; what it says of free space is not on record."""
    return KnownNode(
        id=row.id,
        name=row.name,
        address=row.address,
        public_address=row.public_address,
        zone=row.zone,
        state=row.state,
        registration=row.registration,
        capacity_bytes=row.capacity_bytes,
        used_bytes=row.used_bytes,
        free_bytes=free_bytes,
        filesystem_id=row.filesystem_id,
        volume_state=m.VolumeState(row.volume_state),
        draining=row.intent == NodeIntent.DRAINING,
        maintenance_until=maintenance_until(row, clock),
        last_seen_at_ms=row.last_seen_at,
        registered_at_ms=row.registered_at,
    )


def maintenance_until(row: NodeRow, clock: Clock) -> float:
    """When a node's maintenance ends, in monotonic time; 0 where it is in none."""
    left_ms = row.intent_until - clock.wall_ms()
    if row.intent != NodeIntent.MAINTENANCE or left_ms <= 0:
        return 0.0
    return clock.monotonic() + left_ms / 1000
