"""Real clusters of processes: `cluster` for one test, `shared_cluster` for all tests of a module."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.process_cluster import ProcessCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ProcessCluster]:
    """A master and three nodes that this test may kill and stop as it likes."""
    with closing(ProcessCluster(tmp_path / "home", "test", "--nodes", "3")) as made:
        yield made


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    """A master and three nodes for a whole module: leave them running, and use paths of your own."""
    with closing(ProcessCluster(tmp_path_factory.mktemp("shared") / "home", "shared", "--nodes", "3")) as made:
        yield made
