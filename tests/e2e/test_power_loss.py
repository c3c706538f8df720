"""The power goes right after an acknowledgement: what was acknowledged is on the disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster
from tests.support.power import PowerCutDisk, can_cut_power, power_cut_disk

from dfs_client.api import Dfs
from dfs_deploy.containers import LABEL_CLUSTER, LABEL_HOME, LABEL_ROLE, USER_ID

NODE = "node-1"
DISK_BYTES = 256 * 1024 * 1024
#: `DFS_POWER_CUTS=50` is the drill that a release has to pass.
CUTS = int(os.environ.get("DFS_POWER_CUTS", "5"))
FILES_A_CUT = 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerCutDisk]:
    """A file system of its own on a loop device."""
    if not can_cut_power():
        pytest.skip("mounting a loop device needs root")
    with power_cut_disk(tmp_path, DISK_BYTES, USER_ID) as made:
        yield made


def test_no_acknowledged_file_is_lost_by_a_power_cut(
    disk: PowerCutDisk, make_cluster: MakeCluster, tmp_path: Path
) -> None:
    """One copy of everything, on one node. Again and again: 1. files are acknowledged 2. that very moment the disk
    takes no more writes 3. the node is killed, its disk mounted again 4. every file ever acknowledged is read back.
    """
    cluster = make_cluster(deploy=False)
    cluster.engine.volumes.create(
        cluster.volume(NODE),
        driver="local",
        driver_opts={"type": "none", "o": "bind", "device": str(disk.mountpoint)},
        labels={LABEL_CLUSTER: cluster.name, LABEL_HOME: str(cluster.home), LABEL_ROLE: NODE},
    )
    cluster.deploy("--nodes", "1", "--copies", "1")
    os.sync()
    stored: dict[str, bytes] = {}
    lost: list[str] = []
    for cut in range(CUTS):
        with cluster.client() as dfs:
            for number in range(FILES_A_CUT):
                path, content = f"/{cut}-{number}", os.urandom(1_000 + 9_973 * number)
                (tmp_path / "source").write_bytes(content)
                dfs.upload(tmp_path / "source", path)
                stored[path] = content
        control = disk.mountpoint / f"control-{cut}"
        control.write_text("nobody synced this")
        disk.cut()
        power_off_and_on(cluster, disk)
        assert not control.exists(), "the cut lost nothing at all: it was none"
        with cluster.client() as dfs:
            lost += [path for path, content in stored.items() if not reads_back(dfs, path, content, tmp_path)]
        assert not lost, f"{len(lost)} of {len(stored)} acknowledged files are lost after {cut + 1} cuts: {lost[:5]}"


def power_off_and_on(cluster: DockerCluster, disk: PowerCutDisk) -> None:
    """Kill the node over the dead disk, mount the disk again, start the node."""
    container = cluster.container(NODE)
    container.kill()
    container.wait(timeout=30)
    disk.unmount()
    disk.mount()
    container.start()
    cluster.await_live()


def reads_back(dfs: Dfs, path: str, content: bytes, scratch: Path) -> bool:
    """Whether a file is there with its bytes."""
    dfs.download(path, scratch / "back", force=True)
    return (scratch / "back").read_bytes() == content
