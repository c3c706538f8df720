"""Reads of content: versions, extents, chunks and where their replicas are."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import BEING_REMOVED, Chunk, Extent, Replica, ReplicaState, Version
from dfs_master.catalog.rows import ReplicaRow, VersionRow, new_version
from dfs_master.catalog.statements import Row, Statement, columns
from dfs_wire.errors import VersionGoneError

#: Look-ups of many keys go in statements of these sizes, largest first; the last key is repeated to fill one up.
_BATCHES = (256, 16, 1)
_LAST_ORDINAL = 2**31 - 1

VERSION = Statement(columns(Version, VersionRow).where(Version.id == bindparam("id")))
LENGTHS = Statement(select(Extent.length).where(Extent.version_id == bindparam("id")).order_by(Extent.ordinal))


def _extents() -> Select[*tuple[Any, ...]]:
    return (
        select(Extent.ordinal, Chunk.digest, Chunk.size, Extent.offset, Extent.length, Replica.node_id, Replica.state)
        .join(Chunk, Chunk.id == Extent.chunk_id)
        .where(Extent.version_id == bindparam("id"), Extent.ordinal.between(bindparam("first"), bindparam("last")))
        .order_by(Extent.ordinal, Replica.node_id)
    )


EXTENTS = Statement(_extents().outerjoin(Replica, Replica.chunk_id == Chunk.id))
EXTENTS_GOOD = Statement(
    _extents().outerjoin(Replica, (Replica.chunk_id == Chunk.id) & (Replica.state == ReplicaState.GOOD))
)
#: A version and, where it has no more bytes than asked for, all of its extents; else one row without any. Ends after
#: `most` rows, one for each replica; -1 never.
OPENED = Statement(
    select(
        *(getattr(Version, field) for field in VersionRow._fields),
        *(Extent.ordinal, Chunk.digest, Chunk.size, Extent.offset, Extent.length, Replica.node_id, Replica.state),
    )
    .outerjoin(Extent, (Extent.version_id == Version.id) & (Version.size <= bindparam("size")))
    .outerjoin(Chunk, Chunk.id == Extent.chunk_id)
    .outerjoin(Replica, (Replica.chunk_id == Chunk.id) & (Replica.state == ReplicaState.GOOD))
    .where(Version.id == bindparam("id"))
    .order_by(Extent.ordinal, Replica.node_id)
    .limit(bindparam("most"))
)
HAS_ORDINAL = Statement(
    select(Extent.ordinal).where(Extent.version_id == bindparam("id"), Extent.ordinal == bindparam("ordinal"))
)
_VERSION_FIELDS = len(VersionRow._fields)
CHUNKS = {
    size: Statement(
        select(Chunk.digest, Chunk.id, Chunk.size, Chunk.state, *(getattr(Replica, f) for f in ReplicaRow._fields))
        .outerjoin(Replica, Replica.chunk_id == Chunk.id)
        .where(Chunk.digest.in_([bindparam(f"k{number}") for number in range(size)]))
    )
    for size in _BATCHES
}
HOLDERS = {
    size: Statement(
        select(Extent.version_id, Replica.node_id)
        .distinct()
        .join(Replica, Replica.chunk_id == Extent.chunk_id)
        .where(
            Extent.version_id.in_([bindparam(f"k{number}") for number in range(size)]),
            Replica.state == ReplicaState.GOOD,
        )
    )
    for size in _BATCHES
}


class ExtentReplicas(NamedTuple):
    """One extent, its place in the file, and (node id, state) of its chunk's replicas."""

    ordinal: int
    start: int
    digest: bytes
    chunk_size: int
    offset: int
    length: int
    replicas: tuple[tuple[int, str], ...]

    @property
    def node_ids(self) -> tuple[int, ...]:
        """The nodes of the replicas."""
        return tuple(node for node, _ in self.replicas)


class OpenVersion(NamedTuple):
    """A version and those of its extents that were asked for, with their good replicas only."""

    version: VersionRow
    extents: list[ExtentReplicas]


class KnownChunk(NamedTuple):
    """A chunk of the catalog and its replicas in any state."""

    id: int
    size: int
    state: str
    replicas: list[ReplicaRow]


def readable_version(cursor: DBAPICursor, version_id: int) -> VersionRow:
    """A version that is current, or within its grace: the collector ends that, and nobody else.

    Raises:
        VersionGoneError: it was superseded or removed too long ago, or never was.
    """
    row = VERSION.one(cursor, id=version_id)
    return _readable(version_id, None if row is None else new_version(row))


def _readable(version_id: int, version: VersionRow | None) -> VersionRow:
    if version is None or version.removed_at == BEING_REMOVED:
        raise VersionGoneError(f"version {version_id} was replaced or removed long ago; open the file again")
    return version


def open_whole(cursor: DBAPICursor, version_id: int, size: int, rows_max: int = -1) -> OpenVersion | None:
    """A version with all of its extents by one statement; None where it has more than `size` bytes, or where that
    takes more than `rows_max` rows.

    Raises:
        VersionGoneError: see `readable_version`.
    """
    rows = OPENED.all(cursor, id=version_id, size=size, most=rows_max + 1 if rows_max >= 0 else -1)
    version = _readable(version_id, new_version(rows[0][:_VERSION_FIELDS]) if rows else None)
    if version.size > size or 0 <= rows_max < len(rows):
        return None
    extents = [row[_VERSION_FIELDS:] for row in rows if row[_VERSION_FIELDS] is not None]
    return OpenVersion(version, list(_group(extents, 0)))


def has_more_extents(cursor: DBAPICursor, version_id: int, extents: int) -> bool:
    """Whether a version has more than so many."""
    return HAS_ORDINAL.one(cursor, id=version_id, ordinal=extents) is not None


def open_version(cursor: DBAPICursor, version: VersionRow, offset: int, length: int) -> OpenVersion:
    """The extents that overlap `length` bytes (-1: to the end) from `offset`, with their good replicas."""
    end = version.size if length < 0 else min(version.size, offset + length)
    if offset >= end:
        return OpenVersion(version, [])
    first, last, start = 0, _LAST_ORDINAL, 0
    if offset > 0 or end < version.size:
        first, last, start = _cut(cursor, version.id, offset, end)
    rows = EXTENTS_GOOD.all(cursor, id=version.id, first=first, last=last)
    return OpenVersion(version, list(_group(rows, start)))


def extents_with_replicas(cursor: DBAPICursor, version_id: int) -> list[ExtentReplicas]:
    """All extents of a version with all replicas."""
    return list(_group(EXTENTS.all(cursor, id=version_id, first=0, last=_LAST_ORDINAL), 0))


def known_chunks(cursor: DBAPICursor, digests: Iterable[bytes]) -> dict[bytes, KnownChunk]:
    """Those of the digests that are in the catalog."""
    found: dict[bytes, KnownChunk] = {}
    for digest, chunk_id, size, state, *replica in _look_up(cursor, CHUNKS, list(dict.fromkeys(digests))):
        known = found.get(digest)
        if known is None:
            known = found[digest] = KnownChunk(chunk_id, size, state, [])
        if replica[0] is not None:
            known.replicas.append(ReplicaRow._make(replica))
    return found


def holders(cursor: DBAPICursor, version_ids: Iterable[int]) -> dict[int, list[int]]:
    """For each version the nodes with a good replica of any of its chunks. Empty files are not in it."""
    found: dict[int, list[int]] = {}
    for version_id, node_id in _look_up(cursor, HOLDERS, list(dict.fromkeys(version_ids))):
        found.setdefault(version_id, []).append(node_id)
    return found


def _cut(cursor: DBAPICursor, version_id: int, offset: int, end: int) -> tuple[int, int, int]:
    """First and last ordinal that overlap a range that is not empty, and where the first one starts in the file."""
    first, last, first_start, start = 0, 0, 0, 0
    for ordinal, (length,) in enumerate(LENGTHS.all(cursor, id=version_id)):
        if start <= offset:
            first, first_start = ordinal, start
        if start >= end:
            break
        last, start = ordinal, start + length
    return first, last, first_start


def _group(rows: Sequence[Row], start: int) -> Iterator[ExtentReplicas]:
    """One item for the rows of each extent; a chunk without replicas has one row without a node."""
    for (ordinal, digest, size, offset, length), group in groupby(rows, itemgetter(slice(5))):
        replicas = tuple((node, state) for *_, node, state in group if node is not None)
        yield ExtentReplicas(ordinal, start, digest, size, offset, length, replicas)
        start += length


def _look_up(cursor: DBAPICursor, statements: dict[int, Statement], keys: Sequence[object]) -> Iterator[Row]:
    """Rows for many keys, in as few statements of fixed sizes as their number allows."""
    position = 0
    while position < len(keys):
        left = len(keys) - position
        size = next((size for size in _BATCHES if size <= left), 1)
        batch = keys[position : position + size]
        yield from statements[size].all(cursor, **{f"k{number}": key for number, key in enumerate(batch)})
        position += size
