"""A catalog of many files answers as an empty one does. `DFS_MILLION=1000000` makes it a million.

Judged by the steps of SQLite's machine, which do not depend on who else uses this one: a look-up that goes by an index
takes about as many among a million rows as among ten.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.support.catalog import digest_of
from tests.support.writing import Store, commit_files, file_commit, make_directories, open_store, remove, rename

from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.reader import Reader
from dfs_runtime.clock import ManualClock

FILES = int(os.environ.get("DFS_MILLION", "20000"))
_IN_EACH = 1_000

_NUMBERS = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {FILES})"
_SEED = (
    f"{_NUMBERS} INSERT INTO entries SELECT 1000 + i, 1, 'd' || i, 'directory', NULL, 493, 0, NULL"
    f" FROM n WHERE i < {max(1, FILES // _IN_EACH)}",
    f"{_NUMBERS} INSERT INTO versions SELECT 3000000 + i, 1000000 + i, 1000, randomblob(32), 0, 420, 0, NULL FROM n",
    f"{_NUMBERS} INSERT INTO entries SELECT 1000000 + i, 1000 + i / {_IN_EACH}, 'f' || i, 'file', 3000000 + i,"
    " NULL, NULL, NULL FROM n",
    f"{_NUMBERS} INSERT INTO chunks (id, digest, size, copies_wanted, copies_good, unreferenced_since, state)"
    " SELECT 5000000 + i, randomblob(32), 1000, 2, 2, NULL, 'stored' FROM n",
    f"{_NUMBERS} INSERT INTO extents SELECT 3000000 + i, 0, 5000000 + i, 0, 1000 FROM n",
    f"{_NUMBERS} INSERT INTO replicas (chunk_id, node_id, generation, state, stored_at, verified_at)"
    " SELECT 5000000 + i, node.id, 1, 'good', 0, 0 FROM n CROSS JOIN (SELECT 1 AS id UNION ALL SELECT 2) node",
    f"{_NUMBERS} INSERT INTO requests SELECT randomblob(16), x'00', i FROM n",
    "UPDATE settings SET value = '9000000' WHERE name = 'next_id'",
    "PRAGMA wal_checkpoint(TRUNCATE)",
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """A catalog with hardly anything in it, and a large one."""
    with open_store(tmp_path_factory.mktemp("small")) as small, open_store(tmp_path_factory.mktemp("large")) as large:
        with closing(connect_raw(open_engine(large.path))) as connection:
            for sql in _SEED:
                connection.cursor().execute(sql)
        small.run(make_directories("/d0"))
        small.run(*(commit_files(file_commit(f"/d0/f{n}", f"{n}")) for n in range(_IN_EACH)))
        yield small, large


def _steps(connection: Any, work: Callable[[], object]) -> int:
    """How many steps SQLite's machine took."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 0)
    return count


_READS: dict[str, Callable[[Reader], object]] = {
    "stat": lambda reader: reader.stat("/d0/f7"),
    "look up": lambda reader: reader.look_up(1, "d0"),
    "first page": lambda reader: reader.list_page("/d0", "", 100),
    "later page": lambda reader: reader.list_page("/d0", "f500", 100, copies=True),
    "open": lambda reader: reader.open_version("/d0/f7"),
    "policy": lambda reader: reader.policy("/d0/new"),
    "known chunks": lambda reader: reader.known_chunks([digest_of(str(n)) for n in range(300)]),
}


@pytest.mark.parametrize("what", _READS)
def test_reads_cost_the_same(stores: tuple[Store, Store], what: str) -> None:
    """Within a factor of 1.5, whatever else is in the catalog."""
    steps = []
    for store in stores:
        with closing(Reader(open_engine(store.path), ManualClock())) as reader:
            steps.append(_steps(reader._connection, lambda reader=reader: _READS[what](reader)))  # type: ignore[misc]
    assert steps[0] > 0
    assert steps[1] <= 1.5 * steps[0] + 10


@pytest.mark.parametrize("many", [1, 300])
def test_changes_cost_the_same(stores: tuple[Store, Store], many: int) -> None:
    """A commit, a rename and a removal, one and hundreds at a time."""
    steps: dict[str, list[int]] = {"commit": [], "rename": [], "remove": []}
    for store in stores:
        paths = [f"/d0/new{n}" for n in range(many)]
        mutations = {
            "commit": [commit_files(*(file_commit(path, f"{path} {many}") for path in paths))],
            "rename": [rename(path, f"{path}-moved") for path in paths],
            "remove": [remove(f"{path}-moved") for path in paths],
        }
        for name, group in mutations.items():
            outcomes: list[object] = []
            connection = store.committer._connection
            steps[name].append(_steps(connection, lambda s=store, g=group, o=outcomes: o.extend(s.run(*g))))  # type: ignore[misc]
            assert not [each for each in outcomes if isinstance(each, Exception)]
    for name, (small, large) in steps.items():
        assert large <= 1.5 * small + 100, name


def test_the_large_catalog_is_large(stores: tuple[Store, Store]) -> None:
    """Or the other tests would compare nothing."""
    assert stores[1].one("SELECT count(*) FROM entries WHERE kind = 'file'") >= FILES
    assert stores[1].one("SELECT count(*) FROM replicas") >= 2 * FILES
