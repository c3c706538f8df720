"""Ids for new rows: reserved by the thousand in the database, counted in memory."""

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog.fresh import FIRST_FREE_ID
from dfs_master.catalog.models import Setting
from dfs_master.catalog.statements import Statement

#: Ids are 63 bit, so a start that throws the rest of a block away costs nothing.
BLOCK = 10_000

_name = Setting.__table__.c.name
_READ = Statement(select(Setting.__table__.c.value).where(_name == bindparam("name")))
_WRITE = Statement(update(Setting).where(_name == bindparam("name")).values(value=bindparam("value")))
_CREATE = Statement(insert(Setting))
_value = Setting.__table__.c.value
_other = Setting.__table__.alias("other")
_STEP = Statement(
    update(Setting)
    .where(
        _name == bindparam("name"),
        _value == bindparam("before"),
        select(_other.c.value).where(_other.c.name == bindparam("other")).scalar_subquery() == bindparam("holds"),
    )
    .values(value=bindparam("after"))
)
if _STEP.names != ("after", "name", "before", "other", "holds"):
    raise ValueError("a hot statement takes its values in another order than it is given them")


class Counters:
    """Whole numbers among the settings, read and written inside the caller's transaction. Used by one thread."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: DBAPICursor) -> None:
        self._cursor = cursor

    def read(self, name: str, default: int = 0) -> int:
        """The number as it stands."""
        row = _READ.one(self._cursor, name=name)
        return default if row is None else int(row[0])

    def advance(self, name: str, by: int = 1, default: int = 0) -> int:
        """Add to the number; returns what it was before."""
        before = self.read(name, default)
        if _WRITE.run(self._cursor, name=name, value=str(before + by)) == 0:
            _CREATE.run(self._cursor, name=name, value=str(before + by))
        return before

    def step(self, name: str, before: int, *, while_other: str, is_at: int) -> bool:
        """Count one up from a known number, where another stands where it should; False: one of them does not."""
        self._cursor.execute(_STEP.sql, (str(before + 1), name, str(before), while_other, str(is_at)))
        return self._cursor.rowcount == 1


class IdBlocks:
    """Hands out ids of `settings.next_id`, one sequence for all tables.

    A block is reserved in the transaction that first needs it, so it is this process's own only when that
    transaction commits: whoever ends a transaction calls `keep` or `drop`. Used by the committer's thread.
    """

    __slots__ = ("_block", "_counters", "_end", "_kept", "_next")

    def __init__(self, counters: Counters, block: int = BLOCK) -> None:
        self._counters = counters
        self._block = block
        self._next = 0
        self._end = 0
        self._kept = True

    def take(self) -> int:
        """A number that no row has had before."""
        if self._next == self._end:
            self._next = self._counters.advance("next_id", self._block, FIRST_FREE_ID)
            self._end = self._next + self._block
            self._kept = False
        self._next += 1
        return self._next - 1

    def skip(self, count: int) -> int:
        """Never give out the next `count` numbers, nor what is left of the block in hand; returns the first of them."""
        first = self._counters.advance("next_id", count, FIRST_FREE_ID)
        self._next = self._end = 0
        self._kept = True
        return first

    def keep(self) -> None:
        """The transaction is durable, and the block with it."""
        self._kept = True

    def drop(self) -> None:
        """Forget a block that this transaction reserved: it was perhaps never written."""
        if not self._kept:
            self._next = self._end = 0
            self._kept = True
