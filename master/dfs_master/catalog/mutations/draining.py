"""Mutations of what operators say of nodes: let one go, put one in maintenance, forget one."""

from dataclasses import dataclass

from dfs_master.catalog.models import GOING_STATES, ChunkState, NodeIntent, NodeState, ReplicaState
from dfs_master.catalog.mutations.base import Context, Mutation
from dfs_master.catalog.reader_explain import files_of_chunk
from dfs_master.catalog.rows import ChunkRow, NodeRow, ReplicaRow
from dfs_master.catalog.staged_content import Replicas
from dfs_wire.errors import ConflictError, NotFoundError

#: Files that a refusal names.
_FILES_NAMED = 3


@dataclass(frozen=True, slots=True)
class SetDraining(Mutation[NodeRow]):
    """Begin to drain a node, or stop it."""

    node_id: int
    draining: bool

    def apply(self, context: Context) -> NodeRow:
        """The node as it stands now; an event if that is new.

        Raises:
            NotFoundError: no node has this id.
        """
        before = _node(context, self.node_id)
        if (before.intent == NodeIntent.DRAINING) == self.draining:
            return before
        intent = NodeIntent.DRAINING if self.draining else NodeIntent.NONE
        row = _with_intent(before, intent, NodeState.DRAINING)
        context.staging.put_node(row)
        kind = "drain_started" if self.draining else "drain_cancelled"
        context.add_event(kind, row.name, {"node_id": row.id})
        return row


@dataclass(frozen=True, slots=True)
class SetMaintenance(Mutation[NodeRow]):
    """Let a node be away for a while, until `until_ms` (milliseconds since 1970), or end that with 0."""

    node_id: int
    until_ms: int

    def apply(self, context: Context) -> NodeRow:
        """The node as it stands now; an event.

        Raises:
            NotFoundError: no node has this id.
            ConflictError: it is being drained.
        """
        before = _node(context, self.node_id)
        if before.intent == NodeIntent.DRAINING:
            raise ConflictError(f"node {before.name} is being drained; say `dfs node cancel {before.name}` first")
        if not self.until_ms and before.intent == NodeIntent.NONE:
            return before
        intent = NodeIntent.MAINTENANCE if self.until_ms else NodeIntent.NONE
        row = _with_intent(before, intent, NodeState.MAINTENANCE)._replace(intent_until=self.until_ms)
        context.staging.put_node(row)
        kind = "maintenance_started" if self.until_ms else "maintenance_ended"
        context.add_event(kind, row.name, {"node_id": row.id, "until_ms": self.until_ms})
        return row


@dataclass(frozen=True, slots=True)
class ReleaseCopies(Mutation[int]):
    """Give up at most `limit` copies of a draining node that no chunk needs; the reply says how many it were.

    Its deletions stay on record: as long as it is a node, receipts of before them must not count.
    """

    node_id: int
    limit: int = 500

    def apply(self, context: Context) -> int:
        """One step.

        Raises:
            NotFoundError: no node has this id.
            ConflictError: it is not being drained, or a chunk needs its copy here.
        """
        node = _node(context, self.node_id)
        if node.intent != NodeIntent.DRAINING:
            raise ConflictError(f"node {node.name} is {node.state}; drain it first")
        digests = context.content.digests_on(self.node_id, self.limit)
        for digest in digests:
            self._release(context, node, digest)
        return len(digests)

    def row_count(self) -> int:
        """A replica and a chunk each."""
        return 2 * self.limit

    def _release(self, context: Context, node: NodeRow, digest: bytes) -> None:
        chunk = context.content.chunk(digest)
        if chunk is None:
            return
        replicas = context.content.replicas(chunk.id)
        mine = replicas.get(self.node_id)
        staying = sum(_stays(context, chunk, row, self.node_id) for row in replicas.values())
        if mine is None or mine.state in GOING_STATES:
            return
        if mine.state in (ReplicaState.GOOD, ReplicaState.BAD) and staying < chunk.copies_wanted:
            raise _needed(context, node, chunk, replicas)
        context.content.put_chunk(chunk, {each: row for each, row in replicas.items() if each != self.node_id})


def _needed(context: Context, node: NodeRow, chunk: ChunkRow, replicas: Replicas) -> ConflictError:
    """Why a copy is not given up. A damaged one may be all that is left: then no waiting helps."""
    if any(row.state == ReplicaState.GOOD for row in replicas.values()):
        return ConflictError(f"node {node.name} still holds copies that are needed; wait until it is drained")
    files = files_of_chunk(context.staging.cursor, chunk.id, _FILES_NAMED)
    of = f" of {', '.join(files)}" if files else ""
    return ConflictError(
        f"node {node.name} holds the last bytes of the chunk {chunk.digest.hex()}{of}, and they are damaged; start the "
        "nodes that have another copy, or remove the files and wait until the chunk is collected"
    )


@dataclass(frozen=True, slots=True)
class ForgetDeletions(Mutation[int]):
    """Forget at most `limit` deletions of a node that is on its way out and holds no copy any more; the reply says how
    many it were.

    Only when no receipt of the node counts any more: the last step before `RemoveNode`.
    """

    node_id: int
    limit: int = 500

    def apply(self, context: Context) -> int:
        """One step.

        Raises:
            NotFoundError: no node has this id.
            ConflictError: it is not being drained any more, or it holds a copy.
        """
        node = _node(context, self.node_id)
        if node.intent != NodeIntent.DRAINING:
            raise ConflictError(f"node {node.name} is {node.state}; drain it first")
        if context.content.digests_on(self.node_id, 1):
            raise ConflictError(f"node {node.name} got copies meanwhile; remove it again")
        digests = context.content.deletions_on(self.node_id, self.limit)
        for digest in digests:
            self._forget(context, digest)
        return len(digests)

    def row_count(self) -> int:
        """A replica and a chunk each."""
        return 2 * self.limit

    def _forget(self, context: Context, digest: bytes) -> None:
        chunk = context.content.chunk(digest)
        if chunk is None:
            return
        rest = {each: row for each, row in context.content.replicas(chunk.id).items() if each != self.node_id}
        if not rest and chunk.state == ChunkState.DELETING:
            context.content.drop_chunk(chunk)  # this was the last node whose word was waited for
        else:
            context.content.put_chunk(chunk, rest)


@dataclass(frozen=True, slots=True)
class RemoveNode(Mutation[None]):
    """Forget a node that holds nothing any more."""

    node_id: int

    def apply(self, context: Context) -> None:
        """Delete its row.

        Raises:
            NotFoundError: no node has this id.
            ConflictError: copies on it are on record.
        """
        node = _node(context, self.node_id)
        if context.content.node_holds_chunks(self.node_id):
            raise ConflictError(f"node {node.name} still holds copies that are needed; wait until it is drained")
        context.staging.drop_node(node)
        context.add_event("node_removed", node.name, {"node_id": node.id, "address": node.address})


def _node(context: Context, node_id: int) -> NodeRow:
    row = context.staging.node(node_id)
    if row is None:
        raise NotFoundError(f"no node has the id {node_id}; see `dfs node list`")
    return row


def _with_intent(before: NodeRow, intent: NodeIntent, shown: NodeState) -> NodeRow:
    """The row with what was said of the node. A node that is there shows it at once, one that is away when it is back.

    Where the intent ends, the node is suspect until its next heartbeat says that it serves.
    """
    row = before._replace(intent=intent, intent_until=0)
    if intent and before.state in (NodeState.LIVE, NodeState.DRAINING, NodeState.MAINTENANCE):
        return row._replace(state=shown)
    if not intent and before.state == shown:
        return row._replace(state=NodeState.SUSPECT)
    return row


def _stays(context: Context, chunk: ChunkRow, row: ReplicaRow, leaving: int) -> bool:
    """Whether a copy is verified, on another node that serves, answers for it since, and is not to go either."""
    standing = context.nodes.get(row.node_id)
    if row.node_id == leaving or row.state != ReplicaState.GOOD or standing is None or not standing.copies_count:
        return False
    if not standing.vouches(chunk.digest, row.verified_at):
        return False
    other = context.staging.node(row.node_id)
    return other is not None and other.intent != NodeIntent.DRAINING
