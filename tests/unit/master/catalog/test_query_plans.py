"""Statements of the hot paths find their rows by an index: no scan of a table, no sort."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dfs_master.catalog import (
    collect_rows,
    reader_batches,
    reader_below,
    reader_chunks,
    reader_cluster,
    reader_inventory,
    reader_moves,
    reader_policies,
    reader_repair,
    reader_tree,
    reader_usage,
)
from dfs_master.catalog.statements import Statement

_STATEMENTS: dict[str, Statement] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": statement
    for module in (
        reader_tree,
        reader_below,
        reader_batches,
        reader_chunks,
        reader_usage,
        reader_repair,
        reader_policies,
        reader_moves,
        collect_rows,
    )
    for name, statement in vars(module).items()
    if isinstance(statement, Statement)
}
_STATEMENTS |= {f"known_chunks.{size}": statement for size, statement in reader_chunks.CHUNKS.items()}
_STATEMENTS |= {
    f"reader_batches.{name}.{size}": statement
    for name in ("CHILDREN", "VERSIONS", "EXTENTS", "CHUNKS")
    for size, statement in getattr(reader_batches, name).items()
}
_STATEMENTS["reader_inventory.copies_on_node"] = reader_inventory.COPIES_ON_NODE
_STATEMENTS |= {f"reader_inventory.known.{size}": each for size, each in reader_inventory.KNOWN_COPIES.items()}
_STATEMENTS |= {f"reader_repair.copies_of.{size}": each for size, each in reader_repair.BY_ID.items()}
_STATEMENTS["counts.short"] = reader_cluster.SHORT
_STATEMENTS["counts.short_by_nodes"] = reader_cluster.SHORT_BY_NODES
_STATEMENTS["counts.unreadable"] = reader_cluster.UNREADABLE

#: Small tables and intermediate results may be scanned; so may an index that holds only the rows looked for.
_MAY_SCAN = (
    "nodes",
    "policy_changes",
    "tree",
    "wanted",
    "256 CONSTANT ROWS",
    "16 CONSTANT ROWS",
    "CONSTANT ROW",
    "removed",
    "anon_1",
    "chunks USING COVERING INDEX ix_chunks_under_replicated",
)


def _plan(database: Path, statement: Statement) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", [1 for _ in statement.names])
        return [detail for *_, detail in rows]


@pytest.mark.parametrize("name", _STATEMENTS)
def test_hot_statements_search_and_never_scan(database: Path, name: str) -> None:
    """The plan names an index, or the row id, for every table."""
    plan = _plan(database, _STATEMENTS[name])
    scans = [step for step in plan if step.startswith("SCAN") and step.removeprefix("SCAN ") not in _MAY_SCAN]
    assert scans == []


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
