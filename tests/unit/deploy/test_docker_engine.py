"""The engine over Docker, against an engine in memory."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.support.deploy import CREDENTIALS
from tests.support.docker_machine import GROWN, JOINED, SPEC, UNJOINED, DockerMachine, print_keys

from dfs_deploy.containers import JOIN_TOKEN, LABEL_HOME, MASTER_DATA, NODE_VOLUME
from dfs_deploy.docker_engine.sdk import FoundNetwork
from dfs_deploy.spec import NodeSpec
from dfs_wire.errors import AlreadyExistsError, ConflictError, DfsError, InternalError, NotFoundError


@pytest.fixture
def machine(tmp_path: Path) -> DockerMachine:
    """Nothing on it."""
    return DockerMachine(tmp_path)


def test_a_cluster_is_found_again_by_labels(machine: DockerMachine) -> None:
    """What one command made, the next one sees."""
    assert not machine.engine.look(SPEC).master_initialised
    machine.deploy()
    found = machine.fresh_engine().look(SPEC)
    assert found.master_initialised
    assert found.running == set(SPEC.roles)
    assert set(machine.docker.made) == {f"dfs-demo-{role}" for role in SPEC.roles}, "the helper is gone"


def test_paused_and_restarting_containers_are_stuck(machine: DockerMachine) -> None:
    """They neither serve nor have ended."""
    machine.deploy()
    machine.docker.made["dfs-demo-node-1"].state = "paused"
    machine.docker.made["dfs-demo-node-2"].state = "restarting"
    machine.docker.made["dfs-demo-node-3"].state = "exited"
    found = machine.engine.look(SPEC)
    assert (found.running, found.stuck) == ({"master"}, {"node-1", "node-2"})


def test_a_cluster_of_another_home_is_not_touched(machine: DockerMachine, tmp_path: Path) -> None:
    """Two homes may not share a name on one engine."""
    machine.deploy()
    with pytest.raises(ConflictError, match="another --name"):
        machine.fresh_engine(tmp_path / "other").look(SPEC)


def test_a_network_of_somebody_else_is_not_used(machine: DockerMachine) -> None:
    """It has the name by chance."""
    machine.docker.networks["dfs-demo"] = FoundNetwork("dfs-demo", {})
    machine.store.save(SPEC)
    machine.engine.initialise_master(SPEC)
    with pytest.raises(ConflictError, match="network dfs-demo"):
        machine.engine.start_master(SPEC)
    machine.engine.remove(SPEC)
    assert "dfs-demo" in machine.docker.networks


def test_keys_are_kept_when_the_master_is_whole(machine: DockerMachine) -> None:
    """An attempt that was cut short leaves a volume, which the next one throws away."""
    machine.store.save(SPEC)
    machine.docker.program = lambda _container, command, _out: 1 if "init" in command else 0
    with pytest.raises(DfsError, match="failed without a word"):
        machine.engine.initialise_master(SPEC)
    assert not machine.engine.look(SPEC).master_initialised
    machine.docker.program = lambda _container, command, out: out.write(b"no keys" * ("init" in command)) * 0
    with pytest.raises(InternalError):
        machine.engine.initialise_master(SPEC)
    machine.docker.program = print_keys
    machine.engine.initialise_master(SPEC)
    assert machine.store.credentials("demo") == CREDENTIALS
    assert machine.engine.look(SPEC).master_initialised


def test_the_join_token_is_a_file_for_a_first_join_only(machine: DockerMachine) -> None:
    """A node that is known is told its id instead."""
    machine.deploy()
    assert machine.docker.files["dfs-demo-node-1"][JOIN_TOKEN] == CREDENTIALS.join_token.encode() + b"\n"
    assert "--join-token-file" in machine.docker.made["dfs-demo-node-1"].spec.command
    known = SPEC.with_ids({"node-1": 10})
    machine.engine.stop(known, ["node-1"])
    machine.engine.start_node(known, known.node("node-1"))
    assert "--expect-node" in machine.docker.made["dfs-demo-node-1"].spec.command


@pytest.mark.parametrize("state", ["created", "exited", "restarting"])
def test_a_container_without_its_token_gets_it(machine: DockerMachine, state: str) -> None:
    """A deploy was killed between making the container and giving it the token; one that runs has had it."""
    machine.deploy()
    del machine.docker.files["dfs-demo-node-1"][JOIN_TOKEN]
    machine.docker.made["dfs-demo-node-1"].state = state
    machine.fresh_engine().start_node(SPEC, SPEC.nodes[0])
    assert machine.docker.files["dfs-demo-node-1"].pop(JOIN_TOKEN) == CREDENTIALS.join_token.encode() + b"\n"
    machine.engine.start_node(SPEC, SPEC.nodes[0])
    assert JOIN_TOKEN not in machine.docker.files["dfs-demo-node-1"]


def test_a_container_is_made_anew_only_when_it_differs(machine: DockerMachine) -> None:
    """The same is started; another image or other arguments give another container over the same volume."""
    machine.deploy()
    machine.engine.stop(SPEC, ["node-1"])
    machine.docker.calls.clear()
    machine.engine.start_node(SPEC, SPEC.nodes[0])
    assert machine.docker.calls == ["start dfs-demo-node-1"]
    machine.docker.calls.clear()
    machine.images.reference = "dfs:2"
    machine.fresh_engine().start_node(SPEC, SPEC.nodes[0])
    assert machine.docker.calls == ["remove dfs-demo-node-1", "create dfs-demo-node-1", "start dfs-demo-node-1"]


def test_a_paused_container_goes_on(machine: DockerMachine) -> None:
    """Nothing is removed under a node that only stands still."""
    machine.deploy()
    machine.docker.made["dfs-demo-node-1"].state = "paused"
    machine.images.reference = "dfs:2"
    machine.docker.calls.clear()
    machine.fresh_engine().start_node(SPEC, SPEC.nodes[0])
    assert machine.docker.calls == ["start dfs-demo-node-1"]


def test_only_an_unjoined_volume_that_we_made_is_taken_back(machine: DockerMachine) -> None:
    """A new node's container goes in any case; its volume stays when chunks may lie on it."""
    machine.deploy(GROWN)
    fourth = GROWN.nodes[3]
    machine.docker.files["dfs-demo-node-4"][f"{NODE_VOLUME}/identity"] = JOINED
    assert not machine.engine.discard_unjoined(GROWN, fourth)
    assert "dfs-demo-node-4" in machine.docker.stored
    assert "dfs-demo-node-4" not in machine.docker.made
    machine.engine.start_node(GROWN, fourth)
    machine.docker.files["dfs-demo-node-4"][f"{NODE_VOLUME}/identity"] = UNJOINED
    assert not machine.fresh_engine().discard_unjoined(GROWN, fourth), "another command made it"
    machine.engine.start_node(GROWN, fourth)
    assert machine.engine.discard_unjoined(GROWN, fourth)
    assert "dfs-demo-node-4" not in machine.docker.stored


def test_a_node_that_was_let_go_leaves_nothing(machine: DockerMachine) -> None:
    """Container and volume."""
    machine.deploy()
    machine.engine.discard_node(SPEC, SPEC.nodes[2])
    assert "dfs-demo-node-3" not in machine.docker.made | machine.docker.stored


def test_without_a_master_a_joined_volume_counts(machine: DockerMachine) -> None:
    """Volumes that somebody made beforehand are empty; one with an identity belongs to a lost cluster."""
    machine.deploy()
    machine.store.paths("demo").credentials.unlink()
    assert machine.engine.look(SPEC).joined == frozenset()
    machine.docker.files["dfs-demo-node-2"][f"{NODE_VOLUME}/identity"] = JOINED
    assert machine.engine.look(SPEC).joined == {"node-2"}


def test_dismantle_keeps_the_volumes_and_remove_does_not(machine: DockerMachine) -> None:
    """A running role stands in the way of both."""
    machine.deploy()
    with pytest.raises(ConflictError, match="still runs"):
        machine.engine.dismantle(SPEC)
    machine.engine.stop(SPEC, SPEC.roles)
    machine.engine.dismantle(SPEC)
    assert (machine.docker.made, machine.docker.networks) == ({}, {})
    assert set(machine.docker.stored) == {f"dfs-demo-{role}" for role in SPEC.roles}
    machine.engine.remove(SPEC)
    assert machine.docker.stored == {}
    assert machine.store.find("demo") is None


def test_last_words_are_shown_before_a_rollback_removes_them(machine: DockerMachine) -> None:
    """The last line is the reason; those before it help."""
    machine.deploy()
    assert machine.engine.last_words(SPEC, "node-1") == "its container wrote nothing"
    record = json.dumps({"at": "2026", "message": "disk full"})
    machine.docker.made["dfs-demo-node-1"].log = f"first\n{record}\n".encode()
    assert machine.engine.last_words(SPEC, "node-1") == "disk full"
    assert machine.said[-2:] == ["  first", f"  {record}"]


def test_master_commands_run_in_its_container_or_over_its_volume(
    machine: DockerMachine, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The output comes here, and so does the exit code."""
    machine.deploy()
    seen: list[tuple[str, Sequence[str]]] = []

    def program(container: str, command: Sequence[str], out: BinaryIO) -> int:
        seen.append((container, command))
        out.write(b"row\n")
        return 7

    machine.docker.program = program
    assert machine.engine.run_master_command(SPEC, ["db", "show", "files"]) == 7
    machine.engine.stop(SPEC, ["master"])
    assert machine.engine.run_master_command(SPEC, ["db", "check"]) == 7
    assert seen[0] == ("dfs-demo-master", ["dfs-master", "db", "show", "files", "--data", MASTER_DATA])
    assert seen[1][0].startswith("dfs-demo-helper-")
    assert capfdbinary.readouterr().out == b"row\nrow\n"
    assert not any("helper" in name for name in machine.docker.made)


def test_a_backup_comes_out_of_the_container(machine: DockerMachine, tmp_path: Path) -> None:
    """The copy is made inside, fetched, and removed there; a target that exists is not overwritten."""
    machine.deploy()
    files = machine.docker.files["dfs-demo-master"]

    def program(_container: str, command: Sequence[str], out: BinaryIO) -> int:
        if command[0] == "rm":
            del files[command[2]]
        elif command[0] == "dfs-master":
            files[command[3]] = b"database"
            out.write(f"8 bytes copied to {command[3]}\n".encode())
        return 0

    machine.docker.program = program
    target = tmp_path / "copy.db"
    assert machine.engine.run_master_command(SPEC, ["db", "backup", str(target), "--json"]) == 0
    assert target.read_bytes() == b"database"
    assert target.stat().st_mode & 0o777 == 0o600
    assert not [name for name in files if "backup" in name]
    with pytest.raises(AlreadyExistsError):
        machine.engine.run_master_command(SPEC, ["db", "backup", str(target)])
    with pytest.raises(NotFoundError):
        machine.engine.run_master_command(SPEC, ["db", "backup", str(tmp_path / "none" / "x")])


def test_the_layout_is_what_runs(machine: DockerMachine) -> None:
    """Whoever writes it down elsewhere gets the same containers."""
    machine.deploy()
    layout = machine.engine.layout(SPEC)
    assert [each.config for each in layout.containers] == [
        machine.docker.made[each.name].spec.config for each in layout.containers
    ]
    assert layout.labels[LABEL_HOME] == str(machine.home)
    assert machine.engine.data_place(SPEC) == "the Docker volumes dfs-demo-master to dfs-demo-node-3"
    assert replace(SPEC.nodes[0], id=None) == NodeSpec(1, 5001)


def test_logs_of_a_container(machine: DockerMachine) -> None:
    """The last lines of a role; none of one that is not there."""
    machine.deploy()
    machine.docker.made["dfs-demo-master"].log = b"one\ntwo\nthree\n"
    assert [line.text for line in machine.engine.log_tail(SPEC, "master", 2)] == ["two", "three"]
    assert machine.engine.log_tail(SPEC, "node-9", 2) == []
    followed = machine.engine.follow_logs(SPEC, ["master"], 1)
    assert [next(followed).text for _ in range(4)] == ["three", "one", "two", "three"]


def test_a_container_of_another_image_is_outdated_and_can_come_back(machine: DockerMachine) -> None:
    """Set aside it is neither seen nor stopped as the role; brought back it is the very container of before."""
    machine.deploy()
    machine.images.reference = "dfs:2"
    engine = machine.fresh_engine()
    assert engine.outdated(SPEC) == frozenset(SPEC.roles)
    before = machine.docker.made["dfs-demo-node-1"]
    engine.set_aside(SPEC, "node-1")
    assert "node-1" not in engine.look(SPEC).running
    engine.start_node(SPEC, SPEC.nodes[0])
    assert machine.docker.made["dfs-demo-node-1"].spec.image == "dfs:2"
    assert "node-1" in engine.look(SPEC).running
    assert engine.outdated(SPEC) == frozenset(SPEC.roles) - {"node-1"}
    assert engine.can_bring_back(SPEC, "node-1")
    engine.bring_back(SPEC, "node-1")
    assert machine.docker.made["dfs-demo-node-1"] is before
    assert before.state == "running"
    assert "dfs-demo-node-1-before" not in machine.docker.made


def test_a_volume_goes_although_a_killed_upgrade_left_a_container_over_it(machine: DockerMachine) -> None:
    """Set aside, and never let go: the next `dfs node remove` or `replace` does it."""
    machine.deploy()
    machine.engine.set_aside(SPEC, "node-3")
    machine.engine.start_node(SPEC, SPEC.nodes[2])
    engine = machine.fresh_engine()
    engine.stop(SPEC, ["node-3"])
    engine.discard_node(SPEC, SPEC.nodes[2])
    assert not [name for name in machine.docker.made if "node-3" in name]
    assert "dfs-demo-node-3" not in machine.docker.stored


def test_nothing_is_left_of_what_was_set_aside(machine: DockerMachine) -> None:
    """After an upgrade that went well, or by the next destroy; and what was never set aside just runs."""
    machine.deploy()
    machine.engine.set_aside(SPEC, "master")
    machine.engine.start_master(SPEC)
    machine.engine.let_go(SPEC)
    assert "dfs-demo-master-before" not in machine.docker.made
    machine.engine.stop(SPEC, ["node-2"])
    machine.engine.bring_back(SPEC, "node-2")
    assert machine.docker.made["dfs-demo-node-2"].state == "running"
    machine.engine.set_aside(SPEC, "node-1")
    machine.engine.stop(SPEC, SPEC.roles)
    machine.engine.dismantle(SPEC)
    assert machine.docker.made == {}
