"""A cluster's volumes come from elsewhere: with its labels it goes on over them, without them nothing touches them."""

from pathlib import Path

from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster

from dfs_deploy.containers import LABEL_CLUSTER, LABEL_HOME, LABEL_ROLE
from dfs_wire.errors import ConflictError

CONTENT = bytes(range(256)) * 500


def carry(cluster: DockerCluster, image: str, source: str, target: str) -> None:
    """Copy what is in a volume, as the documents say."""
    mounts = {source: {"bind": "/data", "mode": "ro"}, target: {"bind": "/new", "mode": "rw"}}
    command = ["cp", "-a", "/data/.", "/new"]
    cluster.engine.containers.run(image, command, user="0", network_mode="none", volumes=mounts, remove=True)


def test_volumes_that_were_moved_here(make_cluster: MakeCluster, image: str, tmp_path: Path) -> None:
    """1. `destroy` keeps the volumes; they come back without labels. 2. `deploy` of a new cluster of that name is
    refused, and they are as they were. 3. They come back with labels, and so does the directory: every file is there.
    4. `destroy --delete-data` leaves nothing.
    """
    cluster = make_cluster("--nodes", "1", "--copies", "1")
    (tmp_path / "f").write_bytes(CONTENT)
    cluster.dfs_client("upload", str(tmp_path / "f"), "/f")
    cluster.dfs("destroy")
    directory = cluster.home / "clusters" / cluster.name
    roles, elsewhere = cluster.spec.roles, {role: f"{cluster.name}-kept-{role}" for role in cluster.spec.roles}
    try:
        for role in roles:
            cluster.engine.volumes.create(elsewhere[role])
            carry(cluster, image, cluster.volume(role), elsewhere[role])
            cluster.engine.volumes.get(cluster.volume(role)).remove()
            cluster.engine.volumes.create(cluster.volume(role))
            carry(cluster, image, elsewhere[role], cluster.volume(role))
        directory.rename(tmp_path / "directory")

        refused = cluster.dfs("deploy", "--engine", "docker", "--nodes", "1", "--copies", "1", check=False)
        assert refused.returncode == ConflictError.exit_code
        assert f"--label {LABEL_ROLE}=master {cluster.volume('master')}" in refused.stderr
        assert not directory.exists()

        (tmp_path / "directory").rename(directory)
        for role in roles:
            cluster.engine.volumes.get(cluster.volume(role)).remove()
            labels = {LABEL_CLUSTER: cluster.name, LABEL_HOME: str(cluster.home), LABEL_ROLE: role}
            cluster.engine.volumes.create(cluster.volume(role), labels=labels)
            carry(cluster, image, elsewhere[role], cluster.volume(role))
        directory.rename(tmp_path / "directory")
        refused = cluster.dfs("deploy", "--engine", "docker", "--nodes", "1", "--copies", "1", check=False)
        assert refused.returncode == ConflictError.exit_code
        assert f"put clusters/{cluster.name} back" in refused.stderr

        (tmp_path / "directory").rename(directory)
        cluster.dfs("deploy")
        cluster.dfs_client("download", "/f", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == CONTENT
        cluster.dfs("destroy", "--delete-data", "--yes")
        assert cluster.volumes() == []
        assert cluster.containers() == []
    finally:
        for name in [*elsewhere.values(), *(cluster.volume(role) for role in roles)]:
            for volume in cluster.engine.volumes.list(filters={"name": name}):
                volume.remove(force=True)


def test_a_master_whose_keys_are_lost_is_not_made_anew(make_cluster: MakeCluster) -> None:
    """Its volume tells that nodes have joined, also where theirs are gone."""
    cluster = make_cluster("--nodes", "1", "--copies", "1")
    cluster.dfs("destroy")
    cluster.engine.volumes.get(cluster.volume("node-1")).remove()
    directory = cluster.home / "clusters" / cluster.name
    for left in directory.iterdir():
        left.unlink()
    refused = cluster.dfs("deploy", "--engine", "docker", "--nodes", "1", "--copies", "1", check=False)
    assert refused.returncode == ConflictError.exit_code
    assert "holds the metadata of a cluster" in refused.stderr
    assert cluster.volumes() == [cluster.volume("master")]
