"""A cluster lies on the engine that it was deployed on, by whatever way that is reached."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster

SOCKET = Path("/var/run/docker.sock")
NOWHERE = "unix:///nowhere/docker.sock"


@pytest.fixture
def other_way(tmp_path: Path) -> str:
    """Another address of this machine's engine."""
    if not SOCKET.exists() or os.environ.get("DOCKER_HOST"):
        pytest.skip("the engine is not reached by its usual socket")
    (tmp_path / "other.sock").symlink_to(SOCKET)
    return f"unix://{tmp_path}/other.sock"


def make_context(directory: Path, name: str, host: str) -> None:
    """What `docker context create` writes."""
    meta = directory / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    endpoint = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoint}))
    (directory / "config.json").write_text("{}")


def store_and_fetch(cluster: DockerCluster, scratch: Path) -> None:
    """A file goes in and comes back."""
    (scratch / "f").write_bytes(os.urandom(100_000))
    cluster.dfs_client("upload", str(scratch / "f"), "/f")
    cluster.dfs_client("download", "/f", str(scratch / "back"), "--force")
    assert (scratch / "back").read_bytes() == (scratch / "f").read_bytes()


def test_a_cluster_remembers_its_docker_context(make_cluster: MakeCluster, other_way: str, tmp_path: Path) -> None:
    """Deployed with --context, every later command finds it, wherever the environment points."""
    make_context(tmp_path / "config", "other", other_way)
    cluster = make_cluster(deploy=False)
    cluster.env |= {"DOCKER_CONFIG": str(tmp_path / "config"), "DOCKER_HOST": NOWHERE}
    assert cluster.dfs("deploy", "--context", "unknown", check=False).returncode == 2
    cluster.deploy("--nodes", "2", "--context", "other")
    assert cluster.spec.context == "other"
    store_and_fetch(cluster, tmp_path)
    assert json.loads(cluster.dfs("deploy", "--json").stdout)["changed"] is False
    cluster.dfs("stop")
    cluster.dfs("start")
    assert f"127.0.0.1:{cluster.spec.master_port}:5000" in cluster.dfs("export", "compose").stdout
    cluster.dfs("destroy", "--delete-data", "--yes")
    assert (cluster.containers(), cluster.volumes()) == ([], [])


def test_docker_host_and_docker_context_name_the_engine(
    make_cluster: MakeCluster, other_way: str, tmp_path: Path
) -> None:
    """As for `docker` itself: a command goes where the environment points, and says so where nobody answers."""
    make_context(tmp_path / "config", "other", other_way)
    cluster = make_cluster(deploy=False)
    cluster.env |= {"DOCKER_HOST": other_way}
    cluster.deploy("--nodes", "2")
    del cluster.env["DOCKER_HOST"]
    cluster.env |= {"DOCKER_CONFIG": str(tmp_path / "config"), "DOCKER_CONTEXT": "other"}
    store_and_fetch(cluster, tmp_path)
    assert json.loads(cluster.dfs("deploy", "--json").stdout)["changed"] is False
    cluster.env["DOCKER_HOST"] = NOWHERE
    assert cluster.dfs("stop", check=False).returncode == 5
