"""The power goes right after an acknowledgement: what was acknowledged is on the disk."""

import io
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from docker.errors import APIError
from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster
from tests.support.polling import poll_for
from tests.support.power import PowerCutDisk, can_cut_power, cut_all, power_cut_disk

from dfs_client.api import Dfs
from dfs_deploy.containers import LABEL_CLUSTER, LABEL_HOME, LABEL_ROLE, USER_ID
from dfs_node.journal import DIRECTORY, PUTS_BEFORE
from dfs_runtime.clock import SystemClock
from dfs_wire.errors import DfsError

NODE = "node-1"
ROLES = ("master", "node-1", "node-2")
DISK_BYTES = 256 * 1024 * 1024
#: `DFS_POWER_CUTS=50` and `DFS_TOTAL_POWER_CUTS=100` are the drills that a release has to pass.
CUTS = int(os.environ.get("DFS_POWER_CUTS", "5"))
TOTAL_CUTS = int(os.environ.get("DFS_TOTAL_POWER_CUTS", "3"))
FILES_A_CUT = 3
#: For each cut, beside what every test may take.
SECONDS_A_CUT = 60


def on_disk(disk: PowerCutDisk) -> dict[str, str]:
    """How a Docker volume is told to lie on a disk."""
    return {"type": "none", "o": "bind", "device": str(disk.mountpoint)}


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Mapping[str, PowerCutDisk]]:
    """For each role a file system of its own on a loop device."""
    if not can_cut_power():
        pytest.skip("mounting a loop device needs root")
    with ExitStack() as made:
        yield {role: made.enter_context(power_cut_disk(tmp_path / role, DISK_BYTES, USER_ID)) for role in ROLES}


@pytest.mark.timeout(120 + SECONDS_A_CUT * CUTS, func_only=True)
def test_no_acknowledged_file_is_lost_by_a_power_cut(
    disks: Mapping[str, PowerCutDisk], make_cluster: MakeCluster, tmp_path: Path
) -> None:
    """One copy of everything, on one node. Again and again: 1. files are acknowledged 2. that very moment the disk
    takes no more writes 3. the node is killed, its disk mounted again 4. every file ever acknowledged is read back.
    """
    cluster = make_cluster(deploy=False)
    give_disk(cluster, disks[NODE])
    cluster.deploy("--nodes", "1", "--copies", "1")
    os.sync()
    drill(cluster, {NODE: disks[NODE]}, CUTS, tmp_path)


@pytest.mark.timeout(120 + SECONDS_A_CUT * TOTAL_CUTS, func_only=True)
def test_no_acknowledged_file_is_lost_when_all_lose_power_at_once(
    disks: Mapping[str, PowerCutDisk], make_cluster: MakeCluster, tmp_path: Path
) -> None:
    """The master and all nodes, each on a disk of its own: no other copy can make up for one that was not synced."""
    cluster = make_cluster("--nodes", str(len(ROLES) - 1))
    cluster.dfs("destroy")
    for role, disk in disks.items():
        move_volume(cluster, role, disk)
    os.sync()
    cluster.dfs("deploy")
    os.sync()
    drill(cluster, disks, TOTAL_CUTS, tmp_path)


def test_what_a_node_finds_on_a_dead_disk_is_not_held_against_it(
    disks: Mapping[str, PowerCutDisk], make_cluster: MakeCluster, tmp_path: Path
) -> None:
    """It reads all while its disk is gone, and says that all is bad. The disk comes back: so do the files, at once."""
    cluster = make_cluster(deploy=False)
    give_disk(cluster, disks[NODE])
    cluster.deploy("--nodes", "1", "--copies", "1")
    stored = {f"/{number}": os.urandom(1_000 + 100_000 * number) for number in range(FILES_A_CUT)}
    with cluster.client() as dfs:
        for path, content in stored.items():
            dfs.upload(io.BytesIO(content), path)
        cut_all([disks[NODE]])
        cluster.dfs("node", "verify", NODE)
        poll_for("files being unreadable", lambda: "3 files" in cluster.dfs("status", check=False).stderr, seconds=60)
    power_off(cluster, [NODE])
    power_on(cluster, {NODE: disks[NODE]})
    check(cluster, stored, tmp_path, 0)
    assert cluster.status()["unreadable"] == 0


def give_disk(cluster: DockerCluster, disk: PowerCutDisk) -> None:
    """Let the volume of the node lie on a disk, before the cluster is made."""
    cluster.engine.volumes.create(
        cluster.volume(NODE),
        driver="local",
        driver_opts=on_disk(disk),
        labels={LABEL_CLUSTER: cluster.name, LABEL_HOME: str(cluster.home), LABEL_ROLE: NODE},
    )


def move_volume(cluster: DockerCluster, role: str, disk: PowerCutDisk) -> None:
    """Let the volume of a role lie on a disk from now on, with all that is in it."""
    volume = cluster.engine.volumes.get(cluster.volume(role))
    shutil.copytree(volume.attrs["Mountpoint"], disk.mountpoint, dirs_exist_ok=True)
    for path in disk.mountpoint.rglob("*"):
        if path.name != "lost+found":
            os.chown(path, USER_ID, USER_ID)
    volume.remove()
    cluster.engine.volumes.create(volume.name, driver="local", driver_opts=on_disk(disk), labels=volume.attrs["Labels"])


def drill(cluster: DockerCluster, disks: Mapping[str, PowerCutDisk], cuts: int, scratch: Path) -> None:
    """Store and cut, again and again; after each cut everything that was ever acknowledged is read back.

    Every other cut comes right behind an acknowledgement, with nothing else under way. The others come amid uploads,
    while all processes are held still: an fsync that is under way when this kernel's file system is shut down may
    return well without having written anything, as none can when the power fails, and the acknowledgement that
    follows from it would be the drill's fault. Held still, none is under way, and none returns.
    """
    for role in disks:
        # Without power nothing is started again by itself: over the dead disk, which the engine then would not let go.
        cluster.container(role).update(restart_policy={"Name": "no"})
    stored = give_journals(cluster, disks)
    undone = 0
    for cut in range(cuts):
        amid = cut % 2 == 1
        with ExitStack() as around:
            dfs = around.enter_context(cluster.client())
            for number in range(FILES_A_CUT):
                path, content = f"/{cut}-{number}", os.urandom(1_000 + 9_973 * number)
                (scratch / "source").write_bytes(content)
                dfs.upload(scratch / "source", path)
                stored[path] = content
            beside = around.enter_context(Beside(cluster, cut, scratch)) if amid else None
            if beside is not None:
                beside.await_one()
                hold_still(cluster, disks)
            controls = [disk.mountpoint / f"control-{cut}" for disk in disks.values()]
            for control in controls:
                control.write_text("nobody synced this")
            cut_all(disks.values())
            power_off(cluster, disks)
            power_on(cluster, disks)
        stored |= beside.stored if beside is not None else {}
        undone += sum(not control.exists() for control in controls)
        check(cluster, stored, scratch, cut)
    assert undone, "no cut lost anything at all: they were none"
    for role in disks:
        said = cluster.container(role).logs().decode(errors="replace")
        assert role == "master" or "the journal held" in said, f"no cut of {role} left anything in its journal"
    print(f"{cuts} cuts of {', '.join(disks)}: 0 of {len(stored)} acknowledged files lost, {undone} unsynced ones")


def give_journals(cluster: DockerCluster, disks: Mapping[str, PowerCutDisk]) -> dict[str, bytes]:
    """So many small files that the nodes' volumes have journals: what is stored from then on is cut off in them."""
    stored = {}
    with cluster.client() as dfs:
        for number in range(2 * PUTS_BEFORE):
            stored[f"/first-{number}"] = os.urandom(100 + number)
            dfs.upload(io.BytesIO(stored[f"/first-{number}"]), f"/first-{number}")
    for role in disks:
        if role != "master":
            journal = disks[role].mountpoint / "volume" / DIRECTORY / "1"
            poll_for(f"the journal of {role}", journal.exists, seconds=SECONDS_A_CUT)
    return stored


def check(cluster: DockerCluster, stored: Mapping[str, bytes], scratch: Path, cut: int) -> None:
    """Every acknowledged file is there with its bytes; what is there besides was never half of anything."""
    with cluster.client() as dfs:
        lost = {path: why for path, content in stored.items() if (why := complaint(dfs, path, content, scratch))}
        assert not lost, (
            f"{len(lost)} of {len(stored)} acknowledged files are lost after {cut + 1} cuts: {lost}\n"
            f"{cluster.last_words()}"
        )
        for entry in dfs.list("/"):
            if entry.path not in stored:  # one whose acknowledgement was still on its way
                assert entry.path.startswith("/beside-")
                dfs.download(entry.path, scratch / "back", force=True)


class Beside:
    """Uploads that go on while the power is cut, and try again until it is back. `stored`: what was acknowledged."""

    def __init__(self, cluster: DockerCluster, cut: int, scratch: Path) -> None:
        self.stored: dict[str, bytes] = {}
        self._cluster = cluster
        self._cut = cut
        self._source = scratch / "beside"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)

    def _run(self) -> None:
        with suppress(DfsError), self._cluster.client() as dfs:
            while not self._over.is_set():
                path, content = f"/beside-{self._cut}-{len(self.stored)}", os.urandom(20_000)
                self._source.write_bytes(content)
                dfs.upload(self._source, path)
                self.stored[path] = content

    def await_one(self) -> None:
        """Wait until one was acknowledged, so that there is traffic indeed."""
        poll_for("an upload beside", lambda: len(self.stored) > 0, seconds=SECONDS_A_CUT)

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(SECONDS_A_CUT)
        assert not self._thread.is_alive(), "an upload hangs"


def hold_still(cluster: DockerCluster, disks: Mapping[str, PowerCutDisk]) -> None:
    """Stop all processes over the disks wherever they are; those inside of a system call when that returns."""
    for role in disks:
        cluster.pause(role)


def power_off(cluster: DockerCluster, disks: Iterable[str]) -> None:
    """Kill what still runs over the dead disks. A process that was held still dies before it makes another step."""
    containers = [cluster.container(role) for role in disks]
    for container in containers:
        with suppress(APIError):
            container.kill()
        if container.status == "paused":
            # This engine resumes it by itself for the signal to be seen; others may not.
            with suppress(APIError):
                container.unpause()
    for container in containers:
        container.wait(timeout=60)


def power_on(cluster: DockerCluster, disks: Mapping[str, PowerCutDisk]) -> None:
    """Mount the disks again, start the roles."""
    for disk in disks.values():
        disk.mount_again()
    since = SystemClock().wall_ms()
    for role in disks:
        cluster.container(role).start()
    cluster.await_live(since)


def complaint(dfs: Dfs, path: str, content: bytes, scratch: Path) -> str:
    """What is wrong with a file; nothing when it is there with its bytes."""
    try:
        dfs.download(path, scratch / "back", force=True)
    except DfsError as error:
        return repr(error)
    return "" if (scratch / "back").read_bytes() == content else "other bytes"
