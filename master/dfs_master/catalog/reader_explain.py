"""Reads for explanations: the files of a chunk, what a node holds."""

from typing import NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import ROOT_ENTRY_ID, Chunk, Entry, Extent, Replica, ReplicaState, Version
from dfs_master.catalog.statements import Statement
from dfs_wire.limits import DIGEST_BYTES
from dfs_wire.paths import join_path

#: A version names its entry, so files are found from a chunk without a scan; only current versions count.
FILES = Statement(
    select(Entry.id)
    .distinct()
    .join(Version, (Version.entry_id == Entry.id) & (Version.id == Entry.version_id))
    .join(Extent, Extent.version_id == Version.id)
    .where(Extent.chunk_id == bindparam("chunk_id"))
    .limit(bindparam("limit"))
)
LIKE = Statement(
    select(Chunk.digest)
    .where(Chunk.digest.between(bindparam("first"), bindparam("last")))
    .order_by(Chunk.digest)
    .limit(bindparam("limit"))
)
PARENT = Statement(select(Entry.parent_id, Entry.name).where(Entry.id == bindparam("id")))
HELD = Statement(
    select(func.count(), func.coalesce(func.sum(Chunk.size), 0))
    .select_from(Replica)
    .join(Chunk, Chunk.id == Replica.chunk_id)
    .where(Replica.node_id == bindparam("node_id"), Replica.state == ReplicaState.GOOD)
)


class Held(NamedTuple):
    """What a node holds: verified copies, and the bytes of their chunks."""

    copies: int
    bytes: int


def files_of_chunk(cursor: DBAPICursor, chunk_id: int, limit: int) -> list[str]:
    """Paths of current files that have bytes in a chunk, sorted, at most `limit`."""
    ids = [entry_id for (entry_id,) in FILES.all(cursor, chunk_id=chunk_id, limit=limit)]
    return sorted(path for entry_id in ids if (path := _path(cursor, entry_id)) is not None)


def digests_like(cursor: DBAPICursor, prefix: str, limit: int) -> list[bytes]:
    """The first digests that begin with some hex digits."""
    first, last = (bytes.fromhex(prefix.ljust(2 * DIGEST_BYTES, digit)) for digit in "0f")
    return [digest for (digest,) in LIKE.all(cursor, first=first, last=last, limit=limit)]


def held_by(cursor: DBAPICursor, node_id: int) -> Held:
    """What a node holds. Reads all its replicas."""
    (row,) = HELD.all(cursor, node_id=node_id)
    return Held._make(row)


def _path(cursor: DBAPICursor, entry_id: int) -> str | None:
    """From an entry up to the root; None for what was removed."""
    names: list[str] = []
    at = entry_id
    while at != ROOT_ENTRY_ID:
        row = PARENT.one(cursor, id=at)
        if row is None or row[0] is None:
            return None
        names.append(row[1])
        at = row[0]
    return join_path(names[::-1])
