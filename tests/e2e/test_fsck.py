"""`dfs fsck` where the volumes are named volumes of an engine: it reads them from inside containers."""

import io
import json
from collections.abc import Callable

from tests.support.docker_cluster import DockerCluster

CONTENT = b"to be damaged" * 10_000


def test_a_check_reads_the_volumes_of_containers(make_cluster: Callable[..., DockerCluster]) -> None:
    """Of running ones, and of stopped ones by helpers that do not stay."""
    cluster = make_cluster("--nodes", "2")
    with cluster.client() as dfs:
        dfs.upload(io.BytesIO(CONTENT), "/file")
        (chunk,) = dfs.stat("/file", chunks=True).chunks
    checked = cluster.dfs("fsck", "--verify-data", "--json")
    summary = json.loads(checked.stdout.splitlines()[-1])
    assert summary["volumes"] == ["node-1", "node-2"]
    assert summary["copies"] >= 2

    digest = chunk.digest.hex()
    flip = f"f = open('/data/volume/chunks/{digest[:2]}/{digest}', 'r+b'); f.seek(5000); f.write(b'?')"
    assert cluster.container("node-1").exec_run(["python", "-c", flip]).exit_code == 0
    cluster.dfs("stop")
    before = {container.name for container in cluster.containers()}
    told = cluster.dfs("fsck", "--verify-data", check=False)
    assert told.returncode == 7
    assert "damaged copy on node-1: block checksum" in told.stdout
    assert "/file" in told.stdout
    assert {container.name for container in cluster.containers()} == before
