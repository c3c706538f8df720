"""Statements find their rows by an index: no scan of a table, and where the order matters no sort.

Every statement of the catalog is looked at: whoever adds one either finds its rows by an index, or says here why not.
"""

import importlib
import pkgutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dfs_master import catalog
from dfs_master.catalog.rows import TableWriter
from dfs_master.catalog.statements import Batch, Statement

#: Small tables and intermediate results may be scanned; so may an index that holds only the rows looked for.
_MAY_SCAN = (
    "nodes",
    "tree",
    "wanted",
    "256 CONSTANT ROWS",
    "16 CONSTANT ROWS",
    "CONSTANT ROW",
    "removed",
    "anon_1",
    "chunks USING COVERING INDEX ix_chunks_under_replicated",
)

#: Statements that read a whole table, each for a reason: they are asked seldom, and never on the I/O thread.
_READ_ALL = {
    "collect_space.BYTES": "sums over all, for df",
    "collect_space.ANY_DELETING": "stops at the first",
    "reader_cluster.NODES": "few rows",
    "reader_cluster.CREDENTIALS": "few rows",
    "reader_cluster.SETTINGS": "few rows",
    "reader_cluster.COPIES_BY_NODE": "counts over all, for status",
    "reader_cluster.CURRENT": "counts over all, for status",
    "reader_cluster.NEWEST_EVENTS": "as many as are kept, every five minutes",
    "reader_policies.FIRST": "few rows",
}


def _statements_of(value: object) -> Iterator[tuple[str, str]]:
    """What a module's variable holds: a distinguishing word, and the text."""
    if isinstance(value, Statement):
        yield "", value.sql
    elif isinstance(value, Batch):
        yield from ((f".{size}", value._sql(size)) for size in Batch._SIZES)
    elif isinstance(value, dict):
        yield from ((f".{key}", each.sql) for key, each in value.items() if isinstance(each, Statement))
    elif isinstance(value, TableWriter):
        yield from ((f".{n}", each.sql) for n, each in enumerate((value._update, value._delete)) if each is not None)


_STATEMENTS: dict[str, str] = {
    f"{info.name.rpartition('.')[2]}.{name}{word}": sql
    for info in pkgutil.walk_packages(catalog.__path__, f"{catalog.__name__}.")
    for name, value in vars(importlib.import_module(info.name)).items()
    for word, sql in _statements_of(value)
}


def _plan(database: Path, sql: str) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?"))
        return [detail for *_, detail in rows]


@pytest.mark.parametrize("name", [name for name in _STATEMENTS if name not in _READ_ALL])
def test_statements_search_and_never_scan(database: Path, name: str) -> None:
    """The plan names an index, or the row id, for every table."""
    plan = _plan(database, _STATEMENTS[name])
    scans = [step for step in plan if step.startswith("SCAN") and step.removeprefix("SCAN ") not in _MAY_SCAN]
    assert scans == []


def test_nothing_is_paged_by_counting_rows() -> None:
    """A page begins behind the last key of the one before it; SQL's OFFSET would read all pages before it."""
    sources = Path(catalog.__file__).parent.rglob("*.py")
    assert [source.name for source in sources if ".offset(" in source.read_text()] == []


def test_the_exceptions_exist_and_need_to_be_exceptions(database: Path) -> None:
    """A reason for a statement that is gone, or that has its index by now, would hide the next one of its name."""
    assert set(_READ_ALL) <= set(_STATEMENTS)
    for name in _READ_ALL:
        assert [step for step in _plan(database, _STATEMENTS[name]) if step.startswith("SCAN")], name


def test_the_hot_statements_are_among_them() -> None:
    """The search for statements finds what it is for."""
    hot = {"reader_tree.FOUND", "reader_tree.PAGE", "staged_tree._BY_NAME", "rows.ENTRIES.0"}
    hot |= {"staged_content._CHUNK", "reader_chunks.CHUNKS.256", "staging._REQUEST"}
    assert hot | {"staged_tree._BY_NAMES.8", "staged_tree._BY_NAMES.256"} <= set(_STATEMENTS)


@pytest.mark.parametrize(
    "name",
    [
        "reader_tree.PAGE",
        "reader_below.BELOW",
        "reader_chunks.EXTENTS",
        "reader_chunks.LENGTHS",
        "reader_repair.ON_NODE",
        "reader_repair.SHORT",
        "reader_policies.CHILDREN",
        "reader_policies.SLICES",
    ],
)
def test_ordered_reads_come_in_the_order_of_an_index(database: Path, name: str) -> None:
    """A page of a directory of a million names costs as much as its rows."""
    assert not [step for step in _plan(database, _STATEMENTS[name]) if "TEMP B-TREE" in step]
