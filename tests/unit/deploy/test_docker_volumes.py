"""Volumes that deploy did not make, or that hold a cluster: never removed, whatever deploy is asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.support.deploy import FakeHealth, FakeProfiles, make_spec
from tests.support.docker_machine import GROWN, JOINED, SPEC, DockerMachine, print_keys

from dfs_deploy.cluster import Operator
from dfs_deploy.containers import LABEL_CLUSTER, LABEL_HOME, LABEL_ROLE, NODE_VOLUME, master_container
from dfs_deploy.docker_engine.sdk import FoundNetwork
from dfs_deploy.plan import DeployRequest
from dfs_deploy.run import Surroundings
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import ConflictError, NotFoundError

MOVED = {"/data/master/metadata.db": b"metadata"}


@pytest.fixture
def machine(tmp_path: Path) -> DockerMachine:
    """Nothing on it."""
    return DockerMachine(tmp_path)


def put_volume(machine: DockerMachine, role: str, *, labelled: bool, files: dict[str, bytes]) -> None:
    """A volume that came from elsewhere."""
    labels = {LABEL_CLUSTER: "demo", LABEL_HOME: str(machine.home), LABEL_ROLE: role}
    machine.docker.stored[f"dfs-demo-{role}"] = labels if labelled else {}
    machine.docker.files[f"dfs-demo-{role}"] = dict(files)


def operator(machine: DockerMachine, said: list[str]) -> Operator:
    """What `dfs deploy` works with."""
    around = Surroundings(
        store=machine.store,
        profiles=FakeProfiles(),
        health=FakeHealth(None),  # type: ignore[arg-type] - nothing gets as far as to ask it
        clock=ManualClock(),
        progress=said.append,
    )
    return Operator(around, {"docker": machine.engine}, lambda _host, _port: True)


def deploy_fails(machine: DockerMachine, error: type[Exception], match: str) -> None:
    """`dfs deploy` of a new cluster ends with an error, and no cluster is left."""
    with pytest.raises(error, match=match):
        operator(machine, []).deploy(DeployRequest(name="demo", engine="docker"))
    assert machine.store.find("demo") is None


@pytest.mark.parametrize("role", ["master", "node-2"])
def test_a_new_cluster_takes_no_volume_without_its_labels(machine: DockerMachine, role: str) -> None:
    """It came from another machine: the error says how to make it with labels, and it is left as it is."""
    put_volume(machine, role, labelled=False, files=MOVED)
    deploy_fails(machine, ConflictError, f"--label dfs.role={role} dfs-demo-{role}")
    assert machine.docker.files == {f"dfs-demo-{role}": MOVED}
    assert machine.docker.calls == []


def test_a_master_volume_without_labels_outlives_its_initialisation(machine: DockerMachine) -> None:
    """Also where the cluster is known here and its keys are lost."""
    machine.store.save(SPEC)
    put_volume(machine, "master", labelled=False, files=MOVED)
    with pytest.raises(ConflictError, match="did not make"):
        machine.engine.initialise_master(SPEC)
    assert machine.docker.files["dfs-demo-master"] == MOVED


@pytest.mark.parametrize(("code", "rows"), [(0, b'{"id": 10}\n'), (7, b"")])
def test_a_master_that_knows_nodes_is_not_made_anew(machine: DockerMachine, code: int, rows: bytes) -> None:
    """Its keys are missing here, and its nodes have not come yet; a database that cannot be read counts as one."""
    put_volume(machine, "master", labelled=True, files=MOVED)

    def program(_container: str, command: Sequence[str], out: BinaryIO) -> int:
        out.write(rows * ("show" in command))
        return code

    machine.docker.program = program
    deploy_fails(machine, ConflictError, r"credentials\.json")
    assert machine.docker.files["dfs-demo-master"] == MOVED


def test_what_a_deploy_left_that_was_killed_is_made_anew(machine: DockerMachine) -> None:
    """A volume without a database, and a helper that still waits over it."""

    def program(container: str, command: Sequence[str], out: BinaryIO) -> int:
        return NotFoundError.exit_code if "show" in command else print_keys(container, command, out)

    machine.store.save(SPEC)
    machine.docker.program = program
    put_volume(machine, "master", labelled=True, files={"/data/master.new/metadata.db": b""})
    machine.engine._helper(SPEC, "master").__enter__()
    machine.engine.initialise_master(SPEC)
    assert machine.docker.files["dfs-demo-master"] == {}
    assert machine.docker.made == {}


def test_a_master_that_compose_started_is_not_ended(machine: DockerMachine) -> None:
    """No cluster of that name is known here, but its containers run."""
    put_volume(machine, "master", labelled=True, files=MOVED)
    container = master_container(SPEC, image="dfs:1", home=str(machine.home))
    machine.docker.create(container, restart=True, health=True)
    machine.docker.start("dfs-demo-master")
    machine.docker.calls.clear()
    deploy_fails(machine, ConflictError, "dfs-demo-master on this Docker Engine is of a cluster 'demo'")
    machine.store.save(SPEC)
    with pytest.raises(ConflictError, match=r"credentials\.json"):
        machine.engine.initialise_master(SPEC)
    assert machine.docker.calls == []
    assert machine.docker.made["dfs-demo-master"].state == "running"


def test_a_joined_volume_of_any_number_counts(machine: DockerMachine) -> None:
    """Three nodes are asked for, and the fifth of a lost cluster is still there."""
    put_volume(machine, "master", labelled=True, files=MOVED)
    put_volume(machine, "node-5", labelled=True, files={f"{NODE_VOLUME}/identity": JOINED})
    deploy_fails(machine, ConflictError, "dfs-demo-node-5 on this Docker Engine")
    assert set(machine.docker.stored) == {"dfs-demo-master", "dfs-demo-node-5"}
    machine.store.save(SPEC)
    assert machine.engine.look(SPEC).joined == {"node-5"}


def test_the_undo_of_a_new_cluster_leaves_what_was_there(machine: DockerMachine) -> None:
    """A disk of its own that was prepared for a node stays when the deploy fails; what the deploy made goes."""
    put_volume(machine, "node-2", labelled=True, files={})
    machine.docker.networks["dfs-demo"] = FoundNetwork("dfs-demo", {})
    deploy_fails(machine, ConflictError, "network dfs-demo")
    assert set(machine.docker.stored) == {"dfs-demo-node-2"}
    assert machine.docker.made == {}


def test_a_new_node_takes_no_volume_without_labels(machine: DockerMachine) -> None:
    """Growing meets a volume of the new node's name; a known node goes on over one that was moved by hand."""
    machine.deploy()
    put_volume(machine, "node-4", labelled=False, files={f"{NODE_VOLUME}/identity": JOINED})
    with pytest.raises(ConflictError, match="dfs-demo-node-4 exists"):
        machine.engine.start_node(GROWN, GROWN.nodes[3])
    assert not machine.engine.discard_unjoined(GROWN, GROWN.nodes[3])
    assert "dfs-demo-node-4" in machine.docker.stored
    known = make_spec(nodes=4, joined=True, engine="docker")
    machine.engine.start_node(known, known.nodes[3])
    assert machine.docker.made["dfs-demo-node-4"].state == "running"


def test_a_volume_without_labels_is_left_and_named(machine: DockerMachine) -> None:
    """By `destroy --delete-data`, and by letting a node go."""
    machine.deploy()
    machine.engine.stop(SPEC, SPEC.roles)
    for role in ("node-2", "node-3"):
        put_volume(machine, role, labelled=False, files={})
    machine.engine.discard_node(SPEC, SPEC.nodes[2])
    assert machine.said[-1].startswith("The volume dfs-demo-node-3 stays: dfs did not make it.")
    machine.engine.remove(make_spec(nodes=2, engine="docker"))
    assert set(machine.docker.stored) == {"dfs-demo-node-2", "dfs-demo-node-3"}
    assert "dfs-demo-node-2 stays" in machine.said[-1]


def test_one_home_has_one_cluster_whatever_its_spelling(machine: DockerMachine, tmp_path: Path) -> None:
    """Labels of before name it through a link; a label without a home is nobody's."""
    machine.deploy()
    (tmp_path / "link").symlink_to(".")
    for labels in machine.docker.stored.values():
        labels[LABEL_HOME] = str(tmp_path / "link")
    machine.docker.networks["dfs-demo"].labels[LABEL_HOME] = str(tmp_path / "link")  # type: ignore[index]
    linked = machine.fresh_engine(tmp_path / "link")
    assert linked.look(SPEC).running == set(SPEC.roles)
    assert linked.layout(SPEC).labels[LABEL_HOME] == str(tmp_path)
    linked.stop(SPEC, SPEC.roles)
    linked.remove(SPEC)
    assert (machine.docker.stored, machine.docker.made, machine.docker.networks) == ({}, {}, {})
    put_volume(machine, "master", labelled=True, files={})
    machine.docker.stored["dfs-demo-master"][LABEL_HOME] = ""
    with pytest.raises(ConflictError, match="belongs to the cluster below"):
        machine.engine.look(SPEC)


def test_an_interrupted_removal_leaves_a_destroyed_cluster(
    machine: DockerMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again finishes it."""
    machine.deploy()
    machine.engine.stop(SPEC, SPEC.roles)
    with monkeypatch.context() as patch:
        patch.setattr(machine.docker, "remove_volume", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            machine.engine.remove(SPEC)
    assert machine.store.load("demo").destroyed
    machine.engine.remove(machine.store.load("demo"))
    assert machine.docker.stored == {}
    assert machine.store.find("demo") is None


def _interrupt(_name: str) -> None:
    raise KeyboardInterrupt
