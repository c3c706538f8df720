"""A committer over a fresh database, short-hands for what clients and nodes ask of it, and a look at the result."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.catalog import digest_of, new_database

from dfs_master.catalog.committer import Committer, take_epoch
from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.catalog.mutations.nodes import RegisterNode
from dfs_master.catalog.mutations.tree import MakeDirectories, Remove, Rename, SetPolicy
from dfs_master.listed import Listed
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import DfsError
from dfs_wire.messages import EXPECT_ANY, DirectorySpec, Extent, FileCommit, Outcome, Receipt

CHUNK_SIZE = 1_000

_request_numbers = itertools.count(1)


@dataclass(frozen=True)
class Standing:
    """What a node is good for."""

    copies_count: bool = True
    receipts_count: bool = True
    stays: bool = True
    listed: Listed | None = field(default_factory=Listed)

    def vouches(self, digest: bytes, verified_at: int) -> bool:
        """As a node of the registry does."""
        return self.listed is not None and self.listed.vouches(digest, verified_at)


@dataclass
class Store:
    """A committer without a thread, its clock, its nodes, and its database."""

    committer: Committer
    clock: ManualClock
    path: Path
    standings: dict[int, Standing]
    fatal: list[BaseException] = field(default_factory=list)

    def run(self, *mutations: Mutation[Any]) -> list[Any]:
        """One group."""
        return self.committer.run_group(mutations)

    def do(self, mutation: Mutation[Any]) -> Any:
        """One mutation in a group of its own; raises what it was refused with."""
        (outcome,) = self.run(mutation)
        if isinstance(outcome, DfsError):
            raise outcome
        return outcome

    def commit(self, path: str, *texts: str, expect: int = EXPECT_ANY, nodes: Sequence[int] = (1, 2)) -> Outcome:
        """Commit one file of whole chunks with receipts from these nodes."""
        outcome: Outcome = self.do(commit_files(file_commit(path, *texts, expect=expect), nodes=nodes))[0]
        return outcome

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows straight from the database."""
        with closing(connect_raw(open_engine(self.path, read_only=True))) as connection:
            cursor = connection.cursor()
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def one(self, sql: str, *values: object) -> Any:
        """The one value that a query gives."""
        ((value,),) = self.query(sql, *values)
        return value

    def execute(self, sql: str, *values: object) -> None:
        """Change the database behind the committer's back."""
        with closing(connect_raw(open_engine(self.path))) as connection:
            connection.cursor().execute(sql, values)

    def paths(self) -> dict[str, str]:
        """Every path in the tree and its kind."""
        return dict(
            self.query(
                "WITH RECURSIVE tree(id, path, kind) AS (SELECT id, '', kind FROM entries WHERE id = 1 UNION ALL"
                " SELECT e.id, tree.path || '/' || e.name, e.kind FROM entries e JOIN tree ON e.parent_id = tree.id)"
                " SELECT path, kind FROM tree WHERE path <> ''"
            )
        )


@contextmanager
def open_store(directory: Path, *, nodes: int = 3, **options: Any) -> Iterator[Store]:
    """A store with `nodes` registered nodes, their ids 1, 2, … in `standings` translated by `node_id`."""
    path = new_database(directory)
    engine = open_engine(path)
    epoch = take_epoch(engine)
    clock = ManualClock()
    standings: dict[int, Standing] = {}
    fatal: list[BaseException] = []
    committer = Committer(engine, clock, epoch, nodes=lambda: standings, on_fatal=fatal.append, **options)
    store = Store(committer, clock, path, standings, fatal)
    # The ids of nodes are 1, 2, … here, because tests name them.
    with closing(connect_raw(engine)) as connection:
        for number in range(1, nodes + 1):
            row = (number, f"node-{number}", f"node-{number}:5001", f"127.0.0.1:{5000 + number}", "", 1, 0)
            sql = "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, 'live', 'ok', '', 1, 0, 0, '', 0)"
            connection.cursor().execute(sql, row)
            standings[number] = Standing()
    try:
        yield store
    finally:
        committer.stop()


def request_id() -> bytes:
    """A fresh request id."""
    return next(_request_numbers).to_bytes(16)


def file_commit(path: str, *texts: str, expect: int = EXPECT_ANY, **changes: Any) -> FileCommit:
    """A file of whole chunks, one for each text."""
    fields: dict[str, Any] = {
        "path": path,
        "expect": expect,
        "size": CHUNK_SIZE * len(texts),
        "digest": digest_of("".join(texts)),
        "mtime_ns": 1_234_567_890,
        "mode": 0o640,
        "extents": [Extent(digest_of(text), CHUNK_SIZE, 0, CHUNK_SIZE) for text in texts],
    }
    return FileCommit(**(fields | changes))


def receipt(node_id: int, digest: bytes, *, generation: int = 1, stored_at_ms: int = 1_000) -> Receipt:
    """A node's word that a chunk is there."""
    return Receipt(node_id, digest, CHUNK_SIZE, generation, stored_at_ms, stored_at_ms + 86_400_000, b"")


def receipts(
    file: FileCommit, nodes: Sequence[int], *, generation: int = 1, stored_at_ms: int = 1_000
) -> list[Receipt]:
    """Receipts of all chunks of a file from these nodes."""
    return [
        receipt(node, extent.digest, generation=generation, stored_at_ms=stored_at_ms)
        for extent in file.extents
        for node in nodes
    ]


def commit_files(*files: FileCommit, nodes: Sequence[int] = (1, 2), **options: Any) -> CommitFiles:
    """A commit of these files with receipts of all their chunks."""
    given = [each for file in files for each in receipts(file, nodes, **options)]
    return CommitFiles(request_id(), files, given)


def make_directories(*paths: str, exist_ok: bool = True, mode: int = 0o755, mtime_ns: int = 5) -> MakeDirectories:
    """Make these directories."""
    return MakeDirectories(request_id(), exist_ok, [DirectorySpec(path, mode, mtime_ns) for path in paths])


def remove(path: str, *, recursive: bool = False, expect: int = EXPECT_ANY) -> Remove:
    """Remove a name."""
    return Remove(request_id(), path, recursive, expect)


def rename(source: str, target: str, *, expect: int = EXPECT_ANY) -> Rename:
    """Rename."""
    return Rename(request_id(), source, target, expect)


def set_policy(path: str, copies: int) -> SetPolicy:
    """Set a policy."""
    return SetPolicy(request_id(), path, copies)


def register(name: str, **changes: Any) -> RegisterNode:
    """A first join of a node; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "node_id": 0,
        "registration": 1,
        "name": name,
        "zone": "",
        "address": f"{name}:5001",
        "public_address": "127.0.0.1:5001",
        "capacity_bytes": 1_000,
        "used_bytes": 10,
    }
    return RegisterNode(**(fields | changes))


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """What a database says, with names and digests in the place of ids."""
    path = (
        "WITH RECURSIVE tree(id, path, version_id, mode, mtime_ns, copies) AS ("
        "SELECT id, CAST(id AS TEXT), version_id, mode, mtime_ns, copies FROM entries WHERE parent_id IS NULL UNION ALL"
        " SELECT e.id, tree.path || '/' || CASE WHEN e.parent_id = 2 THEN 'removed' ELSE e.name END,"
        " e.version_id, e.mode, e.mtime_ns, e.copies FROM entries e JOIN tree ON e.parent_id = tree.id) "
    )
    queries = {
        "entries": path + "SELECT path, tree.mode, tree.mtime_ns, tree.copies, hex(v.digest)"
        " FROM tree LEFT JOIN versions v ON v.id = version_id",
        "versions": "SELECT hex(v.digest), size, mtime_ns, mode, created_at, removed_at,"
        " (SELECT group_concat(hex(c.digest)) FROM extents e JOIN chunks c ON c.id = e.chunk_id"
        " WHERE e.version_id = v.id) FROM versions v",
        "chunks": "SELECT hex(digest), size, copies_wanted, copies_good, unreferenced_since, state FROM chunks",
        "replicas": "SELECT hex(c.digest), node_id, generation, r.state, stored_at, verified_at"
        " FROM replicas r JOIN chunks c ON c.id = r.chunk_id",
        "requests": "SELECT id, at FROM requests",
        # The name of a replaced node says its id.
        "nodes": "SELECT replace(name, id, '#'), state, volume_state, registration FROM nodes"
        " WHERE name LIKE '%(replaced %' UNION ALL"
        " SELECT name, state, volume_state, registration FROM nodes WHERE name NOT LIKE '%(replaced %'",
        "events": "SELECT at, kind, subject FROM events",
        "settings": "SELECT name, value FROM settings WHERE name NOT IN ('commit_seq', 'next_id')",
    }
    return {table: sorted(store.query(sql), key=repr) for table, sql in queries.items()}
