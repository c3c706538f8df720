"""Reads for letting a node go: what needs it."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import aliased

from dfs_master.catalog.models import Chunk, Node, NodeState, Replica, ReplicaState
from dfs_master.catalog.reader_explain import files_of_chunk
from dfs_master.catalog.statements import Statement
from dfs_wire.messages import VolumeState

#: Files that an answer names.
FILES_MAX = 10
#: Where a copy that is verified can be read from.
_READABLE = (NodeState.LIVE, NodeState.DRAINING, NodeState.MAINTENANCE)
_STAYING = (NodeState.LIVE, NodeState.MAINTENANCE)


class MovesLeft(NamedTuple):
    """What the cluster cannot do without a node: chunks, and their bytes, that would have too few copies; chunks that
    nobody could read; some of the files that these are in, else of those that would have too few copies.
    """

    chunks: int
    bytes: int
    only_here: int
    files: list[str]


def _elsewhere(states: tuple[NodeState, ...]) -> ColumnElement[int]:
    """Verified copies of a chunk on other nodes in these states."""
    other, other_node = aliased(Replica), aliased(Node)
    return (
        select(func.count())
        .where(
            other.chunk_id == Chunk.id,
            other.node_id != Replica.node_id,
            other.state == ReplicaState.GOOD,
            other_node.id == other.node_id,
            other_node.state.in_(states),
            other_node.volume_state != VolumeState.FAILED,
        )
        .correlate(Chunk, Replica)
        .scalar_subquery()
    )


_ON_NODE = (Replica.node_id == bindparam("node_id"), Replica.state == ReplicaState.GOOD, Replica.chunk_id == Chunk.id)
_IS_SHORT = _elsewhere(_STAYING) < Chunk.copies_wanted
_IS_ONLY_HERE = (Chunk.copies_wanted > 0) & (_elsewhere(_READABLE) == 0)
LEFT = Statement(
    select(
        func.count().filter(_IS_SHORT),
        func.coalesce(func.sum(Chunk.size).filter(_IS_SHORT), 0),
        func.count().filter(_IS_ONLY_HERE),
    ).where(*_ON_NODE)
)
ONLY_HERE = Statement(select(Chunk.id).where(*_ON_NODE, _IS_ONLY_HERE).limit(FILES_MAX))
SHORT = Statement(select(Chunk.id).where(*_ON_NODE, _IS_SHORT).limit(FILES_MAX))


def moves_left(cursor: DBAPICursor, node_id: int) -> MovesLeft:
    """What needs the node. Reads all chunks of the node."""
    ((chunks, size, only_here),) = LEFT.all(cursor, node_id=node_id)
    named = ONLY_HERE if only_here else SHORT
    found = [chunk_id for (chunk_id,) in named.all(cursor, node_id=node_id)] if chunks else []
    files = {path for chunk_id in found for path in files_of_chunk(cursor, chunk_id, FILES_MAX)}
    return MovesLeft(chunks, size, only_here, sorted(files)[:FILES_MAX])
