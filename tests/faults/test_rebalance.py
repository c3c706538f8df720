"""A fourth node joins three that are half full: copies move to it until all are about as full, two of each at any time.

`DFS_REBALANCE_MIB` sets how large each volume is (128).
"""

import io
import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.faults import FaultCluster
from tests.support.polling import poll_for
from tests.support.small_disks import MIB, small_disk

from dfs_client.api import Dfs, connect

VOLUME_MIB = int(os.environ.get("DFS_REBALANCE_MIB", "128"))
FILE_MIB = 2
#: Two copies of so many files fill three volumes by four tenths.
FILES = VOLUME_MIB * 3 * 4 // 10 // (2 * FILE_MIB)
#: Moving a third of what is stored, at 2 MiB/s on the worst of machines, and the trimming behind it.
SECONDS = 60 + FILES * FILE_MIB / 3
#: `rebalance_percent` of the settings, and what one file more or less makes.
SPREAD = 0.05 + FILE_MIB / VOLUME_MIB


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    """Four nodes with volumes of their own; the fourth does not run yet."""
    with ExitStack() as parts:
        names = [f"node-{number}" for number in range(1, 5)]
        volumes = {name: parts.enter_context(small_disk(tmp_path / name, VOLUME_MIB * MIB)) for name in names}
        made = parts.enter_context(FaultCluster(tmp_path / "cluster", nodes=4, volumes=volumes))
        made.initialise()
        made.master.start()
        for name in names[:3]:
            made.nodes[name].start()
        made.await_live(3)
        yield made


def fullness(cluster: FaultCluster) -> dict[str, float]:
    """How full each node says its volume is."""
    rows = cluster.rows("SELECT name FROM nodes ORDER BY name")
    used = {}
    for name in (row["name"] for row in rows):
        chunks = [path for path in (cluster.volumes[name] / "chunks").rglob("*") if path.is_file()]
        used[name] = sum(path.stat().st_blocks * 512 for path in chunks if path.exists()) / (VOLUME_MIB * MIB)
    return used


def fewest_copies(cluster: FaultCluster) -> int:
    """Of any slice of a current file, by the database's own view."""
    query = "SELECT count(*) AS copies FROM file_replicas WHERE state = 'good' GROUP BY path, ordinal"
    return min((row["copies"] for row in cluster.rows(query)), default=2)


def rebalance(operator: Dfs) -> str:
    """What `dfs rebalance status` is told."""
    return operator.admin.repair_status().rebalance


@pytest.mark.timeout(600)
def test_a_new_node_takes_its_share(cluster: FaultCluster) -> None:
    """Paused and resumed on the way; never below two copies; every file is equal at the end."""
    contents = {f"/f{number}": random.Random(number).randbytes(FILE_MIB * MIB) for number in range(FILES)}
    fewest: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            fewest.append(fewest_copies(cluster))

    watcher = threading.Thread(target=watch)
    operator = connect(master=cluster.addresses["master"], key=cluster.keys["admin_key"], environ={})
    with operator, cluster.client() as dfs:
        for path, data in contents.items():
            dfs.upload(io.BytesIO(data), path)
        before = fullness(cluster)
        assert min(before.values()) > 0.2
        watcher.start()
        try:
            operator.admin.pause_rebalance(paused=True)
            cluster.nodes["node-4"].start()
            cluster.await_live(4)
            poll_for("the pause", lambda: rebalance(operator) == "paused", seconds=30)
            assert fullness(cluster)["node-4"] < 0.01
            operator.admin.pause_rebalance(paused=False)
            poll_for("even fullness", lambda: rebalance(operator) == "even", seconds=SECONDS)

            # "Even" counts the moves under way and the surplus copies that are to be trimmed as if both were done.
            def is_done() -> bool:
                full = fullness(cluster)
                mean = sum(full.values()) / len(full)
                surplus = sum(full.values()) - sum(before.values())
                return surplus < FILE_MIB / VOLUME_MIB / 2 and all(abs(each - mean) <= SPREAD for each in full.values())

            poll_for("every move to be made and every surplus copy to go", is_done, seconds=SECONDS)
        finally:
            stop.set()
            watcher.join()
        print(f"\nfullness before {before}, after {fullness(cluster)}")
        assert len(fewest) > 3
        assert min(fewest) >= 2
        for path, data in contents.items():
            target = io.BytesIO()
            dfs.download(path, target)
            assert target.getvalue() == data
