"""Reads for repair and rebalance: which chunks have a copy on a node, which have too few, and where the copies are.

All of them go along an index from a cursor, so that a page costs by its own length, not by what is stored.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, select, tuple_
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import Chunk, ChunkState, Replica, ReplicaState
from dfs_master.catalog.statements import Row, Statement

_BATCHES = (256, 16, 1)
_CHUNK = (Chunk.id, Chunk.digest, Chunk.size, Chunk.copies_wanted, Chunk.copies_good)
_OF_CHUNK = itemgetter(slice(len(_CHUNK)))


class ChunkCopies(NamedTuple):
    """A chunk that something refers to, and (node id, state) of each replica on record."""

    id: int
    digest: bytes
    size: int
    copies_wanted: int
    copies_good: int
    copies: tuple[tuple[int, str], ...]

    @property
    def good(self) -> frozenset[int]:
        """The nodes whose copy was verified last."""
        return frozenset(node for node, state in self.copies if state == ReplicaState.GOOD)


class ShortCursor(NamedTuple):
    """Where a walk over the chunks with too few copies goes on."""

    copies_good: int = -1
    copies_wanted: int = 0
    id: int = 0


_IS_STORED = (Chunk.state == ChunkState.STORED, Chunk.copies_wanted > 0)


def _with_copies(chosen: Select[*tuple[Any, ...]]) -> Statement:
    """Every replica of the chunks whose ids are chosen, the rows of a chunk together."""
    ids = chosen.subquery()
    return Statement(
        select(*_CHUNK, Replica.node_id, Replica.state)
        .select_from(ids)
        .join(Chunk, Chunk.id == ids.c[0])
        .outerjoin(Replica, Replica.chunk_id == Chunk.id)
        .where(*_IS_STORED)
        .order_by(Chunk.id)
    )


ON_NODE = Statement(
    select(Replica.chunk_id)
    .where(
        Replica.node_id == bindparam("node_id"),
        Replica.state == ReplicaState.GOOD,
        Replica.chunk_id > bindparam("after"),
    )
    .order_by(Replica.chunk_id)
    .limit(bindparam("limit"))
)
_SHORT_KEY = (Chunk.copies_good, Chunk.copies_wanted, Chunk.id)
SHORT = Statement(
    select(*_SHORT_KEY)
    .where(
        Chunk.copies_good < Chunk.copies_wanted,
        tuple_(*_SHORT_KEY) > tuple_(bindparam("good"), bindparam("wanted"), bindparam("after")),
    )
    .order_by(*_SHORT_KEY)
    .limit(bindparam("limit"))
)
BY_ID = {
    size: _with_copies(select(Chunk.id).where(Chunk.id.in_([bindparam(f"k{number}") for number in range(size)])))
    for size in _BATCHES
}


def chunks_on_node(cursor: DBAPICursor, node_id: int, after: int, limit: int) -> list[int]:
    """The ids of the next chunks behind `after` with a good copy on the node."""
    return [chunk_id for (chunk_id,) in ON_NODE.all(cursor, node_id=node_id, after=after, limit=limit)]


def short_chunks(cursor: DBAPICursor, after: ShortCursor, limit: int) -> list[ShortCursor]:
    """The next chunks with fewer good copies than wanted, those with the fewest first."""
    rows = SHORT.all(cursor, good=after.copies_good, wanted=after.copies_wanted, after=after.id, limit=limit)
    return [ShortCursor._make(row) for row in rows]


def copies_of(cursor: DBAPICursor, chunk_ids: Sequence[int]) -> list[ChunkCopies]:
    """Those of the chunks that something refers to, with all their replicas."""
    found: list[ChunkCopies] = []
    position = 0
    while position < len(chunk_ids):
        left = len(chunk_ids) - position
        size = next(size for size in _BATCHES if size <= left)
        batch = chunk_ids[position : position + size]
        rows = BY_ID[size].all(cursor, **{f"k{number}": key for number, key in enumerate(batch)})
        found += _group(rows)
        position += size
    return found


def _group(rows: Sequence[Row]) -> list[ChunkCopies]:
    return [
        ChunkCopies._make((*chunk, tuple((node, state) for *_, node, state in group if node is not None)))
        for chunk, group in groupby(rows, _OF_CHUNK)
    ]
