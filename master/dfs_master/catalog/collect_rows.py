"""What the collector looks for, in bounded pieces, each by an index."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import BindParameter, Select, and_, bindparam, func, select, text
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import LOST_STATES, Chunk, ChunkState, Extent, Replica, ReplicaState, Version
from dfs_master.catalog.rows import ChunkRow, ExtentRow, VersionRow
from dfs_master.catalog.statements import Row, Statement, columns

_LIMIT: BindParameter[int] = bindparam("limit")

REMOVED = Statement(
    columns(Version, VersionRow)
    .where(Version.removed_at.is_not(None), Version.removed_at <= bindparam("before"))
    .order_by(Version.removed_at)
    .limit(_LIMIT)
)
#: From the end, so that ordinals never have a gap.
LAST_EXTENTS = Statement(
    columns(Extent, ExtentRow)
    .where(Extent.version_id == bindparam("version_id"))
    .order_by(Extent.ordinal.desc())
    .limit(_LIMIT)
)
EXTENTS_OF = Statement(
    select(Extent.version_id, Extent.ordinal).where(Extent.chunk_id == bindparam("chunk_id")).limit(_LIMIT)
)
REFERRERS = Statement(
    select(Version.id, Version.entry_id, Version.removed_at)
    .distinct()
    .select_from(Extent)
    .join(Version, Version.id == Extent.version_id)
    .where(Extent.chunk_id == bindparam("chunk_id"))
    .limit(_LIMIT)
)
UNREFERENCED = Statement(
    columns(Chunk, ChunkRow)
    .where(
        Chunk.unreferenced_since.is_not(None),
        Chunk.unreferenced_since <= bindparam("before"),
        Chunk.state == ChunkState.STORED,
    )
    .order_by(Chunk.unreferenced_since)
    .limit(_LIMIT)
)
_ON_NODE = and_(Replica.node_id == bindparam("node_id"), Replica.chunk_id == Chunk.id)
TO_DELETE = Statement(
    select(Chunk.digest, Replica.generation, Chunk.size)
    .where(_ON_NODE, Replica.state == ReplicaState.DELETING)
    .order_by(Replica.chunk_id)
    .limit(_LIMIT)
)
DELETED = Statement(
    select(Chunk.digest)
    .where(_ON_NODE, Replica.state == ReplicaState.DELETED, Replica.verified_at < bindparam("before"))
    .limit(_LIMIT)
)

_SURPLUS_IDS = (
    select(Chunk.id)
    .where(
        # As the index says it.
        Chunk.copies_good > Chunk.copies_wanted,
        text("copies_wanted > 0"),
        Chunk.state == ChunkState.STORED,
        Chunk.id > bindparam("after"),
    )
    .order_by(Chunk.id)
    .limit(_LIMIT)
)
_LOST_IDS = (
    select(Replica.chunk_id)
    .where(
        Replica.node_id == bindparam("node_id"),
        Replica.state.in_(LOST_STATES),
        Replica.chunk_id > bindparam("after"),
    )
    .order_by(Replica.chunk_id)
    .limit(_LIMIT)
)


def _with_good(ids: Select[int]) -> Statement:
    """Chunks with their good replicas, a row each; without any there is one row without a node."""
    return Statement(
        select(Chunk.id, Chunk.digest, Chunk.size, Chunk.copies_wanted, Replica.node_id, Replica.verified_at)
        .outerjoin(Replica, and_(Replica.chunk_id == Chunk.id, Replica.state == ReplicaState.GOOD))
        .where(Chunk.id.in_(ids))
        .order_by(Chunk.id)
    )


EXTENT_ROWS = Statement(columns(Extent, ExtentRow).where(Extent.chunk_id == bindparam("chunk_id")).limit(_LIMIT))
CHUNK_IDS = Statement(select(Chunk.id).where(Chunk.id > bindparam("after")).order_by(Chunk.id).limit(_LIMIT))
SPARSE = Statement(
    select(
        Chunk.id,
        Chunk.digest,
        Chunk.size,
        Chunk.copies_wanted,
        func.sum(Extent.length).label("live_bytes"),
        func.count(),
    )
    .join(Extent, Extent.chunk_id == Chunk.id)
    .where(Chunk.id > bindparam("after"), Chunk.id <= bindparam("last"), Chunk.state == ChunkState.STORED)
    .group_by(Chunk.id)
    .having(func.sum(Extent.length) * 100 < Chunk.size * bindparam("percent"))
    .order_by(Chunk.id)
)
GOOD_ON = Statement(
    select(Replica.node_id).where(Replica.chunk_id == bindparam("chunk_id"), Replica.state == ReplicaState.GOOD)
)
SURPLUS = _with_good(_SURPLUS_IDS)
LOST = _with_good(_LOST_IDS)


class TrimCandidate(NamedTuple):
    """A chunk, how many copies it wants, and the nodes with a replica that is good on record, with when each was
    verified.
    """

    id: int
    digest: bytes
    size: int
    copies_wanted: int
    good: Mapping[int, int]


class SparsePack(NamedTuple):
    """A chunk of which extents refer to `live_bytes`, and the nodes with a replica that is good on record."""

    id: int
    digest: bytes
    size: int
    copies_wanted: int
    live_bytes: int
    extents: int
    good: frozenset[int]


class ToDelete(NamedTuple):
    """A file that a node is to remove, if it was written at `generation` or before."""

    digest: bytes
    generation: int
    size: int


def removed_versions(cursor: DBAPICursor, before_ms: int, limit: int) -> list[VersionRow]:
    """Versions that were replaced or removed before a time, those first whose removal has begun."""
    return [VersionRow._make(row) for row in REMOVED.all(cursor, before=before_ms, limit=limit)]


def last_extents(cursor: DBAPICursor, version_id: int, limit: int) -> list[ExtentRow]:
    """The last extents of a version."""
    return [ExtentRow._make(row) for row in LAST_EXTENTS.all(cursor, version_id=version_id, limit=limit)]


def extents_of(cursor: DBAPICursor, chunk_id: int, limit: int) -> list[tuple[int, int]]:
    """Version and ordinal of some extents that refer to a chunk."""
    return [(version_id, ordinal) for version_id, ordinal in EXTENTS_OF.all(cursor, chunk_id=chunk_id, limit=limit)]


def referrers(cursor: DBAPICursor, chunk_id: int, limit: int) -> list[tuple[int, int, int | None]]:
    """Id, entry and end of some versions that refer to a chunk."""
    found = REFERRERS.all(cursor, chunk_id=chunk_id, limit=limit)
    return [(version_id, entry_id, removed_at) for version_id, entry_id, removed_at in found]


def unreferenced(cursor: DBAPICursor, before_ms: int, limit: int) -> list[ChunkRow]:
    """Chunks that nothing has referred to since before a time."""
    return [ChunkRow._make(row) for row in UNREFERENCED.all(cursor, before=before_ms, limit=limit)]


def to_delete(cursor: DBAPICursor, node_id: int, limit: int) -> list[ToDelete]:
    """Some files that a node is to delete, by chunk: the same ones until they are confirmed."""
    return [ToDelete._make(row) for row in TO_DELETE.all(cursor, node_id=node_id, limit=limit)]


def surplus(cursor: DBAPICursor, after: int, limit: int) -> list[TrimCandidate]:
    """The next chunks by id behind `after` with more good replicas than they want."""
    return list(_grouped(SURPLUS.all(cursor, after=after, limit=limit)))


def lost(cursor: DBAPICursor, node_id: int, after: int, limit: int) -> list[TrimCandidate]:
    """The next chunks by id behind `after` of which the node's replica is bad or missing."""
    return list(_grouped(LOST.all(cursor, node_id=node_id, after=after, limit=limit)))


def _grouped(rows: list[Row]) -> Iterator[TrimCandidate]:
    for (chunk_id, digest, size, wanted), group in groupby(rows, itemgetter(slice(4))):
        yield TrimCandidate(chunk_id, digest, size, wanted, {row[4]: row[5] for row in group if row[4] is not None})


def extent_rows(cursor: DBAPICursor, chunk_id: int, limit: int) -> list[ExtentRow]:
    """Some extents that refer to a chunk."""
    return [ExtentRow._make(row) for row in EXTENT_ROWS.all(cursor, chunk_id=chunk_id, limit=limit)]


def sparse_packs(cursor: DBAPICursor, after: int, limit: int, percent: float) -> tuple[list[SparsePack], int]:
    """Of the next chunks by id behind `after` those of which less than so much is referred to, and where to go on
    (0: at the beginning).
    """
    ids = [chunk_id for (chunk_id,) in CHUNK_IDS.all(cursor, after=after, limit=limit)]
    if not ids:
        return [], 0
    rows = SPARSE.all(cursor, after=after, last=ids[-1], percent=percent)
    found = []
    for chunk_id, digest, size, wanted, live_bytes, extents in rows:
        good = frozenset(node_id for (node_id,) in GOOD_ON.all(cursor, chunk_id=chunk_id))
        found.append(SparsePack(chunk_id, digest, size, wanted, live_bytes, extents, good))
    return found, ids[-1] if len(ids) == limit else 0


def deleted_before(cursor: DBAPICursor, node_id: int, before_ms: int, limit: int) -> list[bytes]:
    """Digests of copies whose deletion the node confirmed before a time."""
    return [digest for (digest,) in DELETED.all(cursor, node_id=node_id, before=before_ms, limit=limit)]
