"""Reading the catalog: one `Reader` a thread, one driver-level connection each, no objects of the models."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

from dfs_master.catalog import (
    collect_rows,
    collect_space,
    reader_batches,
    reader_below,
    reader_chunks,
    reader_cluster,
    reader_explain,
    reader_inventory,
    reader_moves,
    reader_policies,
    reader_repair,
    reader_tree,
    reader_usage,
)
from dfs_master.catalog.collect_rows import SparsePack, ToDelete, TrimCandidate
from dfs_master.catalog.collect_space import SpaceSummary
from dfs_master.catalog.engine import connect_raw
from dfs_master.catalog.reader_chunks import KnownChunk, OpenVersion
from dfs_master.catalog.reader_cluster import Counts
from dfs_master.catalog.reader_explain import Held
from dfs_master.catalog.reader_moves import MovesLeft
from dfs_master.catalog.reader_policies import Below, Slice
from dfs_master.catalog.reader_repair import ChunkCopies, ShortCursor
from dfs_master.catalog.reader_tree import Policy
from dfs_master.catalog.rows import CredentialRow, EntryRow, NodeRow, PolicyChangeRow
from dfs_master.inventories import CopyOnRecord, KnownCopies
from dfs_runtime.clock import Clock
from dfs_wire.errors import DfsError, NotFoundError, UsageError, WrongKindError
from dfs_wire.limits import LIST_PAGE_ENTRIES_MAX
from dfs_wire.messages import AddressSet, ChunkInfo, Copy, Entry, EntryKind, ReplicaInfo, UsageRow
from dfs_wire.paths import join_path, split_path


class _Snapshot:
    """A class rather than a generator: most reads enter it."""

    __slots__ = ("_connection", "_cursor", "_depth")

    def __init__(self, connection: DBAPIConnection, cursor: DBAPICursor) -> None:
        self._connection = connection
        self._cursor = cursor
        self._depth = 0

    def __enter__(self) -> None:
        if self._depth == 0:
            self._cursor.execute("BEGIN")
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._connection.rollback()


class Reader:
    """The read side of the catalog. Used by one thread at a time.

    Each method sees one moment of the database; `snapshot` makes several see the same one.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._connection = connect_raw(engine)
        self._cursor = self._connection.cursor()
        self._clock = clock
        self._snapshot = _Snapshot(self._connection, self._cursor)

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self._connection.close()

    def snapshot(self) -> AbstractContextManager[None]:
        """One moment for all reads inside. Never longer than one request: it keeps the log from being moved."""
        return self._snapshot

    # -- tree --------------------------------------------------------------------------------------------------

    def resolve(self, path: str) -> EntryRow | None:
        """The entry that a path names, or None.

        Raises:
            UsageError: no such path can exist.
        """
        names = split_path(path)
        with self.snapshot():
            chain = reader_tree.walk(self._cursor, names)
        return chain[-1] if len(chain) > len(names) else None

    def stat(self, path: str) -> tuple[Entry, int, str]:
        """An entry, the copies its policy asks for, and the directory that says so (empty: the cluster's default).

        Raises:
            NotFoundError: nothing is there.
        """
        names = split_path(path)
        with self.snapshot():
            chain = reader_tree.walk(self._cursor, names)
            found = _existing(chain, names)
            policy = reader_tree.policy(self._cursor, chain, names)
            entry = reader_tree.entry_at(self._cursor, join_path(names), found)
        return entry, policy.copies, policy.source

    def look_up(self, parent_id: int, name: str) -> reader_tree.Found | None:
        """The entry of a name in a directory, as of now; parent 0 with an empty name is the root."""
        return reader_tree.look_up(self._cursor, parent_id, name)

    def default_copies(self) -> int:
        """Copies wanted where no directory says otherwise."""
        return reader_cluster.default_copies(self._cursor)

    def policy(self, path: str) -> Policy:
        """The copies that something at this path has or would have; nothing needs to be there yet."""
        names = split_path(path)
        with self.snapshot():
            return reader_tree.policy(self._cursor, reader_tree.walk(self._cursor, names), names)

    def list_page(
        self,
        path: str,
        after: str,
        limit: int,
        *,
        copies: bool = False,
        recursive: bool = False,
        address_set: AddressSet = AddressSet.PUBLIC,
    ) -> tuple[list[Entry], bool]:
        """Up to `limit` entries by name from the first one behind `after`, and whether there are more.

        A file lists itself. With `copies`, each file comes with the nodes that hold something of it; with `recursive`,
        the page is of the whole tree, and `after` a path below it.

        Raises:
            NotFoundError: nothing is there.
            UsageError: the limit is out of range.
        """
        if not 1 <= limit <= LIST_PAGE_ENTRIES_MAX:
            raise UsageError(f"a page of {limit} entries is not between 1 and {LIST_PAGE_ENTRIES_MAX}")
        names = split_path(path)
        here = join_path(names)
        with self.snapshot():
            found = _existing(reader_tree.walk(self._cursor, names), names)
            if found.kind == EntryKind.FILE:
                page, more = [reader_tree.entry_at(self._cursor, here, found)], False
            elif recursive:
                behind = split_path(after) if after else ()
                page, more = reader_below.page_below(self._cursor, found, here, behind, limit)
            else:
                page, more = reader_tree.page(self._cursor, found.id, here, after, limit)
            if not copies:
                return page, more
            holders = reader_chunks.holders(self._cursor, [entry.version for entry in page if entry.version])
            nodes = self._copies_by_node(address_set)
        return [reader_tree.with_copies(entry, nodes, holders.get(entry.version, ())) for entry in page], more

    def stat_many(self, paths: Sequence[str]) -> list[Entry | DfsError]:
        """What each path names, or why there is nothing to say of it, in order."""
        with self.snapshot():
            return reader_batches.stat_many(self._cursor, paths)

    def disk_usage(self, path: str) -> list[UsageRow]:
        """Sums over a tree: the tree first, then its direct children by name. Reads the whole tree.

        Raises:
            NotFoundError: nothing is there.
        """
        names = split_path(path)
        with self.snapshot():
            found = _existing(reader_tree.walk(self._cursor, names), names)
            return reader_usage.disk_usage(self._cursor, join_path(names), found)

    # -- content -----------------------------------------------------------------------------------------------

    def open_version(self, path: str = "", version_id: int = 0, offset: int = 0, length: int = -1) -> OpenVersion:
        """A version by path (its current one) or by id, with the extents that overlap the range and their good copies.

        Raises:
            NotFoundError: nothing is at the path.
            WrongKindError: it is a directory.
            VersionGoneError: the version's grace is over.
            UsageError: the range makes no sense.
        """
        if offset < 0 or length < -1:
            raise UsageError(f"the range from {offset} with {length} bytes makes no sense")
        if version_id and offset == 0 and length > 0:
            whole = reader_chunks.open_whole(self._cursor, version_id, length)
            if whole is not None:
                return whole
        with self.snapshot():
            if not version_id:
                version_id = self.current_version(path)
            version = reader_chunks.readable_version(self._cursor, version_id)
            return reader_chunks.open_version(self._cursor, version, offset, length)

    def open_short(self, version_id: int, offset: int, length: int, extents_max: int) -> OpenVersion | None:
        """The same by id, where that is little work; None where it might not be: a legal version may have thousands of
        extents of a byte each.

        Raises:
            VersionGoneError, UsageError: as for `open_version`.
        """
        if offset == 0 and length > 0:
            whole = reader_chunks.open_whole(self._cursor, version_id, length, extents_max)
            if whole is not None:
                return whole
        if reader_chunks.has_more_extents(self._cursor, version_id, extents_max):
            return None
        return self.open_version(version_id=version_id, offset=offset, length=length)

    def open_many(self, wanted: Sequence[tuple[str, int]]) -> reader_batches.OpenedBatch:
        """Versions by path or, where that is not 0, by id, with the good copies of all their chunks."""
        with self.snapshot():
            return reader_batches.open_many(self._cursor, wanted)

    def chunk_infos(self, version_id: int, *, address_set: AddressSet = AddressSet.PUBLIC) -> list[ChunkInfo]:
        """Every extent of a version with all replicas of its chunk, in any state."""
        with self.snapshot():
            nodes = self._copies_by_node(address_set)
            extents = reader_chunks.extents_with_replicas(self._cursor, version_id)
        return [
            ChunkInfo(
                extent.ordinal,
                extent.digest,
                extent.chunk_size,
                extent.offset,
                extent.length,
                [ReplicaInfo(nodes[node].node, nodes[node].address, state) for node, state in extent.replicas],
            )
            for extent in extents
        ]

    def known_chunks(self, digests: Sequence[bytes]) -> dict[bytes, KnownChunk]:
        """Those of the digests that the catalog knows, with their replicas in any state."""
        with self.snapshot():
            return reader_chunks.known_chunks(self._cursor, digests)

    def moves_left(self, node_id: int, unsure: tuple[int, ...] = ()) -> MovesLeft:
        """What a node that is to go holds alone, if copies of `unsure` nodes are none. Reads all chunks of the node."""
        with self.snapshot():
            return reader_moves.moves_left(self._cursor, node_id, unsure)

    def short_chunks(self, after: ShortCursor, limit: int) -> list[ShortCursor]:
        """The next chunks with fewer good copies than wanted, those with the fewest first."""
        return reader_repair.short_chunks(self._cursor, after, limit)

    def chunks_on_node(self, node_id: int, after: int, limit: int) -> list[int]:
        """The ids of the next chunks behind `after` with a good copy on the node."""
        return reader_repair.chunks_on_node(self._cursor, node_id, after, limit)

    def first_policy_change(self) -> PolicyChangeRow | None:
        """The oldest change of a policy that is not followed everywhere yet."""
        return reader_policies.first_change(self._cursor)

    def entry_and_policy(self, entry_id: int, default: int) -> tuple[Below, int] | None:
        """An entry by its id, and the policy that holds for it; None where it is gone."""
        with self.snapshot():
            return reader_policies.entry_and_policy(self._cursor, entry_id, default)

    def children_of(self, parent_id: int, after: str, limit: int) -> list[Below]:
        """The next entries of a directory by name."""
        return reader_policies.children(self._cursor, parent_id, after, limit)

    def slices(self, version_id: int, after: int, limit: int) -> list[Slice]:
        """The next extents of a version behind an ordinal, with what their chunks ask for."""
        return reader_policies.slices(self._cursor, version_id, after, limit)

    def copies_of(self, chunk_ids: Sequence[int]) -> list[ChunkCopies]:
        """Those of the chunks that something refers to, with all their replicas."""
        with self.snapshot():
            return reader_repair.copies_of(self._cursor, chunk_ids)

    def copies_on_node(self, node_id: int, first: bytes, last: bytes) -> list[CopyOnRecord]:
        """A node's replica rows for digests from `first` to `last`, in any state."""
        with self.snapshot():
            return reader_inventory.copies_on_node(self._cursor, node_id, first, last)

    def known_copies(self, digests: Sequence[bytes]) -> dict[bytes, KnownCopies]:
        """Those of the digests that are on record, with all their replicas."""
        with self.snapshot():
            return reader_inventory.known_copies(self._cursor, digests)

    # -- explaining --------------------------------------------------------------------------------------------

    def digests_like(self, prefix: str, limit: int) -> list[bytes]:
        """The first chunks whose digest begins with some hex digits."""
        return reader_explain.digests_like(self._cursor, prefix, limit)

    def files_of_chunk(self, chunk_id: int, limit: int) -> list[str]:
        """Paths of current files that have bytes in a chunk, at most `limit`."""
        with self.snapshot():
            return reader_explain.files_of_chunk(self._cursor, chunk_id, limit)

    def held_by(self, node_id: int) -> Held:
        """How many verified copies a node has, and their bytes. Reads all its replicas."""
        return reader_explain.held_by(self._cursor, node_id)

    # -- collecting --------------------------------------------------------------------------------------------

    def copies_to_delete(self, node_id: int, limit: int) -> list[ToDelete]:
        """Files that a node is to delete, by chunk: the same ones until it confirms them."""
        return collect_rows.to_delete(self._cursor, node_id, limit)

    def surplus_chunks(self, after: int, limit: int) -> list[TrimCandidate]:
        """The next chunks by id behind `after` with more good replicas than they want, whatever their nodes do."""
        with self.snapshot():
            return collect_rows.surplus(self._cursor, after, limit)

    def lost_copies(self, node_id: int, after: int, limit: int) -> list[TrimCandidate]:
        """The next chunks by id behind `after` of which the node's copy is bad or missing."""
        with self.snapshot():
            return collect_rows.lost(self._cursor, node_id, after, limit)

    def sparse_packs(self, after: int, limit: int, percent: float) -> tuple[list[SparsePack], int]:
        """Of the next chunks by id those of which little is referred to, and where to go on (0: at the beginning)."""
        with self.snapshot():
            return collect_rows.sparse_packs(self._cursor, after, limit, percent)

    def slices_of(self, chunk_id: int, limit: int) -> list[tuple[int, int]]:
        """Offset and length of the extents that refer to a chunk."""
        return [(row.offset, row.length) for row in collect_rows.extent_rows(self._cursor, chunk_id, limit)]

    def space_summary(self) -> SpaceSummary:
        """What the bytes on record are there for. Reads every replica once."""
        with self.snapshot():
            return collect_space.summary(self._cursor)

    # -- cluster -----------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """What `status` says of the whole. Reads every version once."""
        with self.snapshot():
            return reader_cluster.counts(self._cursor)

    def nodes(self) -> list[NodeRow]:
        """Every registered node, by id."""
        return reader_cluster.nodes(self._cursor)

    def copies_by_node(self) -> dict[int, int]:
        """How many good copies each node has on record. Reads the whole index of replicas by node."""
        return reader_cluster.copies_by_node(self._cursor)

    def surplus_event(self, kept: int) -> int:
        """The id of the newest event behind the newest `kept`; 0 where there are no more. Reads all of those."""
        return reader_cluster.surplus_event(self._cursor, kept)

    def node_names(self) -> dict[int, str]:
        """The name of each node by its id."""
        return {node.id: node.name for node in self.nodes()}

    def credentials(self) -> list[CredentialRow]:
        """Every key's hash and role, by id."""
        return reader_cluster.credentials(self._cursor)

    def setting(self, name: str) -> str | None:
        """One setting's value, or None."""
        return reader_cluster.setting(self._cursor, name)

    def settings(self) -> dict[str, str]:
        """Every named value, the master's own records among them."""
        return reader_cluster.settings(self._cursor)

    def current_version(self, path: str) -> int:
        """The current version of the file at a path.

        Raises:
            NotFoundError: nothing is there.
            WrongKindError: it is a directory.
        """
        names = split_path(path)
        found = _existing(reader_tree.walk(self._cursor, names), names)
        if found.version_id is None:
            raise WrongKindError(f"{join_path(names)} is a directory; name a file, or list it")
        return found.version_id

    def _copies_by_node(self, address_set: AddressSet) -> dict[int, Copy]:
        public = address_set is AddressSet.PUBLIC
        return {node.id: Copy(node.name, node.public_address if public else node.address) for node in self.nodes()}


def _existing(chain: Sequence[EntryRow], names: Sequence[str]) -> EntryRow:
    """The last entry of a walk that reached its end.

    Raises:
        NotFoundError: it did not.
    """
    if len(chain) <= len(names):
        raise NotFoundError(f"{join_path(names)} does not exist")
    return chain[-1]
