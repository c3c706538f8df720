"""Reads for letting a node go: what needs it."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import aliased

from dfs_master.catalog.models import Chunk, Node, NodeState, Replica, ReplicaState
from dfs_master.catalog.statements import Statement
from dfs_wire.messages import VolumeState


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
            other_node.state.in_((NodeState.LIVE, NodeState.MAINTENANCE)),
            other_node.volume_state != VolumeState.FAILED,
        )
        .correlate(Chunk, Replica)
        .scalar_subquery()
    )


_ON_NODE = (Replica.node_id == bindparam("node_id"), Replica.state == ReplicaState.GOOD, Replica.chunk_id == Chunk.id)
LEFT = Statement(
    select(func.count(), func.coalesce(func.sum(Chunk.size), 0)).where(*_ON_NODE, _staying() < Chunk.copies_wanted)
)

def moves_left(cursor: DBAPICursor, node_id: int) -> MovesLeft:
    """Chunks, and their bytes, that would have too few copies without the node. Reads all chunks of the node."""
    ((chunks, size),) = LEFT.all(cursor, node_id=node_id)
    return MovesLeft(chunks, size)
