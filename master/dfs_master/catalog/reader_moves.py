"""Reads for letting a node go: what needs it."""

from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, select, true
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
    nobody could read; some of the files that these are in, else of those that would have too few copies. `damaged`: of
    how many chunks it holds all that is left, and that is damaged.
    """

    chunks: int
    bytes: int
    only_here: int
    files: list[str]
    damaged: int = 0


class _Statements(NamedTuple):
    left: Statement
    only_here: Statement
    short: Statement


def _elsewhere(states: tuple[NodeState, ...], unsure: tuple[int, ...]) -> ColumnElement[int]:
    """Verified copies of a chunk on other nodes in these states, without those of nodes that may have lost them."""
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
            # Written out: they may be more than a statement takes parameters.
            other.node_id.not_in(bindparam(None, unsure, expanding=True, literal_execute=True)) if unsure else true(),
        )
        .correlate(Chunk, Replica)
        .scalar_subquery()
    )


# A damaged copy may be all that is left of a chunk.
_ON_NODE = (
    Replica.node_id == bindparam("node_id"),
    Replica.state.in_((ReplicaState.GOOD, ReplicaState.BAD)),
    Replica.chunk_id == Chunk.id,
)


@lru_cache(maxsize=4)
def statements(unsure: tuple[int, ...] = ()) -> _Statements:
    """What is asked when these nodes may have lost what is on record; mostly there are none."""
    is_short = _elsewhere(_STAYING, unsure) < Chunk.copies_wanted
    is_only_here = (Chunk.copies_wanted > 0) & (_elsewhere(_READABLE, unsure) == 0)
    return _Statements(
        Statement(
            select(
                func.count().filter(is_short),
                func.coalesce(func.sum(Chunk.size).filter(is_short), 0),
                func.count().filter(is_only_here),
                func.count().filter(is_only_here & (Replica.state == ReplicaState.BAD)),
            ).where(*_ON_NODE)
        ),
        Statement(select(Chunk.id).where(*_ON_NODE, is_only_here).limit(FILES_MAX)),
        Statement(select(Chunk.id).where(*_ON_NODE, is_short).limit(FILES_MAX)),
    )


def moves_left(cursor: DBAPICursor, node_id: int, unsure: tuple[int, ...] = ()) -> MovesLeft:
    """What needs the node. Reads all chunks of the node. The copies of `unsure` nodes are not counted."""
    asked = statements(unsure)
    ((chunks, size, only_here, damaged),) = asked.left.all(cursor, node_id=node_id)
    named = asked.only_here if only_here else asked.short
    found = [chunk_id for (chunk_id,) in named.all(cursor, node_id=node_id)] if chunks else []
    files = {path for chunk_id in found for path in files_of_chunk(cursor, chunk_id, FILES_MAX)}
    return MovesLeft(chunks, size, only_here, sorted(files)[:FILES_MAX], damaged)
