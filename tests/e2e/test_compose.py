"""`dfs export compose`: another tool starts the same cluster with one command."""

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeCluster
from tests.e2e.test_deploy_docker import ask_line_protocol, assert_stored
from tests.support.docker_cluster import DockerCluster
from tests.support.polling import poll_for

from dfs_deploy.client_health import connect_as_operator
from dfs_wire.errors import DfsError

COMMAND_SECONDS = 120
#: What an inspection must show as it did of the containers that `dfs deploy` made.
HARDENING = ("ReadonlyRootfs", "CapDrop", "SecurityOpt", "Memory", "MemorySwap", "PidsLimit", "LogConfig")


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """How compose is called here: a program of its own, or a part of `docker`."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "version"], capture_output=True, timeout=COMMAND_SECONDS).returncode == 0:
            return command
    pytest.skip("docker compose is not installed")


def run(command: list[str], cluster: DockerCluster) -> None:
    """Run compose; what it complains of is shown."""
    done = subprocess.run(
        command, env=cluster.env, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_compose_file_starts_the_same_cluster(compose: list[str], make_cluster: MakeCluster, tmp_path: Path) -> None:
    """1. export 2. destroy, which keeps the volumes 3. `up -d` 4. all is there, as hardened as before, and `dfs` knows
    the containers for its own.
    """
    cluster = make_cluster("--nodes", "2")
    (tmp_path / "f").write_bytes(os.urandom(200_000))
    cluster.dfs_client("upload", str(tmp_path / "f"), "/f")
    exported = cluster.dfs("export", "compose").stdout
    before = {each.name: each.attrs["HostConfig"] for each in cluster.containers()}
    cluster.dfs("destroy")
    assert cluster.dfs("export", "compose").stdout == exported, "it depends on what is running"
    keys = cluster.credentials
    assert not any(key in exported for key in (keys.client_key, keys.admin_key, keys.join_token))
    file = tmp_path / "compose.yaml"
    file.write_text(exported)
    try:
        run([*compose, "-f", str(file), "-p", cluster.name, "up", "-d"], cluster)
        poll_for("the cluster being whole", lambda: holds_two_copies(cluster), seconds=60, every=0.2)
        for container in cluster.containers():
            host = container.attrs["HostConfig"]
            for setting in (
                "ReadonlyRootfs",
                "CapDrop",
                "SecurityOpt",
                "Memory",
                "MemorySwap",
                "PidsLimit",
                "LogConfig",
            ):
                assert host[setting] == before[container.name][setting], setting
        listed = ask_line_protocol(cluster.spec.master_port, b"LIST\n").decode()
        assert all(f"127.0.0.1:{node.port}" in listed for node in cluster.spec.nodes)
        started = {each.name: each.attrs["State"]["StartedAt"] for each in cluster.containers()}
        cluster.dfs("deploy")
        assert {each.name: each.attrs["State"]["StartedAt"] for each in cluster.containers()} == started
        assert_stored(cluster, {"/f": (tmp_path / "f").read_bytes()}, tmp_path)
    finally:
        run([*compose, "-f", str(file), "-p", cluster.name, "down"], cluster)
    assert cluster.volumes() == sorted(cluster.volume(role) for role in cluster.spec.roles), "`down` took data away"


def holds_two_copies(cluster: DockerCluster) -> bool:
    """Whether both nodes serve."""
    try:
        with closing(connect_as_operator(cluster.spec, cluster.credentials)) as dfs:
            status = dfs.status()
    except DfsError:
        return False
    return [node.state for node in status.nodes] == ["live", "live"] and status.reply.under_replicated == 0
