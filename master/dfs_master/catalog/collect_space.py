"""Sums for `dfs df`: what the bytes on each node are there for. Reads every replica once, so it is a worker's work."""

from typing import NamedTuple

from sqlalchemy import CTE, and_, case, exists, func, or_, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import aliased

from dfs_master.catalog import collect_rows
from dfs_master.catalog.collect_rows import TrimCandidate
from dfs_master.catalog.models import BEING_REMOVED, Chunk, ChunkState, Extent, Replica, ReplicaState, Version
from dfs_master.catalog.statements import Statement

_PAGE = 1_000


class NodeBytes(NamedTuple):
    """Bytes of chunks on one node. `held` are good copies of what a current version refers to; `waiting` is on its
    way out, or would be but for its grace; `bad` are copies that are not right.
    """

    node_id: int
    held: int
    waiting: int
    bad: int


class Pending(NamedTuple):
    """When the oldest of each kind began to wait, in milliseconds since 1970; None where nothing of it waits."""

    version_removed_at: int | None
    unreferenced_since: int | None
    deleting: bool


def _in_grace() -> CTE:
    """Chunks that only versions refer to which were replaced or removed."""
    current = aliased(Version)
    other = aliased(Extent)
    still_used = exists().where(
        other.chunk_id == Extent.chunk_id, current.id == other.version_id, current.removed_at.is_(None)
    )
    return (
        select(Extent.chunk_id)
        .distinct()
        .where(Extent.version_id.in_(select(Version.id).where(Version.removed_at >= BEING_REMOVED)), ~still_used)
        .cte("in_grace")
    )


_GRACE = _in_grace()
_IS_GOOD = Replica.state == ReplicaState.GOOD
_IS_WAITING = or_(
    Replica.state == ReplicaState.DELETING,
    and_(_IS_GOOD, or_(Chunk.copies_wanted == 0, _GRACE.c.chunk_id.is_not(None))),
)
BYTES = Statement(
    select(
        Replica.node_id,
        func.coalesce(func.sum(case((and_(_IS_GOOD, ~_IS_WAITING), Chunk.size), else_=0)), 0),
        func.coalesce(func.sum(case((_IS_WAITING, Chunk.size), else_=0)), 0),
        func.coalesce(func.sum(case((Replica.state == ReplicaState.BAD, Chunk.size), else_=0)), 0),
    )
    .select_from(Replica)
    .join(Chunk, Chunk.id == Replica.chunk_id)
    .outerjoin(_GRACE, _GRACE.c.chunk_id == Chunk.id)
    .group_by(Replica.node_id)
)
FIRST_REMOVED = Statement(
    select(func.min(Version.removed_at)).where(Version.removed_at.is_not(None), Version.removed_at > BEING_REMOVED)
)
FIRST_UNREFERENCED = Statement(
    select(func.min(Chunk.unreferenced_since)).where(
        Chunk.unreferenced_since.is_not(None), Chunk.state == ChunkState.STORED
    )
)
ANY_DELETING = Statement(select(exists().where(Replica.state == ReplicaState.DELETING)))


class SpaceSummary(NamedTuple):
    """All of it, of one moment. `surplus` are chunks with copies too many."""

    nodes: list[NodeBytes]
    surplus: list[TrimCandidate]
    pending: Pending


def summary(cursor: DBAPICursor) -> SpaceSummary:
    """All of the caller's snapshot."""
    surplus: list[TrimCandidate] = []
    page = collect_rows.surplus(cursor, 0, _PAGE)
    while page:
        surplus += page
        page = collect_rows.surplus(cursor, page[-1].id, _PAGE)
    return SpaceSummary(bytes_by_node(cursor), surplus, pending(cursor))


def bytes_by_node(cursor: DBAPICursor) -> list[NodeBytes]:
    """The sums, for nodes with any replica on record."""
    return [NodeBytes._make(row) for row in BYTES.all(cursor)]


def pending(cursor: DBAPICursor) -> Pending:
    """What waits for its time."""
    ((removed_at,),) = FIRST_REMOVED.all(cursor)
    ((unreferenced_since,),) = FIRST_UNREFERENCED.all(cursor)
    ((deleting,),) = ANY_DELETING.all(cursor)
    return Pending(removed_at, unreferenced_since, bool(deleting))
