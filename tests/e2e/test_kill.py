"""What was acknowledged is there after every kind of death of containers."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster

from dfs_client.api import Dfs

ROLES = ("master", "node-1", "node-2", "node-3")


class Ledger:
    """Files that were acknowledged, and their bytes."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._stored: dict[str, bytes] = {}

    def store(self, dfs: Dfs, count: int) -> None:
        """Upload some more files; what returns is acknowledged."""
        for _ in range(count):
            path = f"/ledger/{len(self._stored)}"
            content = os.urandom(50_000 + 7 * len(self._stored))
            (self._scratch / "source").write_bytes(content)
            dfs.upload(self._scratch / "source", path)
            self._stored[path] = content

    def check(self, dfs: Dfs) -> None:
        """Every one of them is there and equal, and no other."""
        assert {entry.path for entry in dfs.walk("/ledger")} == set(self._stored)
        for path, content in self._stored.items():
            dfs.download(path, self._scratch / "back", force=True)
            assert (self._scratch / "back").read_bytes() == content, path


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty one."""
    return Ledger(tmp_path)


@pytest.mark.parametrize("victims", [("node-2",), ("master",), ROLES], ids=["node", "master", "all"])
def test_killed_containers_come_back_with_everything(
    shared_cluster: DockerCluster, tmp_path: Path, victims: Sequence[str]
) -> None:
    """1. store 2. SIGKILL right after an acknowledgement 3. `docker start` 4. all is there and more can be stored."""
    ledger = Ledger(tmp_path)
    with shared_cluster.client() as dfs:
        ledger.store(dfs, 5)
    shared_cluster.kill(*victims)
    shared_cluster.start_again(*victims)
    with shared_cluster.client() as dfs:
        ledger.check(dfs)
        ledger.store(dfs, 2)
        ledger.check(dfs)
        dfs.remove("/ledger", recursive=True)


def test_one_dead_node_of_three_stops_nobody(shared_cluster: DockerCluster, ledger: Ledger) -> None:
    """While a node is gone, all files are read and new ones are stored on the others."""
    with shared_cluster.client() as dfs:
        ledger.store(dfs, 6)
        shared_cluster.kill("node-1")
        ledger.check(dfs)
        ledger.store(dfs, 3)
        ledger.check(dfs)
    shared_cluster.dfs("start")
    with shared_cluster.client() as dfs:
        ledger.check(dfs)
        dfs.remove("/ledger", recursive=True)


def test_containers_made_anew_over_the_same_volumes(make_cluster: MakeCluster, ledger: Ledger) -> None:
    """`docker rm -f` of everything but the volumes: `dfs start` makes the containers anew, and all is there."""
    cluster = make_cluster("--nodes", "2")
    with cluster.client() as dfs:
        ledger.store(dfs, 6)
    before = {container.id for container in cluster.containers()}
    for container in cluster.containers():
        container.remove(force=True)
    cluster.dfs("start")
    assert before.isdisjoint(container.id for container in cluster.containers())
    with cluster.client() as dfs:
        ledger.check(dfs)
        ledger.store(dfs, 2)
        ledger.check(dfs)


def test_a_polite_end_takes_less_than_ten_seconds(shared_cluster: DockerCluster) -> None:
    """SIGTERM ends every role with exit code 0, and `dfs start` brings the cluster back."""
    for role in ("node-3", "master"):
        container = shared_cluster.container(role)
        began = time.monotonic()
        container.stop(timeout=30)
        assert time.monotonic() - began < 10
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 0
    shared_cluster.dfs("start")
