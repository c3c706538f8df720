"""Versions, extents, chunks and replicas as a group of mutations sees them."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import bindparam, select, update
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import GOING_STATES, Chunk, Replica, ReplicaState, Version
from dfs_master.catalog.overlay import Journal, Overlay
from dfs_master.catalog.rows import (
    CHUNKS,
    EXTENTS,
    REPLICAS,
    VERSIONS,
    ChunkRow,
    ExtentRow,
    ReplicaRow,
    VersionRow,
    new_chunk,
    new_replica,
)
from dfs_master.catalog.statements import Batch, Statement

_CHUNKS = Chunk.__table__
_REPLICAS = Replica.__table__
_VERSIONS = Version.__table__
_CHUNK = Statement(select(_CHUNKS).where(_CHUNKS.c.digest == bindparam("digest")))
_CHUNK_BY_ID = Statement(select(_CHUNKS).where(_CHUNKS.c.id == bindparam("id")))
_REPLICAS_OF = Statement(select(_REPLICAS).where(_REPLICAS.c.chunk_id == bindparam("chunk_id")))
_CHUNKS_BY_DIGEST = Batch(lambda digests: select(_CHUNKS).where(_CHUNKS.c.digest.in_(digests)))
_REPLICAS_BY_CHUNK = Batch(lambda ids: select(_REPLICAS).where(_REPLICAS.c.chunk_id.in_(ids)))
_ANY_ON_NODE = Statement(select(_REPLICAS.c.chunk_id).where(_REPLICAS.c.node_id == bindparam("node_id")).limit(1))
_HELD_STATES = tuple(state for state in ReplicaState if state not in GOING_STATES)
_DIGESTS_ON = Statement(
    select(_CHUNKS.c.digest)
    .join(_REPLICAS, _REPLICAS.c.chunk_id == _CHUNKS.c.id)
    .where(_REPLICAS.c.node_id == bindparam("node_id"), _REPLICAS.c.state.in_(_HELD_STATES))
    .limit(bindparam("limit"))
)
_DELETIONS_ON = Statement(
    select(_CHUNKS.c.digest)
    .join(_REPLICAS, _REPLICAS.c.chunk_id == _CHUNKS.c.id)
    .where(_REPLICAS.c.node_id == bindparam("node_id"), _REPLICAS.c.state.in_(GOING_STATES))
    .limit(bindparam("limit"))
)
_REMOVE_VERSION = Statement(
    update(Version)
    .where(_VERSIONS.c.id == bindparam("id"), _VERSIONS.c.removed_at.is_(None))
    .values(removed_at=bindparam("removed_at"))
)
if _REMOVE_VERSION.names != ("removed_at", "id"):
    raise ValueError("a hot statement takes its values in another order than it is given them")

_GOOD = ReplicaState.GOOD.value
#: Fewer keys than this are read one by one.
_WORTH_A_BATCH = 2

#: The copies of one chunk by node.
Replicas = Mapping[int, ReplicaRow]

_NONE: Replicas = {}


class StagedContent:
    """What a group read and made of contents and their copies. Used by the committer's thread."""

    __slots__ = ("_chunks", "_cursor", "_extents", "_removals", "_replicas", "_slices", "_versions")

    def __init__(self, cursor: DBAPICursor, journal: Journal) -> None:
        self._cursor = cursor
        self._versions: Overlay[int, VersionRow] = Overlay(journal)
        #: All extents of a new version under its id.
        self._extents: Overlay[int, Sequence[ExtentRow]] = Overlay(journal)
        #: Extents of older versions that are dropped or point elsewhere, by version and ordinal.
        self._slices: Overlay[tuple[int, int], ExtentRow] = Overlay(journal)
        #: Version -> when it stopped being the current one.
        self._removals: Overlay[int, int] = Overlay(journal)
        self._chunks: Overlay[bytes, ChunkRow] = Overlay(journal)
        self._replicas: Overlay[int, Replicas] = Overlay(journal)

    def add_version(self, version: VersionRow, extents: Sequence[ExtentRow]) -> None:
        """A new content of a file."""
        self._versions.put(version.id, version)
        if extents:
            self._extents.put(version.id, extents)

    def new_version(self, version_id: int) -> VersionRow | None:
        """A version that the group made or changed."""
        return self._versions.get(version_id)

    def remove_version(self, version_id: int, removed_at: int) -> None:
        """A content that is no longer the current one; its grace begins. The first time given stays."""
        self._removals.put(version_id, removed_at)

    def drop_version(self, version: VersionRow) -> None:
        """Forget a version of the database; its extents are dropped by the same request."""
        self._versions.learn(version.id, version)
        self._versions.put(version.id, None)

    def change_version(self, before: VersionRow, after: VersionRow) -> None:
        """Change a version of the database."""
        self._versions.learn(before.id, before)
        self._versions.put(before.id, after)

    def change_extent(self, before: ExtentRow, after: ExtentRow | None) -> None:
        """Point an extent of the database elsewhere, or drop it."""
        key = (before.version_id, before.ordinal)
        self._slices.learn(key, before)
        self._slices.put(key, after)

    def chunk_by_id(self, chunk_id: int) -> ChunkRow | None:
        """A chunk of the database by its id."""
        found = _CHUNK_BY_ID.one(self._cursor, id=chunk_id)
        return None if found is None else self._chunks.learn(found[1], new_chunk(found))

    def drop_chunk(self, chunk: ChunkRow) -> None:
        """Forget a chunk that no extent refers to, with all that is known of its copies."""
        self.replicas(chunk.id)
        self._chunks.put(chunk.digest, None)
        self._replicas.put(chunk.id, _NONE)

    def chunk(self, digest: bytes) -> ChunkRow | None:
        """A chunk by its digest."""
        if digest in self._chunks:
            return self._chunks.get(digest)
        found = _CHUNK.one(self._cursor, digest=digest)
        return self._chunks.learn(digest, None if found is None else new_chunk(found))

    def read_chunks(self, digests: Iterable[bytes]) -> None:
        """Read many chunks and their copies at once."""
        wanted = [digest for digest in digests if digest not in self._chunks]
        if len(wanted) < _WORTH_A_BATCH:
            return
        found = {row[1]: new_chunk(row) for row in _CHUNKS_BY_DIGEST.rows(self._cursor, wanted)}
        for digest in wanted:
            self._chunks.learn(digest, found.get(digest))
        copies: dict[int, dict[int, ReplicaRow]] = {row.id: {} for row in found.values()}
        for row in _REPLICAS_BY_CHUNK.rows(self._cursor, list(copies)):
            replica = new_replica(row)
            copies[replica.chunk_id][replica.node_id] = replica
        for chunk_id, replicas in copies.items():
            if chunk_id not in self._replicas:
                self._replicas.learn(chunk_id, replicas)

    def replicas(self, chunk_id: int) -> Replicas:
        """The copies of a chunk by node, in whatever state."""
        if chunk_id not in self._replicas:
            found = [new_replica(row) for row in _REPLICAS_OF.all(self._cursor, chunk_id=chunk_id)]
            self._replicas.learn(chunk_id, {row.node_id: row for row in found})
        return self._replicas.get(chunk_id) or _NONE

    def put_chunk(self, chunk: ChunkRow, replicas: Replicas) -> None:
        """Make or change a chunk together with its copies: `copies_good` counts them here and nowhere else."""
        good = sum(row.state == _GOOD for row in replicas.values())
        self._chunks.put(chunk.digest, chunk if chunk.copies_good == good else chunk._replace(copies_good=good))
        self._replicas.put(chunk.id, replicas)

    def node_holds_chunks(self, node_id: int) -> bool:
        """Whether any copy on a node is known."""
        if any(node_id in replicas for replicas in self._replicas.rows()):
            return True
        return _ANY_ON_NODE.one(self._cursor, node_id=node_id) is not None

    def digests_on(self, node_id: int, limit: int) -> list[bytes]:
        """Some chunks with a copy on a node, deletions left out, as the database knows them."""
        return [digest for (digest,) in _DIGESTS_ON.all(self._cursor, node_id=node_id, limit=limit)]

    def deletions_on(self, node_id: int, limit: int) -> list[bytes]:
        """Some chunks whose deletion on a node is on record, ordered or confirmed, as the database knows them."""
        return [digest for (digest,) in _DELETIONS_ON.all(self._cursor, node_id=node_id, limit=limit)]

    def flush(self) -> None:
        """Write the changes: what others refer to comes first and goes last."""
        cursor = self._cursor
        versions, chunks = self._versions.split(), self._chunks.split()
        VERSIONS.insert(cursor, versions.inserted)
        VERSIONS.update(cursor, versions.updated)
        if self._removals.after:
            cursor.executemany(_REMOVE_VERSION.sql, [(at, version) for version, at in self._removals.items()])
        CHUNKS.insert(cursor, chunks.inserted)
        CHUNKS.update(cursor, chunks.updated)
        if self._extents.after:
            EXTENTS.insert(cursor, [row for rows in self._extents.split().inserted for row in rows])
        if self._slices.after:
            slices = self._slices.split()
            EXTENTS.update(cursor, slices.updated)
            EXTENTS.delete(cursor, slices.deleted)
        if self._replicas.after:
            self._flush_replicas()
        CHUNKS.delete(cursor, chunks.deleted)
        VERSIONS.delete(cursor, versions.deleted)

    def _flush_replicas(self) -> None:
        inserted: list[ReplicaRow] = []
        updated: list[ReplicaRow] = []
        deleted: list[ReplicaRow] = []
        for before, after in self._replicas.changes():
            known = before or _NONE
            deleted += [row for node_id, row in known.items() if node_id not in (after or _NONE)]
            for node_id, row in (after or _NONE).items():
                if node_id not in known:
                    inserted.append(row)
                elif row != known[node_id]:
                    updated.append(row)
        REPLICAS.delete(self._cursor, deleted)
        REPLICAS.insert(self._cursor, inserted)
        REPLICAS.update(self._cursor, updated)

    def clear(self) -> None:
        """Forget everything."""
        for overlay in (self._versions, self._extents, self._removals, self._chunks, self._replicas, self._slices):
            overlay.clear()
