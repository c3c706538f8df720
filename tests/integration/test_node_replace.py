"""A disk was replaced: the node refuses the empty directory until the operator says that it is meant."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.polling import poll_for
from tests.support.process_cluster import ProcessCluster

CONTENT = bytes(range(256)) * 2_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ProcessCluster]:
    """Three nodes as processes; healing is quick."""
    made = ProcessCluster(tmp_path / "home", "replaced", "--nodes", "3", "--set", "safe_mode_seconds=1")
    try:
        yield made
    finally:
        made.close()


def test_a_wiped_volume(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Wiped under a dead node: `start` says what to do, `node replace` does it, and all copies come back."""
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    with cluster.client() as dfs:
        for number in range(4):
            dfs.upload(source, f"/f{number}")
        before = {node.name: node for node in cluster.spec.nodes}
        cluster.kill("node-2")
        volume = cluster.paths.volume("node-2")
        shutil.rmtree(volume)
        refused = cluster.dfs("start", check=False)
        assert refused.returncode != 0
        assert "dfs node replace" in refused.stderr
        assert not (volume / "identity").exists(), "an empty directory became a volume by itself"

        asked = cluster.dfs("node", "replace", "node-2", check=False)
        assert asked.returncode != 0
        assert "--yes" in asked.stderr
        cluster.dfs("node", "replace", "node-2", "--yes")
        after = {node.name: node for node in cluster.spec.nodes}
        assert after["node-2"].id not in {None, before["node-2"].id}
        assert {after[name].id for name in ("node-1", "node-3")} == {before[name].id for name in ("node-1", "node-3")}

        poll_for("all copies", lambda: cluster.status()["under_replicated"] == 0, seconds=60.0, every=1.0)
        poll_for("the old row to go", lambda: len(names(cluster)) == 3, seconds=60.0, every=1.0)
        target = tmp_path / "target"
        dfs.download("/f3", target)
        assert target.read_bytes() == CONTENT
    # A verifying pass is asked for by name, and comes to an end.
    cluster.dfs("node", "verify", "node-1")
    poll_for("a pass of node-1", lambda: scrubbed(cluster, "node-1"), seconds=60.0, every=1.0)
    cluster.dfs("db", "accept")
    cluster.dfs_client("upload", str(source), "/later")


def names(cluster: ProcessCluster) -> list[str]:
    """Of the nodes that the master has on record."""
    nodes = cluster.status()["nodes"]
    assert isinstance(nodes, list)
    return [node["name"] for node in nodes]


def scrubbed(cluster: ProcessCluster, name: str) -> object:
    """When the node's last full pass ended."""
    nodes = cluster.status()["nodes"]
    assert isinstance(nodes, list)
    return next(node["scrubbed_at"] for node in nodes if node["name"] == name)
