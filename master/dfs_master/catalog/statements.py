"""SQL for hot paths: written as SQLAlchemy Core, compiled at its first use, run on the driver's own cursor.

Portable, because Core writes the text; fast, because nothing of SQLAlchemy runs when it is used. Values pass as the
driver gives them (int, str, bytes, None): no type of `models` needs a conversion.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import BindParameter, Select, SelectBase, UpdateBase, bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor, Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import iterate

from dfs_master.catalog.dialect import DIALECT

Row = tuple[Any, ...]
Values = Mapping[str, object]


class Statement:
    """One statement. Immutable, so safe to share between threads; cursors are not.

    Parameters are the names of its `bindparam`s; constants in the expression keep their value unless given anew.
    An `insert(Model)` without values takes all columns of the table by their names.
    """

    __slots__ = ("_bind", "_defaults", "_expression", "names", "sql")

    sql: str
    #: Names in the order of the placeholders; empty where the driver takes names itself.
    names: tuple[str, ...]
    _defaults: dict[str, object]
    _bind: Callable[[Values], Any]

    def __init__(self, expression: SelectBase | UpdateBase, *, dialect: Dialect = DIALECT) -> None:
        self._expression = (expression, dialect)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whichever of the slots
        """Python asks here for a slot that is still empty: it is compiled now. Most statements never are.

        Two threads that come here at once write the same values.
        """
        if name not in _COMPILED:
            raise AttributeError(name)
        compiled = _compile(*self._expression)
        self._bind = _binder(tuple(compiled.positiontup or ())) if compiled.positional else _by_name
        self._defaults = {k: v for k, v in compiled.params.items() if v is not None}
        self.names = tuple(compiled.positiontup or ())
        self.sql = str(compiled)
        return object.__getattribute__(self, name)

    def run(self, cursor: DBAPICursor, **values: object) -> int:
        """Execute; returns how many rows were changed."""
        cursor.execute(self.sql, self._bind(self._defaults | values if self._defaults else values))
        return cursor.rowcount

    def all(self, cursor: DBAPICursor, **values: object) -> list[Row]:
        """Execute and fetch every row."""
        cursor.execute(self.sql, self._bind(self._defaults | values if self._defaults else values))
        return list(cursor.fetchall())

    def one(self, cursor: DBAPICursor, **values: object) -> Row | None:
        """Execute and fetch the first row, or None. The statement is finished: nothing stays open on the cursor."""
        cursor.execute(self.sql, self._bind(self._defaults | values if self._defaults else values))
        rows = cursor.fetchall()
        return rows[0] if rows else None

    def row(self, cursor: DBAPICursor, *values: object) -> Row | None:
        """The same for values in the order of `names`: the fastest way."""
        cursor.execute(self.sql, values)
        rows = cursor.fetchall()
        return rows[0] if rows else None

    def many(self, cursor: DBAPICursor, rows: Iterable[Values]) -> None:
        """Execute once for each row. Does nothing without rows."""
        bind, defaults = self._bind, self._defaults
        bound = [bind(defaults | dict(row)) for row in rows] if defaults else [bind(row) for row in rows]
        if bound:
            cursor.executemany(self.sql, bound)


#: What a statement has when it is compiled.
_COMPILED = frozenset({"_bind", "_defaults", "names", "sql"})


class Batch:
    """A look-up of many keys by statements of a few fixed sizes; the last key is repeated to fill one up.

    `make` gives the statement for so many keys: its last parameters, after those that all keys share.
    """

    __slots__ = ("_compiled", "_make", "_shared")

    _SIZES = (8, 64, 256)

    def __init__(self, make: Callable[[list[BindParameter[Any]]], SelectBase], *shared: str) -> None:
        self._make = make
        self._shared = shared
        self._compiled: dict[int, str] = {}

    @property
    def sql(self) -> str:
        """The smallest statement, for whoever wants to see its plan."""
        return self._sql(self._SIZES[0])

    def _sql(self, size: int) -> str:
        """The statement for so many keys, made when it is first needed."""
        if size not in self._compiled:
            statement = Statement(self._make([bindparam(f"k{number}") for number in range(size)]))
            if statement.names != (*self._shared, *(f"k{number}" for number in range(size))):
                raise ValueError("a batch takes its values in another order than it is given them")
            self._compiled[size] = statement.sql
        return self._compiled[size]

    def rows(self, cursor: DBAPICursor, keys: Sequence[object], *shared: object) -> Iterator[Row]:
        """The rows of all keys. Does nothing without keys."""
        largest = self._SIZES[-1]
        for start in range(0, len(keys), largest):
            some = list(keys[start : start + largest])
            size = next(each for each in self._SIZES if each >= len(some))
            some += some[-1:] * (size - len(some))
            cursor.execute(self._sql(size), (*shared, *some))
            yield from cursor.fetchall()


def _compile(expression: SelectBase | UpdateBase, dialect: Dialect) -> SQLCompiler:
    # Lists of constants (`in_`) are written out now, which needs parameters that may have no value yet; one that is
    # missing at execution is still an error.
    for element in iterate(expression):
        if isinstance(element, BindParameter):
            element.required = False
    compiled = expression.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    if not isinstance(compiled, SQLCompiler):
        raise TypeError(f"not a statement with parameters: {expression}")
    return compiled


def _by_name(values: Values) -> Values:
    return values


def _binder(names: Sequence[str]) -> Callable[[Values], Any]:
    """How the values of one execution become the driver's sequence, at the speed of C."""
    if not names:
        return lambda _: ()
    if len(names) == 1:
        (name,) = names
        return lambda values: (values[name],)
    return itemgetter(*names)


def columns(model: type[DeclarativeBase], row: type[tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """A select of the model's columns in the order of a named tuple's fields, for `row._make`."""
    fields: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
    return select(*(getattr(model, field) for field in fields))
