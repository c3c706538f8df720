"""Reads for bringing chunks to a changed policy: which directories were changed, and what is below them."""

from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import Chunk, Entry, Extent, PolicyChange
from dfs_master.catalog.rows import PolicyChangeRow
from dfs_master.catalog.statements import Statement

FIRST = Statement(select(PolicyChange.entry_id, PolicyChange.at).order_by(PolicyChange.at).limit(1))
ENTRY = Statement(
    select(Entry.id, Entry.name, Entry.kind, Entry.version_id, Entry.copies, Entry.parent_id).where(
        Entry.id == bindparam("id")
    )
)
CHILDREN = Statement(
    select(Entry.id, Entry.name, Entry.kind, Entry.version_id, Entry.copies)
    .where(Entry.parent_id == bindparam("parent_id"), Entry.name > bindparam("after"))
    .order_by(Entry.name)
    .limit(bindparam("limit"))
)
SLICES = Statement(
    select(Extent.ordinal, Extent.chunk_id, Chunk.copies_wanted)
    .join(Chunk, Chunk.id == Extent.chunk_id)
    .where(Extent.version_id == bindparam("version_id"), Extent.ordinal > bindparam("after"))
    .order_by(Extent.ordinal)
    .limit(bindparam("limit"))
)


class Below(NamedTuple):
    """An entry as the walk sees it; `copies` is its own policy, or None."""

    id: int
    name: str
    kind: str
    version_id: int | None
    copies: int | None


class Slice(NamedTuple):
    """An extent's place in its version, its chunk, and the copies that this asks for now."""

    ordinal: int
    chunk_id: int
    copies_wanted: int


def first_change(cursor: DBAPICursor) -> PolicyChangeRow | None:
    """The oldest change that is not followed everywhere yet."""
    row = FIRST.one(cursor)
    return None if row is None else PolicyChangeRow._make(row)


def entry_and_policy(cursor: DBAPICursor, entry_id: int, default: int) -> tuple[Below, int] | None:
    """An entry, and the policy that holds for it; None where it is gone."""
    row = ENTRY.one(cursor, id=entry_id)
    if row is None:
        return None
    entry = Below._make(row[:5])
    while row is not None and row[4] is None:
        row = None if row[5] is None else ENTRY.one(cursor, id=row[5])
    return entry, default if row is None else int(row[4])


def children(cursor: DBAPICursor, parent_id: int, after: str, limit: int) -> list[Below]:
    """The next entries of a directory by name."""
    return [Below._make(row) for row in CHILDREN.all(cursor, parent_id=parent_id, after=after, limit=limit)]


def slices(cursor: DBAPICursor, version_id: int, after: int, limit: int) -> list[Slice]:
    """The next extents of a version."""
    return [Slice._make(row) for row in SLICES.all(cursor, version_id=version_id, after=after, limit=limit)]
