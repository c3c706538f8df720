"""Pages of a whole tree, each directory before what is in it: one round trip for a thousand names, however they lie."""

from collections.abc import Iterator, Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog import models
from dfs_master.catalog.models import Version
from dfs_master.catalog.reader_tree import CHILD, LISTED, directory_entry, file_entry
from dfs_master.catalog.rows import EntryRow
from dfs_master.catalog.statements import Row, Statement
from dfs_wire.messages import Entry, EntryKind

#: Rows of one directory that are read ahead: what is below the first of them may fill the page.
_ROWS_AHEAD = 256

BELOW = Statement(
    select(models.Entry.id, *LISTED)
    .outerjoin(Version, Version.id == models.Entry.version_id)
    .where(models.Entry.parent_id == bindparam("parent_id"), models.Entry.name > bindparam("after"))
    .order_by(models.Entry.name)
    .limit(bindparam("limit"))
)


def page_below(
    cursor: DBAPICursor, top: EntryRow, path: str, after: Sequence[str], limit: int
) -> tuple[list[Entry], bool]:
    """Up to `limit` entries of a whole tree, each directory before what is in it, and whether there are more.

    The page begins behind the entry that `after` names below the top, wherever that would stand if it is gone.
    """
    waiting = _resume(cursor, top, path, after)
    page: list[Entry] = []
    while waiting and len(page) <= limit:
        directory = waiting[-1]
        row = directory.next_row(cursor)
        if row is None:
            waiting.pop()
            continue
        entry_id, name, kind, mode, mtime_ns, version_id, *version = row
        here = directory.prefix + name
        if kind == EntryKind.DIRECTORY:
            page.append(directory_entry(here, mode, mtime_ns))
            waiting.append(_Directory(entry_id, here + "/", ""))
        else:
            page.append(file_entry(here, version_id, version))
    return page[:limit], len(page) > limit


class _Directory:
    """One directory that is being listed, from the first name behind `after`. Used by one thread."""

    __slots__ = ("_after", "_id", "_rows", "_whole", "prefix")

    def __init__(self, entry_id: int, prefix: str, after: str) -> None:
        self.prefix = prefix
        self._id = entry_id
        self._after = after
        self._rows: Iterator[Row] = iter(())
        self._whole = False

    def next_row(self, cursor: DBAPICursor) -> Row | None:
        """The next entry, None at the end."""
        row = next(self._rows, None)
        if row is None and not self._whole:
            rows = BELOW.all(cursor, parent_id=self._id, after=self._after, limit=_ROWS_AHEAD)
            self._whole = len(rows) < _ROWS_AHEAD
            self._rows = iter(rows)
            row = next(self._rows, None)
        if row is not None:
            self._after = row[1]
        return row


def _resume(cursor: DBAPICursor, top: EntryRow, path: str, after: Sequence[str]) -> list[_Directory]:
    """The directories that are unfinished where a page ended, the innermost last."""
    directory, prefix = top, path.rstrip("/") + "/"
    waiting: list[_Directory] = []
    for name in after:
        waiting.append(_Directory(directory.id, prefix, name))
        rows = CHILD.all(cursor, parent_id=directory.id, name=name)
        if not rows:
            return waiting
        directory, prefix = EntryRow._make(rows[0]), f"{prefix}{name}/"
        if directory.kind != EntryKind.DIRECTORY:
            return waiting
    waiting.append(_Directory(directory.id, prefix, ""))
    return waiting
