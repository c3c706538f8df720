"""Which copies of a chunk count, and what a receipt or a finding makes of one. Decides; writes nothing."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dfs_master.catalog.models import ChunkState, ReplicaState
from dfs_master.catalog.mutations.base import Context, NodeStanding, require_int64
from dfs_master.catalog.rows import ChunkRow, ReplicaRow, new_chunk, new_replica
from dfs_master.catalog.staged_content import Replicas
from dfs_wire.errors import UsageError
from dfs_wire.messages import Receipt

# Plain text: the driver takes a detour for what is only almost a str, and look-ups in an enum cost in a hot path.
_GOOD = ReplicaState.GOOD.value
_DELETING = ReplicaState.DELETING.value
_STORED = ChunkState.STORED.value
_DELETED = ReplicaState.DELETED.value


class Evidence:
    """The receipts of one request by digest, those of nodes that are not believed left out. Used by one thread.

    It remembers what they made of a chunk: hundreds of files of one request may lie in the same pack.

    Raises:
        UsageError: a number of a receipt is out of range.
    """

    __slots__ = ("_receipts", "_settled")

    def __init__(self, context: Context, receipts: Sequence[Receipt]) -> None:
        self._receipts: dict[bytes, list[Receipt]] = {}
        #: Digest -> the row that was staged with these receipts, and how many copies counted.
        self._settled: dict[bytes, tuple[ChunkRow, int]] = {}
        for receipt in receipts:
            require_int64("generation", receipt.generation)
            require_int64("stored_at_ms", receipt.stored_at_ms)
            node = context.nodes.get(receipt.node_id)
            if node is not None and node.receipts_count:
                self._receipts.setdefault(receipt.digest, []).append(receipt)

    def of(self, digest: bytes) -> Sequence[Receipt]:
        """Receipts for a chunk."""
        return self._receipts.get(digest, ())

    def settle(self, context: Context, chunk: "JudgedChunk") -> None:
        """The chunk was staged as it was judged."""
        row = context.content.chunk(chunk.row.digest)
        if row is not None:
            self._settled[row.digest] = row, chunk.copies

    def settled(self, context: Context, digest: bytes, size: int, copies_wanted: int) -> ChunkRow | None:
        """The chunk as an earlier file of this request left it, where this one changes nothing about it.

        It must be that very row: where the earlier file was undone, the chunk is judged anew.
        """
        found = self._settled.get(digest)
        if found is None or found[0] is not context.content.chunk(digest):
            return None
        row, copies = found
        return row if row.size == size and copies_wanted <= min(copies, row.copies_wanted) else None


class JudgedChunk(NamedTuple):
    """A chunk as it would stand after the commit. `copies` are the distinct nodes that count now."""

    row: ChunkRow
    replicas: Replicas
    copies: int


def judge_chunk(context: Context, digest: bytes, size: int, evidence: Evidence, copies_wanted: int) -> JudgedChunk:
    """Count the copies of a chunk: good replicas on nodes whose copies count and that answer for them since they took
    up service, and receipts, each node once.

    Of a chunk that is being deleted only receipts of a newer generation than the deletion's count; with enough of
    them it is stored again.

    Raises:
        UsageError: the chunk, or a receipt for it, has another size.
    """
    known = context.content.chunk(digest)
    if known is None:
        row = new_chunk((context.staging.new_id(), digest, size, copies_wanted, 0, None, _STORED))
        before: Replicas = {}
    else:
        _require_size(digest, known.size, size)
        row = known
        if known.copies_wanted < copies_wanted or known.unreferenced_since is not None or known.state != _STORED:
            wanted = max(known.copies_wanted, copies_wanted)
            row = known._replace(copies_wanted=wanted, unreferenced_since=None, state=_STORED)
        before = context.content.replicas(known.id)
    receipts = evidence.of(digest)
    for receipt in receipts:
        _require_size(digest, receipt.size, size)
    replicas, holders = with_receipts(context.nodes, digest, row.id, before, receipts)
    return JudgedChunk(row, replicas, len(holders))


def with_receipts(
    nodes: Mapping[int, NodeStanding], digest: bytes, chunk_id: int, before: Replicas, receipts: Sequence[Receipt]
) -> tuple[Replicas, set[int]]:
    """A chunk's copies as they stand with these receipts of believed nodes, and the nodes whose copies count.

    A plan asks the same as its commit: were a receipt that something outweighs a copy to the plan, its chunk would not
    be sent again, and each commit be refused until the receipt expires.
    """
    replicas = dict(before)
    holders = {node_id for node_id, replica in before.items() if _counts(nodes.get(node_id), digest, replica)}
    for receipt in receipts:
        replica = after_receipt(replicas.get(receipt.node_id), receipt, chunk_id)
        if replica is not None:
            replicas[receipt.node_id] = replica
            holders.add(receipt.node_id)
    return replicas, holders


def _counts(node: NodeStanding | None, digest: bytes, replica: ReplicaRow) -> bool:
    """Whether a copy on record is one to acknowledge a file with: the process that runs at its node answers for it."""
    if node is None or replica.state != _GOOD:
        return False
    return node.copies_count and node.vouches(digest, replica.verified_at)


def after_receipt(replica: ReplicaRow | None, receipt: Receipt, chunk_id: int) -> ReplicaRow | None:
    """The replica as the receipt leaves it; None where something that is known of the copy outweighs the receipt.

    A recorded deletion takes every file of its generation or less; a bad finding holds against all that was stored
    before it.
    """
    stored_at, generation = receipt.stored_at_ms, receipt.generation
    good = new_replica((chunk_id, receipt.node_id, generation, _GOOD, stored_at, stored_at))
    if replica is None:
        return good
    if replica.state == _GOOD:
        return replica._replace(
            generation=max(replica.generation, generation),
            stored_at=max(replica.stored_at, stored_at),
            verified_at=max(replica.verified_at, stored_at),
        )
    if generation > replica.generation:
        return good
    if replica.state in (_DELETING, _DELETED) or stored_at <= replica.verified_at:
        return None
    return good._replace(generation=replica.generation)


def _require_size(digest: bytes, size: int, claimed: int) -> None:
    if size != claimed:
        raise UsageError(f"the chunk {digest.hex()} has {size} bytes, not {claimed}")
