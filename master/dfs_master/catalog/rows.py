"""Rows as immutable values, and for each table the statements that write them: a group writes one of each at most.

A row's fields are its table's columns by name, which is checked at import, so that the two cannot drift apart.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar, cast

from sqlalchemy import BindParameter, Table, UpdateBase, bindparam, delete, insert, inspect, update
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog import models as schema
from dfs_master.catalog.overlay import Overlay
from dfs_master.catalog.statements import Statement


class EntryRow(NamedTuple):
    """A name in the tree."""

    id: int
    parent_id: int | None
    name: str
    kind: str
    version_id: int | None
    mode: int | None
    mtime_ns: int | None
    copies: int | None


class VersionRow(NamedTuple):
    """One content of a file."""

    id: int
    entry_id: int
    size: int
    digest: bytes
    mtime_ns: int
    mode: int
    created_at: int
    removed_at: int | None


class ExtentRow(NamedTuple):
    """A slice of a chunk."""

    version_id: int
    ordinal: int
    chunk_id: int
    offset: int
    length: int


class ChunkRow(NamedTuple):
    """Immutable bytes, named by their digest."""

    id: int
    digest: bytes
    size: int
    copies_wanted: int
    copies_good: int
    unreferenced_since: int | None
    state: str


class ReplicaRow(NamedTuple):
    """One chunk on one node. Of a copy that is not `good`, `verified_at` is when that was found."""

    chunk_id: int
    node_id: int
    generation: int
    state: str
    stored_at: int
    verified_at: int


class NodeRow(NamedTuple):
    """A registered node."""

    id: int
    name: str
    address: str
    public_address: str
    zone: str
    capacity_bytes: int
    used_bytes: int
    state: str
    volume_state: str
    filesystem_id: str
    registration: int
    last_seen_at: int
    registered_at: int
    intent: str = ""
    intent_until: int = 0


class RequestRow(NamedTuple):
    """What a mutation answered."""

    id: bytes
    outcome: bytes
    at: int


class CredentialRow(NamedTuple):
    """The hash of a key."""

    id: int
    role: str
    digest: bytes
    name: str
    created_at: int


class SettingRow(NamedTuple):
    """One named value."""

    name: str
    value: str


class PolicyChangeRow(NamedTuple):
    """A directory whose policy was changed, and when."""

    entry_id: int
    at: int


class EventRow(NamedTuple):
    """Something that happened. `detail` is a JSON object."""

    id: int
    at: int
    kind: str
    subject: str
    detail: str


R = TypeVar("R", bound=NamedTuple)


def making(row: type[R]) -> Callable[[tuple[Any, ...]], R]:
    """Makes such rows of their values in order, for hot paths: to call the type itself costs three times as much."""
    return cast("Callable[[tuple[Any, ...]], R]", partial(tuple.__new__, row))


new_entry = making(EntryRow)
new_version = making(VersionRow)
new_extent = making(ExtentRow)
new_chunk = making(ChunkRow)
new_replica = making(ReplicaRow)
new_request = making(RequestRow)


class TableWriter(Generic[R]):
    """Writes many rows of one table at once. Immutable, so safe to share between threads; cursors are not."""

    __slots__ = ("_delete", "_insert", "_update", "name")

    def __init__(self, model: type[schema.Base], row: type[R]) -> None:
        table = inspect(model).local_table
        if not isinstance(table, Table) or {column.name for column in table.columns} != set(row._fields):
            raise TypeError(f"{row.__name__} does not have the columns of {model.__name__}")
        self.name = table.name
        keys = list(table.primary_key.columns)
        is_row = [column == bindparam(column.name) for column in keys]
        rest: dict[str, BindParameter[object]] = {
            column.name: bindparam(column.name) for column in table.columns if column not in set(keys)
        }
        self._insert = _ForRows(insert(table), row)
        self._update = _ForRows(update(table).where(*is_row).values(rest), row) if rest else None
        self._delete = _ForRows(delete(table).where(*is_row), row)

    def write(self, cursor: DBAPICursor, overlay: Overlay[Any, R]) -> None:
        """All that a group did to the table; names are freed before they are taken."""
        if overlay.after:
            inserted, updated, deleted = overlay.split()
            self.delete(cursor, deleted)
            self.update(cursor, updated)
            self.insert(cursor, inserted)

    def insert(self, cursor: DBAPICursor, rows: Sequence[R]) -> None:
        """One INSERT of all rows."""
        if rows:
            self._insert.run(cursor, rows)

    def update(self, cursor: DBAPICursor, rows: Sequence[R]) -> None:
        """Set all columns of the rows with these primary keys."""
        if rows and self._update is not None:
            self._update.run(cursor, rows)

    def delete(self, cursor: DBAPICursor, rows: Sequence[R]) -> None:
        """Remove the rows with these primary keys, in this order."""
        if rows:
            self._delete.run(cursor, rows)


class _ForRows:
    """A statement that takes some columns of rows of one type."""

    __slots__ = ("_pick", "sql")

    def __init__(self, expression: UpdateBase, row: type[NamedTuple]) -> None:
        statement = Statement(expression)
        self.sql = statement.sql
        places = [row._fields.index(name) for name in statement.names]
        self._pick: Callable[[tuple[Any, ...]], Any] | None = None
        if statement.names != row._fields:
            # A slice of one gives a tuple of one, where an item would give the bare value.
            self._pick = itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))

    def run(self, cursor: DBAPICursor, rows: Sequence[NamedTuple]) -> None:
        """Once for each row."""
        cursor.executemany(self.sql, rows if self._pick is None else [self._pick(row) for row in rows])


ENTRIES = TableWriter(schema.Entry, EntryRow)
VERSIONS = TableWriter(schema.Version, VersionRow)
EXTENTS = TableWriter(schema.Extent, ExtentRow)
CHUNKS = TableWriter(schema.Chunk, ChunkRow)
REPLICAS = TableWriter(schema.Replica, ReplicaRow)
NODES = TableWriter(schema.Node, NodeRow)
REQUESTS = TableWriter(schema.Request, RequestRow)
CREDENTIALS = TableWriter(schema.Credential, CredentialRow)
SETTINGS = TableWriter(schema.Setting, SettingRow)
POLICY_CHANGES = TableWriter(schema.PolicyChange, PolicyChangeRow)
EVENTS = TableWriter(schema.Event, EventRow)
