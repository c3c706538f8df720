"""Reads for moving copies off a node."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import aliased

from dfs_master.catalog.models import Chunk, Node, NodeState, Replica, ReplicaState
from dfs_master.catalog.statements import Statement
from dfs_wire.messages import VolumeState


class CopyToMove(NamedTuple):
    """A chunk with a copy on the node, and too few copies that would stay. `holders`: every node with a replica row
    of it, by id; `good` those whose copy is verified.
    """

    chunk_id: int
    digest: bytes
    size: int
    copies_wanted: int
    staying: int
    holders: frozenset[int]
    good: frozenset[int]


class MovesLeft(NamedTuple):
    """What the node cannot go without."""

    chunks: int
    bytes: int


def _staying() -> ColumnElement[int]:
    """Verified copies of a chunk on other nodes that serve and are to stay."""
    other, other_node = aliased(Replica), aliased(Node)
    return (
        select(func.count())
        .where(
            other.chunk_id == Chunk.id,
            other.node_id != Replica.node_id,
            other.state == ReplicaState.GOOD,
            other_node.id == other.node_id,
            other_node.state == NodeState.LIVE,
            other_node.volume_state != VolumeState.FAILED,
        )
        .correlate(Chunk, Replica)
        .scalar_subquery()
    )


_ON_NODE = (Replica.node_id == bindparam("node_id"), Replica.state == ReplicaState.GOOD, Replica.chunk_id == Chunk.id)
LEFT = Statement(
    select(func.count(), func.coalesce(func.sum(Chunk.size), 0)).where(*_ON_NODE, _staying() < Chunk.copies_wanted)
)
TO_MOVE = Statement(
    select(Chunk.id, Chunk.digest, Chunk.size, Chunk.copies_wanted, _staying())
    .where(*_ON_NODE, Chunk.id > bindparam("after"), _staying() < Chunk.copies_wanted)
    .order_by(Chunk.id)
    .limit(bindparam("limit"))
)
HOLDERS = Statement(select(Replica.node_id, Replica.state).where(Replica.chunk_id == bindparam("chunk_id")))


def moves_left(cursor: DBAPICursor, node_id: int) -> MovesLeft:
    """Chunks, and their bytes, that would have too few copies without the node. Reads all chunks of the node."""
    ((chunks, size),) = LEFT.all(cursor, node_id=node_id)
    return MovesLeft(chunks, size)


def copies_to_move(cursor: DBAPICursor, node_id: int, after: int, limit: int) -> Iterator[CopyToMove]:
    """The next chunks by id behind `after` that would have too few copies without the node."""
    for chunk_id, digest, size, wanted, staying in TO_MOVE.all(cursor, node_id=node_id, after=after, limit=limit):
        replicas = HOLDERS.all(cursor, chunk_id=chunk_id)
        yield CopyToMove(
            chunk_id,
            digest,
            size,
            wanted,
            staying,
            frozenset(node for node, _ in replicas),
            frozenset(node for node, state in replicas if state == ReplicaState.GOOD),
        )
