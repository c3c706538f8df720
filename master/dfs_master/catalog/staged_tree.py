"""Entries as a group of mutations sees them."""

from collections.abc import Iterable, Iterator

from sqlalchemy import bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.models import ROOT_ENTRY_ID, Entry
from dfs_master.catalog.overlay import Journal, Overlay
from dfs_master.catalog.rows import ENTRIES, EntryRow, new_entry
from dfs_master.catalog.statements import Batch, Statement
from dfs_wire.messages import EntryKind

#: Parent and name of an entry: what a cache of entries goes by. The parent of the root counts as 0.
EntryKey = tuple[int, str]
#: Stands among changed names for the settings of the cluster: its own policy is one of them.
SETTINGS_KEY: EntryKey = (-1, "")
_ROOT_KEY: EntryKey = (0, "")

#: Directories that are remembered from group to group.
_KEPT_MAX = 4_096
_DIRECTORY = EntryKind.DIRECTORY.value

_TABLE = Entry.__table__
_BY_ID = Statement(select(_TABLE).where(_TABLE.c.id == bindparam("id")))
_BY_NAME = Statement(
    select(_TABLE).where(_TABLE.c.parent_id == bindparam("parent_id"), _TABLE.c.name == bindparam("name"))
)
_BY_NAMES = Batch(
    lambda names: select(_TABLE).where(_TABLE.c.parent_id == bindparam("parent_id"), _TABLE.c.name.in_(names)),
    "parent_id",
)
if _BY_NAME.names != ("parent_id", "name"):
    raise ValueError("a hot statement takes its values in another order than it is given them")
_CHILDREN = Statement(
    select(_TABLE).where(_TABLE.c.parent_id == bindparam("parent_id")).order_by(_TABLE.c.name).limit(bindparam("limit"))
)


class StagedTree:
    """The entries that a group read and what it made of them. Used by the committer's thread.

    Directories that it read stay known beyond the group, until any is changed: nobody else writes, and the next
    requests lie in the same few.
    """

    __slots__ = ("_cursor", "_journal", "_kept", "_names", "_rows", "_stale", "_touched")

    def __init__(self, cursor: DBAPICursor, journal: Journal) -> None:
        self._cursor = cursor
        self._journal = journal
        self._rows: Overlay[int, EntryRow] = Overlay(journal)
        #: parent -> name -> id; None for a name that is known to be free.
        self._names: dict[int, dict[str, int | None]] = {}
        self._touched: dict[EntryKey, None] = {}
        #: Directories as the database holds them.
        self._kept: dict[EntryKey, EntryRow] = {}
        #: A directory was changed since: another look is needed when this group is over.
        self._stale = False

    def root(self) -> EntryRow | None:
        """The directory `/`."""
        row = self._rows.get(ROOT_ENTRY_ID)
        if row is not None:
            return row
        kept = self._kept.get(_ROOT_KEY)
        if kept is not None:
            return self._rows.learn(ROOT_ENTRY_ID, kept)
        row = self.entry(ROOT_ENTRY_ID)
        if row is not None:
            self._kept[_ROOT_KEY] = row
        return row

    def entry(self, entry_id: int) -> EntryRow | None:
        """An entry by its id."""
        if entry_id not in self._rows:
            found = _BY_ID.one(self._cursor, id=entry_id)
            self._rows.learn(entry_id, None if found is None else new_entry(found))
        return self._rows.get(entry_id)

    def child(self, parent_id: int, name: str) -> EntryRow | None:
        """The entry of that name in a directory."""
        names = self._names.setdefault(parent_id, {})
        if name in names:
            entry_id = names[name]
            return None if entry_id is None else self._rows.get(entry_id)
        if self._rows.is_new(parent_id):
            return None
        kept = self._kept.get((parent_id, name))
        if kept is not None:
            return self._learn(kept)
        found = _BY_NAME.row(self._cursor, parent_id, name)
        if found is None:
            names[name] = None
            return None
        row = self._learn(new_entry(found))
        if row.kind == _DIRECTORY:
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            self._kept[parent_id, name] = row
        return row

    def read_names(self, parent_id: int, names: Iterable[str]) -> None:
        """Read the entries of many names in a directory at once."""
        known = self._names.setdefault(parent_id, {})
        if self._rows.is_new(parent_id):
            return
        wanted = [name for name in dict.fromkeys(names) if name not in known]
        for found in _BY_NAMES.rows(self._cursor, wanted, parent_id):
            self._learn(new_entry(found))
        for name in wanted:
            known.setdefault(name, None)

    def has_children(self, parent_id: int) -> bool:
        """Whether a directory holds anything."""
        return bool(self.children(parent_id, 1))

    def children(self, parent_id: int, limit: int) -> list[EntryRow]:
        """At most `limit` of the entries in a directory, in no particular order."""
        names = self._names.setdefault(parent_id, {})
        if not self._rows.is_new(parent_id):
            # Names that the group took away are still in the database: read as many more.
            gone = sum(entry_id is None for entry_id in names.values())
            for found in _CHILDREN.all(self._cursor, parent_id=parent_id, limit=limit + gone):
                row = new_entry(found)
                if row.name not in names:
                    self._learn(row)
        known = (self._rows.get(entry_id) for entry_id in names.values() if entry_id is not None)
        return [row for row, _ in zip((row for row in known if row is not None), range(limit), strict=False)]

    def put(self, row: EntryRow) -> None:
        """Make an entry, or change, move or rename it."""
        before = self._rows.get(row.id)
        if before is not None and (before.parent_id, before.name) != (row.parent_id, row.name):
            self._set_name(before, None)
        self._set_name(row, row.id)
        self._rows.put(row.id, row)
        if row.kind == _DIRECTORY:
            self._stale = True

    def drop(self, row: EntryRow) -> None:
        """Remove an entry. Whoever drops a directory has seen that it is empty."""
        self._set_name(row, None)
        self._rows.put(row.id, None)
        if row.kind == _DIRECTORY:
            self._stale = True

    def take_touched(self) -> tuple[EntryKey, ...]:
        """The names that changed since the last call; some perhaps by a request that was refused in the end."""
        touched = tuple(self._touched)
        self._touched.clear()
        return touched

    def changed(self) -> Iterator[EntryRow]:
        """The entries that the group made or changed, as they are now."""
        return (row for _, row in self._rows.items())

    def flush(self) -> None:
        """Write the changes: names are freed before they are taken, parents come before what lies in them.

        Some orders of several requests fit no order of statements (two entries swap their names). The database
        refuses those, and the committer takes the requests one by one.
        """
        if not self._rows.after:
            return
        inserted, updated, deleted = self._rows.split()
        moved = [row for row in updated if row.parent_id is not None and self._rows.is_new(row.parent_id)]
        changed = [row for row in updated if row not in moved] if moved else updated
        ENTRIES.delete(self._cursor, deleted)
        ENTRIES.update(self._cursor, changed)
        ENTRIES.insert(self._cursor, inserted)
        ENTRIES.update(self._cursor, moved)

    def clear(self, *, undone: bool = False) -> None:
        """Forget the group; `undone`: what it wrote was taken back, so what was read since may never have been."""
        self._rows.clear()
        self._names.clear()
        self._touched.clear()
        if self._stale or undone:
            self._kept.clear()
            self._stale = False

    def _learn(self, found: EntryRow) -> EntryRow:
        """Note a row of the database under a name that nobody in the group has touched."""
        self._rows.learn(found.id, found)
        self._names.setdefault(found.parent_id or 0, {})[found.name] = found.id
        return found

    def _set_name(self, row: EntryRow, entry_id: int | None) -> None:
        parent_id = row.parent_id or 0
        self._touched[parent_id, row.name] = None
        self._journal.set(self._names.setdefault(parent_id, {}), row.name, entry_id)
