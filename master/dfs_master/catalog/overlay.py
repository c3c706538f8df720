"""What a group of mutations makes of one table before anything is written: plain dictionaries that can step back."""

from collections.abc import Hashable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

_ABSENT: Any = object()


class Journal:
    """Remembers what dictionaries held, so that a refused request leaves no trace. Used by one thread."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        #: Dictionary, key, and what was there.
        self.steps: list[tuple[dict[Any, Any], Any, Any]] = []

    def set(self, target: dict[K, R], key: K, value: R) -> None:
        """`target[key] = value`, to be taken back by `undo`."""
        self.steps.append((target, key, target.get(key, _ABSENT)))
        target[key] = value

    def mark(self) -> int:
        """A point to step back to."""
        return len(self.steps)

    def undo(self, mark: int) -> None:
        """Step back to a mark."""
        while len(self.steps) > mark:
            target, key, old = self.steps.pop()
            if old is _ABSENT:
                del target[key]
            else:
                target[key] = old

    def clear(self) -> None:
        """Forget all steps; marks made before mean nothing any more."""
        self.steps.clear()


class Change(NamedTuple, Generic[R]):
    """What a group did to one row: inserted (`before` is None), deleted (`after` is None) or changed it."""

    before: R | None
    after: R | None


class Split(NamedTuple, Generic[R]):
    """What a group did to a table, by the statement that it takes. Of a deleted row it is what the database held."""

    inserted: list[R]
    updated: list[R]
    deleted: list[R]


class Overlay(Generic[K, R]):
    """One table as a group sees it: the rows that it read, and what it made of them. Rows are immutable values.

    Used by one thread.
    """

    __slots__ = ("_before", "_steps", "after")

    def __init__(self, journal: Journal) -> None:
        self._steps = journal.steps
        self._before: dict[K, R | None] = {}
        #: What the group set; None where it deleted. Changed by `put` only.
        self.after: dict[K, R | None] = {}

    def __contains__(self, key: K) -> bool:
        return key in self.after or key in self._before

    def get(self, key: K) -> R | None:
        """The row as the group sees it. None: there is none, or nobody has read it yet (see `in`)."""
        row = self.after.get(key, _ABSENT)
        return self._before.get(key) if row is _ABSENT else row

    def learn(self, key: K, row: R | None) -> R | None:
        """Note what the database holds, and give the row as the group sees it."""
        before = self._before.setdefault(key, row)
        return self.after.get(key, before)

    def put(self, key: K, row: R | None) -> None:
        """Set the row; None deletes it. A key that was never learnt is new."""
        # As `Journal.set` does it: every change of every row comes through here.
        self._steps.append((self.after, key, self.after.get(key, _ABSENT)))
        self.after[key] = row

    def is_new(self, key: K) -> bool:
        """Whether the group made this row, so that nothing in the database can refer to it."""
        return self.after.get(key) is not None and self._before.get(key) is None

    def rows(self) -> Iterator[R]:
        """All rows that the group knows of and that exist."""
        for key in self._before.keys() | self.after.keys():
            row = self.get(key)
            if row is not None:
                yield row

    def items(self) -> Iterator[tuple[K, R]]:
        """What the group set, by key, deletions left out."""
        return ((key, row) for key, row in self.after.items() if row is not None)

    def changes(self) -> Iterator[Change[R]]:
        """The rows that differ from the database, in the order in which they were first set."""
        for key, after in self.after.items():
            before = self._before.get(key)
            if before != after:
                yield Change(before, after)

    def split(self) -> Split[R]:
        """The same changes, sorted out."""
        split: Split[R] = Split([], [], [])
        read = self._before.get
        for key, after in self.after.items():
            before = read(key)
            if before is None:
                if after is not None:
                    split.inserted.append(after)
            elif after is None:
                split.deleted.append(before)
            elif before != after:
                split.updated.append(after)
        return split

    def clear(self) -> None:
        """Forget everything."""
        self._before.clear()
        self.after.clear()
