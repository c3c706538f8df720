"""Deleting a cluster's data: what cannot go is said, the same command finishes, and other people's files stay."""

import shutil
from pathlib import Path

import pytest
from tests.support.deploy import make_spec

from dfs_deploy import data_removal
from dfs_deploy.data_removal import mount_points
from dfs_deploy.process_engine import ProcessEngine
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import ClusterPaths, StateStore
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import DfsError

SPEC = make_spec(nodes=2, joined=True)


class Machine:
    """A stopped cluster with data, and what is said of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []
        self.store = StateStore(root / "home", ManualClock())
        self.engine = ProcessEngine(self.store, root / "home", ManualClock(), say=self.said.append)
        self.store.save(SPEC)
        self.paths.master_data.mkdir()
        (self.paths.master_data / "metadata.db").write_text("metadata")
        for node in SPEC.nodes:
            fill(self.paths.volume(node.name))

    @property
    def paths(self) -> ClusterPaths:
        """Where it lies."""
        return self.store.paths("demo")

    def spec(self) -> ClusterSpec:
        """As it is kept now."""
        return self.store.load("demo")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Two nodes with data."""
    return Machine(tmp_path)


def fill(volume: Path) -> None:
    """What a node makes."""
    (volume / "chunks" / "00").mkdir(parents=True)
    (volume / "chunks" / "00" / "chunk").write_text("data")
    for name in ("identity", "lock", "scrub"):
        (volume / name).write_text("x")


def mount(monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    """Let these be mount points."""
    for module in ("state", "process_engine"):
        monkeypatch.setattr(f"dfs_deploy.{module}.mount_points", lambda: frozenset(places))


def test_an_interrupted_removal_is_finished_by_the_same_command(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until all is gone the cluster is known, as destroyed; nothing serves what is left."""
    real = shutil.rmtree

    def interrupted(path: Path) -> None:
        if path == machine.paths.node_root("node-2"):
            raise KeyboardInterrupt
        real(path)

    monkeypatch.setattr(data_removal.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        machine.engine.remove(SPEC)
    assert machine.spec().destroyed
    assert machine.paths.node_root("node-2").exists()
    monkeypatch.undo()
    machine.engine.remove(machine.spec())
    assert not machine.paths.root.exists()
    assert machine.said == []


def test_what_cannot_be_deleted_is_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a node that goes, and of the cluster: it says what is left, and the cluster is still known."""

    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", "chunk")

    monkeypatch.setattr(data_removal.shutil, "rmtree", refuse)
    with pytest.raises(DfsError, match=r"node-2 can be deleted .*'chunk'"):
        machine.engine.discard_node(SPEC, SPEC.nodes[1])
    with pytest.raises(DfsError, match="demo can be deleted"):
        machine.engine.remove(SPEC)
    assert machine.spec().destroyed


def test_a_mounted_volume_is_emptied_and_stays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mkfs made and what somebody else put there stays, and where is said."""
    first, second = (machine.paths.volume(node.name) for node in SPEC.nodes)
    (first / "lost+found").mkdir()
    (second / "photos").mkdir()
    mount(monkeypatch, first, second, machine.root / "elsewhere")
    machine.engine.remove(SPEC)
    assert [path.name for path in first.iterdir()] == ["lost+found"]
    assert [path.name for path in second.iterdir()] == ["photos"]
    assert machine.said == [
        f"The directory {first} stays, and is empty: it is a mount point, or a link leads to it.",
        f"The directory {second} stays with what dfs did not make there: photos.",
    ]
    assert machine.store.find("demo") is None
    assert not machine.paths.master_data.exists()


@pytest.mark.parametrize("linked", ["volume", "node"])
def test_a_linked_volume_is_emptied_where_it_lies(machine: Machine, linked: str) -> None:
    """Its data are gone as well, and the link; the disk's other files are not."""
    volume = machine.paths.volume("node-1")
    target = machine.root / "disk"
    moved = volume if linked == "volume" else volume.parent
    moved.rename(target)
    moved.symlink_to(target)
    (target / "photos").mkdir()
    machine.engine.remove(SPEC)
    inside = target if linked == "volume" else target / "volume"
    assert [path.name for path in inside.iterdir()] == (["photos"] if linked == "volume" else [])
    assert (target / "photos").exists()
    assert len(machine.said) == 1
    assert str(inside) in machine.said[0]
    assert not machine.paths.root.exists()


def test_a_cluster_behind_a_link_is_emptied(machine: Machine) -> None:
    """Its whole directory lies on another disk."""
    target = machine.root / "disk"
    machine.paths.root.rename(target)
    machine.paths.root.symlink_to(target)
    machine.engine.remove(SPEC)
    assert list(target.iterdir()) == []
    assert not machine.paths.root.is_symlink()
    assert machine.said == [f"The directory {target} stays, and is empty: it is a mount point, or a link leads to it."]


@pytest.mark.parametrize("mounted", [True, False])
def test_a_node_that_goes_leaves_its_disk_empty(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, mounted: bool
) -> None:
    """The mount or the link stays: the next node of that name, as after `node replace`, finds it there."""
    volume = machine.paths.volume("node-2")
    if mounted:
        mount(monkeypatch, volume)
    else:
        volume.rename(machine.root / "disk")
        volume.symlink_to(machine.root / "disk")
    machine.engine.discard_node(SPEC, SPEC.nodes[1])
    assert volume.is_dir()
    assert list(volume.iterdir()) == []
    assert str(volume.resolve()) in machine.said[0]
    assert machine.paths.volume("node-1").exists()


def test_a_node_without_a_disk_of_its_own_goes_wholly(machine: Machine) -> None:
    """Nothing of it is left, and nothing is said; a second time is fine."""
    for _ in range(2):
        machine.engine.discard_node(SPEC, SPEC.nodes[1])
    assert not machine.paths.node_root("node-2").exists()
    assert machine.said == []


def test_mount_points_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    """Spaces are written as octal numbers; and this machine has a root."""
    (tmp_path / "mountinfo").write_text("36 35 98:0 / /mnt/my\\040disk\\134 rw - ext4 /dev/sda rw\n")
    assert mount_points(tmp_path / "mountinfo") == {Path("/mnt/my disk\\")}
    assert Path("/") in mount_points()
