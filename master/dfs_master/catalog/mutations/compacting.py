"""Mutations that put a new pack in the place of an old one. See `dfs_master.compacting`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dfs_master.catalog import collect_rows
from dfs_master.catalog.models import ChunkState, ReplicaState
from dfs_master.catalog.mutations.base import Context, Mutation, require_int64
from dfs_master.catalog.mutations.collecting import is_relied_on
from dfs_master.catalog.rows import ChunkRow, ReplicaRow
from dfs_master.catalog.staged_content import Replicas
from dfs_master.compacting import EXTENTS_MAX, moved_offset
from dfs_wire.messages import Slice

_GOOD = ReplicaState.GOOD.value
_STORED = ChunkState.STORED.value


@dataclass(frozen=True, slots=True)
class AddPack(Mutation[bool]):
    """A node made a new pack: it becomes known, and is kept until a time though nothing refers to it yet.

    The reply says whether it may take the old one's place.
    """

    old_digest: bytes
    digest: bytes
    size: int
    node_id: int
    generation: int
    keep_until_ms: int

    def apply(self, context: Context) -> bool:
        """Record chunk and copy. From here on repair makes the copies that it lacks."""
        require_int64("generation", self.generation)
        old = context.content.chunk(self.old_digest)
        if old is None or old.state != _STORED or self.digest == self.old_digest:
            return False
        chunk = context.content.chunk(self.digest)
        replicas: Replicas = {} if chunk is None else context.content.replicas(chunk.id)
        mine = replicas.get(self.node_id)
        if chunk is None:
            new_id = context.staging.new_id()
            chunk = ChunkRow(new_id, self.digest, self.size, old.copies_wanted, 0, self.keep_until_ms, _STORED)
        elif chunk.size != self.size or (mine is not None and mine.generation > self.generation):
            return False  # a later store, or a deletion that takes this file
        else:
            chunk = self._wanted_again(chunk, old)
        made = ReplicaRow(chunk.id, self.node_id, self.generation, _GOOD, context.now_ms, context.now_ms)
        context.content.put_chunk(chunk, {**replicas, self.node_id: made})
        return True

    def _wanted_again(self, chunk: ChunkRow, old: ChunkRow) -> ChunkRow:
        """What is left of the pack was a chunk before, perhaps one that is being deleted: this copy is newer."""
        row = chunk._replace(state=_STORED, copies_wanted=max(chunk.copies_wanted, old.copies_wanted))
        unused = chunk.state != _STORED or chunk.unreferenced_since is not None
        return row._replace(unreferenced_since=self.keep_until_ms) if unused else row


@dataclass(frozen=True, slots=True)
class MoveExtents(Mutation[int]):
    """Point all extents of a pack at the new one, if each of them is in it and its copies are there.

    The reply is how many were moved; 0 changes nothing. Versions stay what they are: their digests are of contents.
    """

    reads_tables: ClassVar[bool] = True

    old_digest: bytes
    new_digest: bytes
    slices: Sequence[Slice]

    def apply(self, context: Context) -> int:
        """Judge and move."""
        old, new = context.content.chunk(self.old_digest), context.content.chunk(self.new_digest)
        if old is None or new is None or old.state != _STORED or new.state != _STORED:
            return 0
        replicas = context.content.replicas(new.id)
        if _copies(context, new, replicas) < max(1, old.copies_wanted):
            return 0
        extents = collect_rows.extent_rows(context.staging.cursor, old.id, EXTENTS_MAX + 1)
        moved = [(each, moved_offset(self.slices, each.offset, each.length)) for each in extents]
        if not moved or len(moved) > EXTENTS_MAX or any(offset is None for _, offset in moved):
            return 0
        for extent, offset in moved:
            if offset is not None:
                context.content.change_extent(extent, extent._replace(chunk_id=new.id, offset=offset))
        wanted = max(old.copies_wanted, new.copies_wanted)
        context.content.put_chunk(new._replace(copies_wanted=wanted, unreferenced_since=None), replicas)
        gone = old._replace(copies_wanted=0, unreferenced_since=context.now_ms)
        context.content.put_chunk(gone, context.content.replicas(old.id))
        return len(moved)

    def row_count(self) -> int:
        """Every extent, in the worst case."""
        return EXTENTS_MAX


def _copies(context: Context, chunk: ChunkRow, replicas: Replicas) -> int:
    """Verified copies to rely on: with them the old pack goes."""
    return sum(is_relied_on(context, chunk, row) for row in replicas.values())
