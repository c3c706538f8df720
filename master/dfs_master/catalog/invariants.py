"""What must hold between rows, beyond what the schema itself refuses. Each is a count of the rows that break it."""

from sqlalchemy import BigInteger, Select, and_, cast, func, or_, select, union_all
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import aliased

from dfs_master.catalog.models import (
    REMOVED_ENTRY_ID,
    ROOT_ENTRY_ID,
    Chunk,
    ChunkState,
    Entry,
    Extent,
    Node,
    Replica,
    ReplicaState,
    Setting,
    Version,
)
from dfs_master.catalog.statements import Statement
from dfs_wire.messages import EntryKind

_Count = Select[int]


def _count() -> _Count:
    return select(func.count())


def _missing_roots() -> _Count:
    return select(2 - func.count()).where(
        Entry.id.in_((ROOT_ENTRY_ID, REMOVED_ENTRY_ID)), Entry.kind == EntryKind.DIRECTORY
    )


def _unreachable_entries() -> _Count:
    """Circles, and what hangs on them."""
    reached = select(Entry.id).where(Entry.parent_id.is_(None)).cte("reached", recursive=True)
    child = aliased(Entry)
    reached = reached.union_all(select(child.id).join(reached, child.parent_id == reached.c.id))
    return _count().select_from(Entry).where(Entry.id.not_in(select(reached.c.id)))


def _entries_in_files() -> _Count:
    parent = aliased(Entry)
    return (
        _count().select_from(Entry).join(parent, parent.id == Entry.parent_id).where(parent.kind != EntryKind.DIRECTORY)
    )


def _bad_names() -> _Count:
    return (
        _count()
        .select_from(Entry)
        .where(Entry.parent_id.is_not(None), or_(Entry.name.in_(("", ".", "..")), Entry.name.contains("/")))
    )


def _files_without_version() -> _Count:
    return (
        _count()
        .select_from(Entry)
        .outerjoin(
            Version,
            and_(Version.id == Entry.version_id, Version.entry_id == Entry.id, Version.removed_at.is_(None)),
        )
        .where(Entry.kind == EntryKind.FILE, Version.id.is_(None))
    )


def _current_versions_without_file() -> _Count:
    return (
        _count()
        .select_from(Version)
        .outerjoin(Entry, and_(Entry.id == Version.entry_id, Entry.version_id == Version.id))
        .where(Version.removed_at.is_(None), Entry.id.is_(None))
    )


def _versions_with_gaps() -> _Count:
    """Ordinals count from 0 without a gap, and the lengths sum up to the version's size."""
    sums = (
        select(
            Version.id,
            Version.size,
            func.count(Extent.ordinal).label("extents"),
            func.coalesce(func.max(Extent.ordinal) + 1, 0).label("ordinals"),
            func.coalesce(func.sum(Extent.length), 0).label("length"),
        )
        .outerjoin(Extent, Extent.version_id == Version.id)
        .group_by(Version.id, Version.size)
        .subquery()
    )
    return _count().select_from(sums).where(or_(sums.c.extents != sums.c.ordinals, sums.c.length != sums.c.size))


def _extents_beyond_chunks() -> _Count:
    return (
        _count()
        .select_from(Extent)
        .join(Chunk, Chunk.id == Extent.chunk_id)
        .where(Extent.offset + Extent.length > Chunk.size)
    )


def _referenced_chunks_in(state: ChunkState) -> _Count:
    return (
        select(func.count(Chunk.id.distinct()))
        .select_from(Extent)
        .join(Chunk, Chunk.id == Extent.chunk_id)
        .where(Chunk.state == state)
    )


def _miscounted_chunks() -> _Count:
    good = (
        select(func.count())
        .where(Replica.chunk_id == Chunk.id, Replica.state == ReplicaState.GOOD)
        .correlate(Chunk)
        .scalar_subquery()
    )
    return _count().select_from(Chunk).where(Chunk.copies_good != good)


def _ids_not_reserved() -> _Count:
    """Rows with an id that `settings.next_id` would give away once more."""
    next_id = select(Setting.value).where(Setting.name == "next_id").scalar_subquery()
    ids = union_all(*(select(model.id) for model in (Entry, Version, Chunk, Node))).subquery()
    reserved = cast(next_id, BigInteger)
    return _count().select_from(ids).where(next_id.is_not(None), ids.c.id >= reserved)


INVARIANTS: tuple[tuple[str, Statement], ...] = tuple(
    (claim, Statement(query))
    for claim, query in (
        ("roots of the tree are missing", _missing_roots()),
        ("entries hang on no root", _unreachable_entries()),
        ("entries lie in a file", _entries_in_files()),
        ("entries have a name that no path can hold", _bad_names()),
        ("files have no current version of their own", _files_without_version()),
        ("current versions belong to no file", _current_versions_without_file()),
        ("versions have extents that do not make up their size", _versions_with_gaps()),
        ("extents reach beyond their chunk", _extents_beyond_chunks()),
        ("chunks are being deleted though versions refer to them", _referenced_chunks_in(ChunkState.DELETING)),
        ("chunks have another number of good replicas than they say", _miscounted_chunks()),
        ("rows have ids that would be given away again", _ids_not_reserved()),
    )
)


def faults(cursor: DBAPICursor) -> list[str]:
    """A sentence for each invariant that does not hold."""
    counted = ((claim, statement.all(cursor)[0][0]) for claim, statement in INVARIANTS)
    return [f"tree and content: {count} {claim}" for claim, count in counted if count]
