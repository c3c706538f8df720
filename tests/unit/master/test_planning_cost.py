"""A round of repair planning costs by the chunks to mend. Counted in steps of the database's machine: no clock."""

from contextlib import closing
from pathlib import Path

import pytest
from bench.catalogs import add_nodes, fill
from bench.planning import planner
from tests.support.catalog import new_database

from dfs_master.catalog import invariants
from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.reader import Reader
from dfs_runtime.clock import ManualClock

MEND = 200


def test_a_round_reads_by_the_chunks_to_mend(tmp_path: Path) -> None:
    """The same 200 chunks among 1,000 and among 60,000: the same work. Twice as many: not more than twice of it."""
    found: dict[int, list[int]] = {}
    for rows in (1_000, 60_000):
        place = tmp_path / str(rows)
        place.mkdir()
        with planner(place, rows=rows, nodes=200, mend_max=MEND, each=1) as made:
            counts = []
            for share in (0, 0.5, 1):
                made.let_die(share)
                counts.append(made.plan(int(MEND * share)).instructions)
            found[rows] = counts
    for few, many in zip(found[1_000], found[60_000], strict=True):
        assert many <= few * 1.05
    nothing, half, whole = found[60_000]
    # 60,000 rows cannot be looked at in fewer steps than that.
    assert nothing < 5_000
    assert half < whole <= nothing + 2.2 * (half - nothing)


def test_seeded_rows_keep_all_rules(tmp_path: Path) -> None:
    """What the benchmarks measure is a catalog as the committer would have left it."""
    path = new_database(tmp_path)
    ids = add_nodes(path, 20, dead=2)
    filled = fill(path, 2_500, staying=ids[2:], dying=ids[:2], mend=60)
    engine = open_engine(path)
    with closing(connect_raw(engine)) as connection, closing(connection.cursor()) as cursor:
        assert invariants.faults(cursor) == []
    with closing(Reader(engine, ManualClock())) as reader:
        assert sum(reader.copies_by_node()[each] for each in ids[:2]) == 60
        assert sum(reader.copies_by_node().values()) == 5_000
        for number in (0, 999, 1_000, 2_499):
            assert reader.stat(filled.path(number))[0].size > 0


def test_a_catalog_needs_nodes_to_lose(tmp_path: Path) -> None:
    """Not a file is written of what cannot be."""
    path = new_database(tmp_path)
    with pytest.raises(ValueError, match="two nodes"):
        fill(path, 10, staying=[1])
    with pytest.raises(ValueError, match="two nodes"):
        fill(path, 10, staying=[1, 2], mend=1)
