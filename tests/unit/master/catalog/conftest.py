"""A fresh catalog for each test, a writer of rows and a reader."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.catalog import CatalogBuilder, new_database
from tests.support.writing import Store, open_store

from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.reader import Reader
from dfs_runtime.clock import ManualClock


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """An empty catalog."""
    return new_database(tmp_path)


@pytest.fixture
def build(database: Path) -> Iterator[CatalogBuilder]:
    """Rows go in here."""
    with CatalogBuilder(database) as builder:
        yield builder


@pytest.fixture
def reader_clock() -> ManualClock:
    """The time of `reader`."""
    return ManualClock()


@pytest.fixture
def reader(database: Path, reader_clock: ManualClock) -> Iterator[Reader]:
    """What a handler reads through."""
    with closing(Reader(open_engine(database), reader_clock)) as reader:
        yield reader


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A committer without a thread over an empty catalog with three nodes."""
    with open_store(tmp_path) as store:
        yield store
