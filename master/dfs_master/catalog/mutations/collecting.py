"""Mutations of the collector: versions, chunks and copies that nobody needs leave, each step bounded.

See `dfs_master.collecting` for the way that a byte goes. All of these look through whole tables, so they run over what
the database holds, never over what their group has only staged.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dfs_master.catalog import collect_rows
from dfs_master.catalog.models import BEING_REMOVED, GOING_STATES, ChunkState, ReplicaState
from dfs_master.catalog.mutations.base import Context, Mutation, require_int64
from dfs_master.catalog.rows import ChunkRow, ExtentRow, ReplicaRow, VersionRow
from dfs_master.catalog.staged_content import Replicas
from dfs_master.collecting import Orphan, Standing, Verdict, judge_file, may_go

_GOOD = ReplicaState.GOOD.value
_DELETING = ReplicaState.DELETING.value
_DELETED = ReplicaState.DELETED.value
_GOING = frozenset(state.value for state in GOING_STATES)
_STORED = ChunkState.STORED.value
_CHUNK_DELETING = ChunkState.DELETING.value

#: A chunk with more versions than this keeps its `copies_wanted` until fewer refer to it.
_REFERRERS_MAX = 64


class Step(NamedTuple):
    """How far a step came: what it did, and whether as much again may be left."""

    done: int
    more: bool


@dataclass(frozen=True, slots=True)
class RemoveVersions(Mutation[Step]):
    """Forget versions that were replaced or removed before a time, at most `limit` rows of them and their extents."""

    reads_tables: ClassVar[bool] = True

    before_ms: int
    limit: int = 400

    def apply(self, context: Context) -> Step:
        """One step. Chunks that lost their last extent begin their grace."""
        left = self.limit
        dropped: list[ExtentRow] = []
        removed = 0
        cursor = context.staging.cursor
        for version in collect_rows.removed_versions(cursor, self.before_ms, self.limit):
            extents = collect_rows.last_extents(cursor, version.id, left)
            dropped += extents
            left -= len(extents) + 1
            for extent in extents:
                context.content.change_extent(extent, None)
            if left < 0:
                _begin_removal(context, version)
                break
            context.content.drop_version(version)
            removed += 1
        self._let_go(context, dropped)
        return Step(removed, left <= 0)

    def row_count(self) -> int:
        """Versions and extents, and the chunks that they referred to."""
        return 2 * self.limit

    def _let_go(self, context: Context, dropped: Sequence[ExtentRow]) -> None:
        """Look at the chunks that lost extents."""
        gone: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
        for extent in dropped:
            gone[extent.chunk_id].add((extent.version_id, extent.ordinal))
        versions = {extent.version_id for extent in dropped}
        for chunk_id, keys in gone.items():
            chunk = context.content.chunk_by_id(chunk_id)
            if chunk is None:
                continue
            left = collect_rows.extents_of(context.staging.cursor, chunk_id, len(keys) + 1)
            if all(key in keys for key in left):
                chunk = chunk._replace(copies_wanted=0, unreferenced_since=context.now_ms)
            else:
                chunk = chunk._replace(copies_wanted=copies_wanted(context, chunk, versions))
            context.content.put_chunk(chunk, context.content.replicas(chunk.id))


def _begin_removal(context: Context, version: VersionRow) -> None:
    """More extents than one step takes: from now on nobody opens it."""
    context.content.change_version(version, version._replace(removed_at=BEING_REMOVED))


def copies_wanted(context: Context, chunk: ChunkRow, leaving: Iterable[int] = ()) -> int:
    """The most copies that a version which refers to the chunk asks for, those that leave now left out.

    A version within its grace has no directory any more, so the cluster's own policy holds for it.
    """
    referrers = collect_rows.referrers(context.staging.cursor, chunk.id, _REFERRERS_MAX + 1)
    if len(referrers) > _REFERRERS_MAX:
        return chunk.copies_wanted
    left = set(leaving)
    wanted = [
        _policy(context, entry_id) if removed_at is None else min(chunk.copies_wanted, context.copies)
        for version_id, entry_id, removed_at in referrers
        if version_id not in left
    ]
    return max(wanted, default=chunk.copies_wanted)


def _policy(context: Context, entry_id: int) -> int:
    """The policy of a file: the nearest directory's own, else the cluster's."""
    entry = context.tree.entry(entry_id)
    while entry is not None:
        if entry.copies is not None:
            return entry.copies
        entry = None if entry.parent_id is None else context.tree.entry(entry.parent_id)
    return context.copies


@dataclass(frozen=True, slots=True)
class CollectChunks(Mutation[Step]):
    """Record as `deleting` at most `limit` chunks that nothing has referred to since before a time.

    `generation` is newer than that of every file which exists, and older than that of every ticket to come.
    """

    reads_tables: ClassVar[bool] = True

    before_ms: int
    generation: int
    limit: int = 150

    def apply(self, context: Context) -> Step:
        """One step."""
        chunks = collect_rows.unreferenced(context.staging.cursor, self.before_ms, self.limit)
        for row in chunks:
            chunk = context.content.chunk(row.digest) or row
            if collect_rows.extents_of(context.staging.cursor, chunk.id, 1):
                context.content.put_chunk(chunk._replace(unreferenced_since=None), context.content.replicas(chunk.id))
            else:
                self._collect(context, chunk)
        return Step(len(chunks), len(chunks) == self.limit)

    def row_count(self) -> int:
        """A chunk and its copies each."""
        return 3 * self.limit

    def _collect(self, context: Context, chunk: ChunkRow) -> None:
        replicas = context.content.replicas(chunk.id)
        if not replicas:
            context.content.drop_chunk(chunk)
            return
        going = {
            node_id: row if row.state == _DELETED else deleting(row, self.generation, context.now_ms)
            for node_id, row in replicas.items()
        }
        row = chunk._replace(state=_CHUNK_DELETING, copies_wanted=0, unreferenced_since=None)
        context.content.put_chunk(row, going)


def deleting(row: ReplicaRow, generation: int, now_ms: int) -> ReplicaRow:
    """The replica with its deletion on record; of an older one, the newer generation holds."""
    return row._replace(state=_DELETING, generation=max(row.generation, generation), verified_at=now_ms)


@dataclass(frozen=True, slots=True)
class TrimCopies(Mutation[int]):
    """Give up copies, named by digest and node, that their chunks can do without; the reply says how many those were.

    Every one is judged again: enough verified copies stay, on nodes that serve, are to stay, and answer for them.
    """

    copies: Sequence[tuple[bytes, int]]
    generation: int

    def apply(self, context: Context) -> int:
        """Record them as `deleting`."""
        return sum(self._trim(context, digest, node_id) for digest, node_id in self.copies)

    def row_count(self) -> int:
        """A chunk and a replica each."""
        return 2 * len(self.copies)

    def _trim(self, context: Context, digest: bytes, node_id: int) -> bool:
        chunk = context.content.chunk(digest)
        if chunk is None or chunk.state != _STORED or chunk.copies_wanted == 0:
            return False
        replicas = context.content.replicas(chunk.id)
        mine = replicas.get(node_id)
        if mine is None or mine.state in _GOING:
            return False
        if not may_go(_standings(context, chunk, replicas), node_id, chunk.copies_wanted):
            return False
        context.content.put_chunk(chunk, {**replicas, node_id: deleting(mine, self.generation, context.now_ms)})
        return True


def _standings(context: Context, chunk: ChunkRow, replicas: Replicas) -> list[Standing]:
    return [Standing(node_id, is_relied_on(context, chunk, row)) for node_id, row in replicas.items()]


def is_relied_on(context: Context, chunk: ChunkRow, row: ReplicaRow) -> bool:
    """Whether a copy is a reason to give up another: it is verified, and its node stays and answers for it since it
    took up service.
    """
    node = context.nodes.get(row.node_id)
    return row.state == _GOOD and node is not None and node.stays and node.vouches(chunk.digest, row.verified_at)


@dataclass(frozen=True, slots=True)
class CollectOrphans(Mutation[int]):
    """Record as `deleting` files that a node has and nobody needs; the reply says how many those were.

    `generation` was taken after the node listed them. They are judged again, but not their age.
    """

    node_id: int
    generation: int
    orphans: Sequence[Orphan]

    def apply(self, context: Context) -> int:
        """Record them."""
        if context.staging.node(self.node_id) is None:
            return 0
        return sum(self._collect(context, orphan) for orphan in self.orphans)

    def row_count(self) -> int:
        """A chunk and a replica each."""
        return 2 * len(self.orphans)

    def _collect(self, context: Context, orphan: Orphan) -> bool:
        require_int64("generation", orphan.generation)
        chunk = context.content.chunk(orphan.digest)
        replicas: Replicas = {} if chunk is None else context.content.replicas(chunk.id)
        mine = replicas.get(self.node_id)
        others = [row for row in replicas.values() if row.node_id != self.node_id]
        staying = 0 if chunk is None else sum(is_relied_on(context, chunk, row) for row in others)
        verdict = judge_file(orphan.generation, 0, chunk, mine, staying=staying, orphan_seconds=0)
        if verdict is not Verdict.ORPHAN:
            return False
        if chunk is None:
            chunk = ChunkRow(context.staging.new_id(), orphan.digest, orphan.size, 0, 0, None, _CHUNK_DELETING)
        now_ms = context.now_ms
        generation = max(self.generation, orphan.generation)
        going = ReplicaRow(chunk.id, self.node_id, generation, _DELETING, now_ms, now_ms)
        context.content.put_chunk(chunk, {**replicas, self.node_id: going})
        return True


@dataclass(frozen=True, slots=True)
class ForgetDeleted(Mutation[Step]):
    """Forget at most `limit` deletions that a node confirmed before a time, and chunks of which nothing is left."""

    reads_tables: ClassVar[bool] = True

    node_id: int
    before_ms: int
    limit: int = 300

    def apply(self, context: Context) -> Step:
        """One step."""
        digests = collect_rows.deleted_before(context.staging.cursor, self.node_id, self.before_ms, self.limit)
        for digest in digests:
            chunk = context.content.chunk(digest)
            if chunk is None:
                continue
            rest = {each: row for each, row in context.content.replicas(chunk.id).items() if each != self.node_id}
            if rest or chunk.state == _STORED:
                context.content.put_chunk(chunk, rest)
            else:
                context.content.drop_chunk(chunk)
        return Step(len(digests), len(digests) == self.limit)

    def row_count(self) -> int:
        """A replica and perhaps its chunk each."""
        return 2 * self.limit


def confirmed(row: ReplicaRow, generation: int, now_ms: int) -> ReplicaRow | None:
    """The replica after the node said that nothing of this generation or older is there; None changes nothing."""
    if row.state != _DELETING or generation < row.generation:
        return None
    return row._replace(state=_DELETED, verified_at=now_ms)
