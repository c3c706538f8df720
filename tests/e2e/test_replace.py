"""A node's disk is gone for good, on a real engine: what was stored gets its copies again on a new volume."""

from pathlib import Path

from tests.e2e.conftest import MakeCluster
from tests.support.polling import poll_for

CONTENT = bytes(range(256)) * 2_000
NODE = "node-2"


def test_a_volume_that_was_removed(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """1. The container dies and its volume is removed. 2. `start` refuses to take an empty one for it, and says what
    to do. 3. `node replace` makes it anew. 4. All copies come back, all files are equal, the old one is off the list.
    """
    cluster = make_cluster("--nodes", "3", "--set", "safe_mode_seconds=1")
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    with cluster.client() as dfs:
        for number in range(6):
            dfs.upload(source, f"/f{number}")
    before = {node.name: node.id for node in cluster.spec.nodes}
    cluster.kill(NODE)
    cluster.container(NODE).remove(v=True, force=True)
    cluster.engine.volumes.get(cluster.volume(NODE)).remove()

    refused = cluster.dfs("start", check=False)
    assert refused.returncode != 0
    assert "dfs node replace" in refused.stderr

    cluster.dfs("node", "replace", NODE, "--yes")
    after = {node.name: node.id for node in cluster.spec.nodes}
    assert after[NODE] not in {None, before[NODE]}
    assert {name: number for name, number in after.items() if name != NODE} == {
        name: number for name, number in before.items() if name != NODE
    }
    poll_for("all copies", lambda: cluster.status()["under_replicated"] == 0, seconds=120, every=1.0)
    poll_for("the old node to go", lambda: names(cluster.status()) == sorted(after), seconds=120, every=1.0)
    with cluster.client() as dfs:
        for number in range(6):
            dfs.download(f"/f{number}", tmp_path / f"back-{number}")
            assert (tmp_path / f"back-{number}").read_bytes() == CONTENT


def names(status: dict[str, object]) -> list[str]:
    """Of the nodes that the master has on record."""
    nodes = status["nodes"]
    assert isinstance(nodes, list)
    return sorted(node["name"] for node in nodes)
