"""Nodes of local processes that are let go: what they hold is copied to others first, also after a killed deploy."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.process_cluster import ProcessCluster

FILES = 24


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ProcessCluster]:
    """Two nodes, one copy of every file: a volume that is deleted too early is missed."""
    made = ProcessCluster(tmp_path / "home", "shrunk", "--nodes", "2", "--copies", "1")
    try:
        yield made
    finally:
        made.close()


def test_nodes_whose_ids_a_killed_deploy_did_not_note(cluster: ProcessCluster, tmp_path: Path) -> None:
    """They joined and took chunks; the next deploy notes their ids, and whoever lets them go drains them."""
    child = cluster.dfs_until("waiting until 4 nodes", "deploy", "--nodes", "4")
    child.kill()
    child.communicate()
    cluster.dfs("deploy")
    assert None not in {node.id for node in cluster.spec.nodes}
    contents = {f"/f{number}": os.urandom(50_000) for number in range(FILES)}
    with cluster.client() as dfs:
        for path, content in contents.items():
            (tmp_path / "source").write_bytes(content)
            dfs.upload(tmp_path / "source", path)
        cluster.dfs("scale", "--nodes", "2")
        for path, content in contents.items():
            dfs.download(path, tmp_path / "back", force=True)
            assert (tmp_path / "back").read_bytes() == content

    # Behind the point of no return Ctrl-C leaves no node on record whose volume is gone.
    cluster.dfs("scale", "--nodes", "3")
    child = cluster.dfs_until("uploading a file", "scale", "--nodes", "2")
    child.send_signal(signal.SIGINT)
    child.communicate()
    assert len(cluster.spec.nodes) == 2
    # Killed there, it is finished by the next command.
    cluster.dfs("scale", "--nodes", "3")
    child = cluster.dfs_until("stopping node-", "scale", "--nodes", "2")
    child.kill()
    child.communicate()
    (left,) = cluster.spec.gone
    cluster.dfs("deploy")
    assert cluster.spec.gone == ()
    assert not cluster.paths.node_root(left.name).exists()
    cluster.stop()
    cluster.start()
