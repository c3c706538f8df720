"""Reads for comparing a node's inventory with what is on record."""

from collections.abc import Iterable

from sqlalchemy import bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import Chunk, Replica
from dfs_master.catalog.reader_chunks import _BATCHES, _look_up
from dfs_master.catalog.rows import ChunkRow, ReplicaRow
from dfs_master.catalog.statements import Statement
from dfs_master.inventories import CopyOnRecord, KnownCopies

# By the index of digests: a page is a range of them. Chunks of other nodes in the range are looked at as well, one
# step in the primary key of `replicas` each; that is what lets a page be compared without sorting all of a node's.
COPIES_ON_NODE = Statement(
    select(Chunk.digest, Chunk.size, Replica.generation, Replica.state, Replica.stored_at, Replica.verified_at)
    .join(Replica, (Replica.chunk_id == Chunk.id) & (Replica.node_id == bindparam("node_id")))
    .where(Chunk.digest.between(bindparam("first"), bindparam("last")))
)
KNOWN_COPIES = {
    size: Statement(
        select(
            *(getattr(Chunk, field) for field in ChunkRow._fields),
            *(getattr(Replica, field) for field in ReplicaRow._fields),
        )
        .outerjoin(Replica, Replica.chunk_id == Chunk.id)
        .where(Chunk.digest.in_([bindparam(f"k{number}") for number in range(size)]))
    )
    for size in _BATCHES
}


def copies_on_node(cursor: DBAPICursor, node_id: int, first: bytes, last: bytes) -> list[CopyOnRecord]:
    """The replica rows of a node for digests from `first` to `last`, in whatever state."""
    return [CopyOnRecord._make(row) for row in COPIES_ON_NODE.all(cursor, node_id=node_id, first=first, last=last)]


def known_copies(cursor: DBAPICursor, digests: Iterable[bytes]) -> dict[bytes, KnownCopies]:
    """Those of the digests that are on record, with all their replicas."""
    found: dict[bytes, tuple[ChunkRow, list[ReplicaRow]]] = {}
    width = len(ChunkRow._fields)
    for row in _look_up(cursor, KNOWN_COPIES, list(dict.fromkeys(digests))):
        chunk = ChunkRow._make(row[:width])
        replicas = found.setdefault(chunk.digest, (chunk, []))[1]
        if row[width] is not None:
            replicas.append(ReplicaRow._make(row[width:]))
    return {digest: KnownCopies(chunk, replicas) for digest, (chunk, replicas) in found.items()}
