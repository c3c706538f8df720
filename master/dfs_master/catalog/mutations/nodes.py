"""Mutations of nodes: registration, what heartbeats tell, what nodes find of their copies."""

from collections.abc import Sequence
from dataclasses import dataclass

from dfs_master.catalog.models import GOING_STATES, ChunkState, NodeIntent, NodeState, ReplicaState
from dfs_master.catalog.mutations.base import Context, Mutation, require_int64
from dfs_master.catalog.mutations.collecting import confirmed
from dfs_master.catalog.rows import ChunkRow, NodeRow, ReplicaRow
from dfs_master.fence import LOST_IDS, was_lost
from dfs_wire.errors import ConflictError, NotFoundError, UsageError
from dfs_wire.messages import Finding, FindingKind, VolumeState

_BAD_STATES = {FindingKind.CORRUPT: ReplicaState.BAD, FindingKind.MISSING: ReplicaState.MISSING}


@dataclass(frozen=True, slots=True)
class RegisterNode(Mutation[NodeRow]):
    """A node takes up service, or is refused: one volume is one identity.

    `node_id` 0 is a first join; `replaces` then is the node of its name that is away, and whose place it may take.
    `first_is_live`: the node of that id is still being heard from, under its recorded registration; `is_copy`: it was
    heard on after this one had come, so this volume is a copy. A volume that failed stays failed over registrations
    until it was verified, a draining node stays draining.
    """

    node_id: int
    registration: int
    name: str
    zone: str
    address: str
    public_address: str
    capacity_bytes: int
    used_bytes: int
    filesystem_id: str = ""
    volume_state: str = VolumeState.OK
    volume_verified: bool = False
    first_is_live: bool = False
    is_copy: bool = False
    replaces: int = 0

    def apply(self, context: Context) -> NodeRow | ConflictError:
        """The node as registered. A refusal that points at a second volume leaves an event.

        Raises:
            UsageError: a field is out of range.
            NotFoundError: no node has this id.
            ConflictError: another node has this name.
        """
        self._check()
        before = self._known(context)
        if before is None:
            return self._join(context)
        if self.is_copy:
            reason = "its volume is a copy, and the original is live; remove the copy, or join with an empty volume"
            return self._refuse(context, before, reason)
        if self.first_is_live:
            reason = "a node with its identity is live; stop that one first"
            return self._refuse(context, before, reason, passing=True)
        if self.registration <= before.registration:
            reason = f"registration {self.registration} is not newer than {before.registration}"
            return self._refuse(context, before, f"{reason}; use the volume that registered last")
        return self._accept(context, before, self._own_name(context, before))

    def _check(self) -> None:
        for what in ("registration", "capacity_bytes", "used_bytes"):
            if require_int64(what, getattr(self, what)) < 0:
                raise UsageError(f"{what} is negative: {getattr(self, what)}")
        if not self.name or not self.name.isprintable():
            raise UsageError(f"{self.name!r} is no name for a node; give it printable characters")

    def _known(self, context: Context) -> NodeRow | None:
        """The node that registers again; None for a first join."""
        if self.node_id == 0:
            return None
        row = context.staging.node(self.node_id)
        if row is None and was_lost(self.node_id, context.staging.setting(LOST_IDS) or ""):
            context.add_event("node_recovered", self.name, {"node_id": self.node_id, "address": self.address})
            return _unknown_node(self.node_id, self.name)
        if row is None:
            raise NotFoundError(f"no node has the id {self.node_id}; this volume is another cluster's")
        return row

    def _is_lost_join(self, context: Context, other: NodeRow) -> bool:
        """Whether that is the row of a first join whose answer never arrived: same address and number, and no copy.

        The node never learnt its id, so it joins again; its name would be taken for ever otherwise. It gets an id of
        its own all the same: under the old one it could be an empty volume in place of one that signed receipts.
        """
        if (other.address, other.registration) != (self.address, self.registration):
            return False
        return not context.content.node_holds_chunks(other.id)

    def _join(self, context: Context) -> NodeRow:
        other = context.staging.node_named(self.name)
        if other is not None and other.id != self.replaces and not self._is_lost_join(context, other):
            raise ConflictError(
                f"node {other.id} has the name {self.name}; give this one another name, or stop that one first",
                passing=True,
            )
        row = self._accept(context, _unknown_node(context.staging.new_id(), self.name), self.name)
        if other is not None:
            self._replace(context, other, row)
        return row

    def _replace(self, context: Context, old: NodeRow, new: NodeRow) -> None:
        """An empty volume joins under the name of a node that is away: that one's disk was replaced.

        What it held is lost until it is found otherwise: the old row keeps its copies on record, but counts as dead
        at once, and goes when nothing needs it. Should the old volume come back, its copies are welcome.
        """
        name = replaced_name(old)
        context.staging.put_node(
            old._replace(name=name, state=NodeState.DEAD, intent=NodeIntent.DRAINING, intent_until=0)
        )
        detail = {"node_id": new.id, "replaces": old.id, "now_called": name}
        context.add_event("node_replaced", self.name, detail)

    def _own_name(self, context: Context, before: NodeRow) -> str:
        """The name that it asks for; a volume that was replaced keeps the one that it was given then.

        Raises:
            ConflictError: another node has this name.
        """
        other = context.staging.node_named(self.name)
        if other is None or other.id == before.id:
            return self.name
        if before.name == replaced_name(before):
            return before.name
        raise ConflictError(f"node {other.id} has the name {self.name}; give this one another")

    def _accept(self, context: Context, before: NodeRow, name: str) -> NodeRow:
        volume_state = self.volume_state if self.volume_verified else _volume_state(before, self.volume_state)
        row = before._replace(
            name=name,
            address=self.address,
            public_address=self.public_address,
            zone=self.zone,
            capacity_bytes=self.capacity_bytes,
            used_bytes=self.used_bytes,
            state=_registered_state(before, volume_state, context.now_ms),
            volume_state=volume_state,
            filesystem_id=self.filesystem_id,
            registration=self.registration,
            last_seen_at=context.now_ms,
            registered_at=context.now_ms,
        )
        context.staging.put_node(row)
        detail = {"node_id": row.id, "address": row.address, "registration": row.registration, "state": row.state}
        context.add_event("node_registered", row.name, detail)
        return row

    def _refuse(self, context: Context, before: NodeRow, reason: str, *, passing: bool = False) -> ConflictError:
        """The refusal, with its event. `passing`: the master may yet find that the other one is gone."""
        detail = {
            "node_id": before.id,
            "address": self.address,
            "registration": self.registration,
            "recorded": before.registration,
            "reason": reason,
        }
        context.add_event("registration_refused", before.name, detail)
        return ConflictError(f"node {before.name} was refused: {reason}", passing=passing)


def replaced_name(row: NodeRow) -> str:
    """What a node is called once another volume has its name."""
    mark = f" (replaced {row.id})"
    return row.name if row.name.endswith(mark) else row.name + mark


def _unknown_node(node_id: int, name: str) -> NodeRow:
    """The row of a node that registers for the first time, before what it says of itself."""
    return NodeRow(
        id=node_id,
        name=name,
        address="",
        public_address="",
        zone="",
        capacity_bytes=0,
        used_bytes=0,
        state=NodeState.LIVE,
        volume_state=VolumeState.OK,
        filesystem_id="",
        registration=0,
        last_seen_at=0,
        registered_at=0,
    )


def _volume_state(before: NodeRow, told: str) -> str:
    """Only a full verifying pass clears a failure; what the node says of itself does not."""
    return VolumeState.FAILED if before.volume_state == VolumeState.FAILED else told


def _registered_state(before: NodeRow, volume_state: str, now_ms: int) -> NodeState:
    if volume_state == VolumeState.FAILED:
        return NodeState.FAILED
    if before.intent == NodeIntent.MAINTENANCE and before.intent_until > now_ms:
        return NodeState.MAINTENANCE
    return NodeState.DRAINING if before.intent == NodeIntent.DRAINING else NodeState.LIVE


@dataclass(frozen=True, slots=True)
class NodeUpdate:
    """What memory knows of a node by now. Bytes of its volume; `last_seen_at` in milliseconds since 1970."""

    node_id: int
    state: str
    volume_state: str
    capacity_bytes: int
    used_bytes: int
    last_seen_at: int


@dataclass(frozen=True, slots=True)
class SaveNodes(Mutation[None]):
    """Write down what heartbeats told. A change of state leaves an event; a node that is unknown is skipped."""

    updates: Sequence[NodeUpdate]

    def apply(self, context: Context) -> None:
        """Write it."""
        for update in self.updates:
            before = context.staging.node(update.node_id)
            if before is not None:
                self._save(context, before, update)

    def row_count(self) -> int:
        """A node and perhaps an event each."""
        return 2 * len(self.updates)

    def _save(self, context: Context, before: NodeRow, update: NodeUpdate) -> None:
        row = before._replace(
            state=update.state,
            volume_state=_volume_state(before, update.volume_state),
            capacity_bytes=update.capacity_bytes,
            used_bytes=update.used_bytes,
            last_seen_at=max(before.last_seen_at, update.last_seen_at),
        )
        context.staging.put_node(row)
        if (row.state, row.volume_state) != (before.state, before.volume_state):
            detail = {
                "node_id": row.id,
                "from": before.state,
                "to": row.state,
                "volume": row.volume_state,
            }
            context.add_event("node_state", row.name, detail)


@dataclass(frozen=True, slots=True)
class RecordFindings(Mutation[None]):
    """A node looked at copies of its own; its word counts.

    A finding on an older file than the recorded one, on a copy that is being deleted, or on one that nobody knows of
    changes nothing. A copy that was made by order becomes known.
    """

    node_id: int
    findings: Sequence[Finding]

    def apply(self, context: Context) -> None:
        """Write what they say of the copies; one that was good and is not any more leaves an event."""
        for finding in self.findings:
            self._record(context, finding)

    def row_count(self) -> int:
        """Chunk, replica and event each."""
        return 3 * len(self.findings)

    def _record(self, context: Context, finding: Finding) -> None:
        chunk = context.content.chunk(finding.digest)
        if chunk is None or finding.kind == FindingKind.REPACKED:
            return  # what was made is judged by whoever ordered it
        replicas = context.content.replicas(chunk.id)
        before = replicas.get(self.node_id)
        if finding.kind == FindingKind.DELETED:
            self._confirm(context, chunk, before, finding)
            return
        if finding.kind == FindingKind.STORED:
            before = self._made_copy(context, chunk, before, finding)
        if (
            before is None
            or finding.kind == FindingKind.NOT_STORED
            or before.state in GOING_STATES
            or 0 < finding.generation < before.generation
        ):
            return
        after = _after_finding(before, finding, context.now_ms)
        context.content.put_chunk(chunk, {**replicas, self.node_id: after})
        if after.state != ReplicaState.GOOD and after.state != before.state:
            self._report(context, finding)

    def _confirm(self, context: Context, chunk: ChunkRow, before: ReplicaRow | None, finding: Finding) -> None:
        """A delete was carried out."""
        after = None if before is None else confirmed(before, finding.generation, context.now_ms)
        if after is not None:
            context.content.put_chunk(chunk, {**context.content.replicas(chunk.id), self.node_id: after})

    def _made_copy(
        self, context: Context, chunk: ChunkRow, before: ReplicaRow | None, finding: Finding
    ) -> ReplicaRow | None:
        """The replica of a chunk that the node fetched, verified and made durable; none while that is being deleted,
        nor for a file that a recorded deletion takes.
        """
        if before is not None and (before.state not in GOING_STATES or finding.generation <= before.generation):
            return before
        if chunk.state != ChunkState.STORED:
            return before
        generation = require_int64("generation", finding.generation)
        return ReplicaRow(chunk.id, self.node_id, generation, ReplicaState.GOOD, context.now_ms, context.now_ms)

    def _report(self, context: Context, finding: Finding) -> None:
        node = context.staging.node(self.node_id)
        name = str(self.node_id) if node is None else node.name
        detail = {"node": name, "finding": finding.kind, "detail": finding.detail}
        context.add_event(f"copy_{finding.kind}", finding.digest.hex(), detail)


def _after_finding(before: ReplicaRow, finding: Finding, now_ms: int) -> ReplicaRow:
    if finding.kind in (FindingKind.GOOD, FindingKind.STORED):
        generation = max(before.generation, require_int64("generation", finding.generation))
        return before._replace(state=ReplicaState.GOOD, generation=generation, verified_at=now_ms)
    return before._replace(state=_BAD_STATES[finding.kind], verified_at=now_ms)
