"""The unit of work of one group: what its requests see, and what they leave behind for one write a table.

A look-up goes to the overlay, then to the database, and is remembered for the rest of the group. Nothing is written
before `flush`, which sends one multi-row statement for each table and kind of change. A request that is refused in
the middle is undone in memory (`mark`, `undo`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.ids import IdBlocks
from dfs_master.catalog.models import COPIES_DEFAULT, Event, Node, PolicyChange, Request, Setting
from dfs_master.catalog.overlay import Journal, Overlay
from dfs_master.catalog.reader_tree import Found
from dfs_master.catalog.rows import (
    CREDENTIALS,
    EVENTS,
    NODES,
    POLICY_CHANGES,
    REQUESTS,
    SETTINGS,
    CredentialRow,
    EventRow,
    NodeRow,
    PolicyChangeRow,
    RequestRow,
    SettingRow,
    new_request,
)
from dfs_master.catalog.staged_content import StagedContent
from dfs_master.catalog.staged_tree import EntryKey, StagedTree
from dfs_master.catalog.statements import Batch, Statement

_NODES = Node.__table__
_REQUESTS = Request.__table__
_NODE = Statement(select(_NODES).where(_NODES.c.id == bindparam("id")))
_NODE_NAMED = Statement(select(_NODES).where(_NODES.c.name == bindparam("name")))
_REQUEST = Statement(select(_REQUESTS).where(_REQUESTS.c.id == bindparam("id")))
_REQUESTS_BY_ID = Batch(lambda ids: select(_REQUESTS).where(_REQUESTS.c.id.in_(ids)))
_OLD_REQUESTS = Statement(
    select(_REQUESTS).where(_REQUESTS.c.at < bindparam("before")).order_by(_REQUESTS.c.at).limit(bindparam("limit"))
)
_OLD_EVENTS = Statement(
    select(*(getattr(Event, field) for field in EventRow._fields))
    .where(Event.id <= bindparam("last"))
    .order_by(Event.id)
    .limit(bindparam("limit"))
)
_POLICY_CHANGE = Statement(
    select(PolicyChange.__table__).where(PolicyChange.__table__.c.entry_id == bindparam("entry_id"))
)
_SETTING = Statement(select(Setting.__table__).where(Setting.__table__.c.name == bindparam("name")))


class Staging:
    """Pending effects of one group over the database. Used by the committer's thread, inside its transaction."""

    def __init__(self, cursor: DBAPICursor, ids: IdBlocks) -> None:
        #: For mutations that look through whole tables (`Mutation.reads_tables`).
        self.cursor = self._cursor = cursor
        self._ids = ids
        #: A number that no row has had before.
        self.new_id = ids.take
        journal = self._journal = Journal()
        #: A point to step back to; and taking back what was staged since.
        self.mark, self.undo = journal.mark, journal.undo
        self.tree = StagedTree(cursor, journal)
        self.content = StagedContent(cursor, journal)
        self._nodes: Overlay[int, NodeRow] = Overlay(journal)
        self._requests: Overlay[bytes, RequestRow] = Overlay(journal)
        self._settings: Overlay[str, SettingRow] = Overlay(journal)
        self._policy_changes: Overlay[int, PolicyChangeRow] = Overlay(journal)
        self._credentials: Overlay[int, CredentialRow] = Overlay(journal)
        self._events: Overlay[int, EventRow] = Overlay(journal)
        self._overlays: tuple[Overlay[Any, Any], ...] = (
            *(self._nodes, self._requests, self._settings),
            *(self._policy_changes, self._credentials, self._events),
        )
        #: The setting of that name as the database holds it.
        self._copies: int | None = None

    # -- one group ---------------------------------------------------------------------------------------------

    def skip_ids(self, count: int) -> int:
        """Never give out the next `count` numbers; returns the first of them. Not undone by `undo`."""
        return self._ids.skip(count)

    def is_empty(self) -> bool:
        """Whether nothing is staged."""
        return not self._journal.steps

    def flush(self) -> None:
        """Write all that is staged into the open transaction, in the order that foreign keys ask for.

        Raises:
            DRIVER_ERROR of `catalog.sqlite`: a statement failed; the transaction is to be rolled back.
        """
        NODES.write(self._cursor, self._nodes)
        self.tree.flush()
        self.content.flush()
        SETTINGS.write(self._cursor, self._settings)
        POLICY_CHANGES.write(self._cursor, self._policy_changes)
        CREDENTIALS.write(self._cursor, self._credentials)
        EVENTS.write(self._cursor, self._events)
        REQUESTS.write(self._cursor, self._requests)

    def written_files(self) -> dict[EntryKey, Found]:
        """Files that got a new content since `clear`, as whoever looks them up finds them once that is committed."""
        files: dict[EntryKey, Found] = {}
        for row in self.tree.changed():
            version = None if row.version_id is None else self.content.new_version(row.version_id)
            if version is not None:
                found = Found(row.id, version.id, None, version.size, version.mtime_ns, version.mode, version.digest)
                files[row.parent_id or 0, row.name] = found
        return files

    def clear(self, *, undone: bool = False) -> None:
        """Forget what was read and staged: the transaction is over, or what was flushed of it was taken back."""
        self._journal.clear()
        self.tree.clear(undone=undone)
        if undone or self._settings.after:
            self._copies = None
        self.content.clear()
        for overlay in self._overlays:
            overlay.clear()

    # -- nodes -------------------------------------------------------------------------------------------------

    def node(self, node_id: int) -> NodeRow | None:
        """A node by its id."""
        if node_id not in self._nodes:
            found = _NODE.one(self._cursor, id=node_id)
            self._nodes.learn(node_id, None if found is None else NodeRow(*found))
        return self._nodes.get(node_id)

    def node_named(self, name: str) -> NodeRow | None:
        """A node by its name."""
        found = _NODE_NAMED.one(self._cursor, name=name)
        if found is not None:
            self._nodes.learn(found[0], NodeRow(*found))
        return next((row for row in self._nodes.rows() if row.name == name), None)

    def drop_node(self, row: NodeRow) -> None:
        """Forget a node that nothing refers to."""
        self._nodes.put(row.id, None)

    def put_node(self, row: NodeRow) -> None:
        """Make or change a node."""
        self._nodes.put(row.id, row)

    # -- records -----------------------------------------------------------------------------------------------

    def request(self, request_id: bytes) -> RequestRow | None:
        """What a mutation with this request id answered."""
        if request_id in self._requests:
            return self._requests.get(request_id)
        found = _REQUEST.one(self._cursor, id=request_id)
        return self._requests.learn(request_id, None if found is None else new_request(found))

    def knows_request(self, request_id: bytes) -> bool:
        """Whether the group has looked this id up, or noted an outcome under it."""
        return request_id in self._requests

    def read_requests(self, ids: Sequence[bytes]) -> None:
        """Read what is known of many request ids at once."""
        if len(ids) > 1:
            found = {row[0]: new_request(row) for row in _REQUESTS_BY_ID.rows(self._cursor, ids)}
            for request_id in ids:
                self._requests.learn(request_id, found.get(request_id))

    def put_request(self, row: RequestRow) -> None:
        """Note what a mutation answered."""
        self._requests.put(row.id, row)

    def old_requests(self, before: int, limit: int) -> Iterable[RequestRow]:
        """The oldest outcomes in the database noted before a time."""
        for found in _OLD_REQUESTS.all(self._cursor, before=before, limit=limit):
            row = self._requests.learn(found[0], new_request(found))
            if row is not None:
                yield row

    def drop_request(self, row: RequestRow) -> None:
        """Forget an outcome."""
        self._requests.put(row.id, None)

    def setting(self, name: str) -> str | None:
        """The value of a setting."""
        if name not in self._settings:
            found = _SETTING.one(self._cursor, name=name)
            self._settings.learn(name, None if found is None else SettingRow(*found))
        row = self._settings.get(name)
        return None if row is None else row.value

    def put_setting(self, name: str, value: str) -> None:
        """Set a setting."""
        self.setting(name)  # an insert or an update: the database knows
        self._settings.put(name, SettingRow(name, value))

    def default_copies(self) -> int:
        """The cluster's own policy. Like directories it stays known beyond the group, until a setting is changed."""
        if self._copies is not None and not self._settings.after:
            return self._copies
        copies = int(self.setting("copies") or COPIES_DEFAULT)
        if not self._settings.after:
            self._copies = copies
        return copies

    def settings_changed(self) -> bool:
        """Whether the group set any."""
        return bool(self._settings.after)

    def put_policy_change(self, entry_id: int, at: int) -> None:
        """What is below an entry may not have the copies of its policy any more."""
        self._policy_change(entry_id)
        self._policy_changes.put(entry_id, PolicyChangeRow(entry_id, at))

    def drop_policy_change(self, entry_id: int, at: int) -> None:
        """Everything has them, as of the change at that time; a later one stays."""
        known = self._policy_change(entry_id)
        if known is not None and known.at == at:
            self._policy_changes.put(entry_id, None)

    def _policy_change(self, entry_id: int) -> PolicyChangeRow | None:
        if entry_id not in self._policy_changes:
            found = _POLICY_CHANGE.one(self._cursor, entry_id=entry_id)
            self._policy_changes.learn(entry_id, None if found is None else PolicyChangeRow(*found))
        return self._policy_changes.get(entry_id)

    def add_credential(self, row: CredentialRow) -> None:
        """A key that opens the cluster."""
        self._credentials.put(row.id, row)

    def add_event(self, row: EventRow) -> None:
        """Something that happened."""
        self._events.put(row.id, row)

    def old_events(self, last: int, limit: int) -> Iterable[EventRow]:
        """The oldest events in the database up to an id."""
        for found in _OLD_EVENTS.all(self._cursor, last=last, limit=limit):
            row = self._events.learn(found[0], EventRow._make(found))
            if row is not None:
                yield row

    def drop_event(self, row: EventRow) -> None:
        """Forget an event."""
        self._events.put(row.id, None)
