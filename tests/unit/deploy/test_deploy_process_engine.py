"""The process engine, over programs that only wait."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.deploy import CREDENTIALS, descriptors_of, fake_programs, make_spec, pid_alive

from dfs_deploy.process_engine import ProcessEngine
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import StateStore
from dfs_runtime.clock import SystemClock
from dfs_wire.errors import ConflictError, DfsError, InternalError

SPEC = make_spec(nodes=2)


class Machine:
    """A home and an engine over fake programs."""

    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.bin.mkdir()
        self.home = root / "home"
        self.store = StateStore(self.home, SystemClock())
        self.programs = fake_programs(self.bin)
        self.engine = self.fresh_engine()
        self.paths = self.store.paths(SPEC.name)
        self.store.save(SPEC)

    def fresh_engine(self) -> ProcessEngine:
        """An engine that remembers nothing, as the next `dfs` command has one."""
        environ = {"PATH": os.environ["PATH"], "DFS_KEY": "secret", "DFS_PROFILE": "mine"}
        return ProcessEngine(
            self.store, self.home, SystemClock(), programs=lambda name: self.programs[name], environ=environ
        )

    def start_all(self, spec: ClusterSpec = SPEC) -> dict[str, int]:
        """Start every role; their pids."""
        self.engine.initialise_master(spec)
        self.engine.start_master(spec)
        for node in spec.nodes:
            self.engine.start_node(spec, node)
        return self.pids()

    def pids(self) -> dict[str, int]:
        """The pids of what runs."""
        return {role: process.pid for role, process in self.engine.processes(SPEC).items()}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which nothing runs, and nothing is left running."""
    made = Machine(tmp_path)
    yield made
    made.engine.stop(SPEC, SPEC.roles)


def arguments_of(pid: int) -> list[str]:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def await_text(path: Path, text: str, poll: Callable[[Callable[[], bool]], None]) -> None:
    """Wait until a file holds a text."""
    poll(lambda: path.exists() and text in path.read_text())


@pytest.fixture
def poll() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition, with a deadline."""
    import time

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            time.sleep(0.01)

    return wait


def test_a_master_is_initialised_wholly_with_its_secrets_kept(machine: Machine) -> None:
    """The directory gets its name last; keys are readable by the owner alone."""
    machine.engine.initialise_master(SPEC)
    assert machine.engine.look(SPEC).master_initialised
    assert machine.store.credentials(SPEC.name) == CREDENTIALS
    assert machine.paths.join_token.read_text() == "cc\n"
    assert machine.paths.join_token.stat().st_mode & 0o777 == 0o600
    assert machine.paths.stagings() == []


def test_what_a_killed_initialisation_left_is_made_again(machine: Machine) -> None:
    """Half a master is no master."""
    machine.paths.fresh_staging().mkdir()
    assert not machine.engine.look(SPEC).master_initialised
    machine.engine.initialise_master(SPEC)
    assert machine.engine.look(SPEC).master_initialised
    assert machine.paths.stagings() == []


def test_an_initialisation_that_fails_says_why(machine: Machine) -> None:
    """The program's last sentence is the error."""
    machine.programs["dfs-master"] = ["sh", "-c", "echo noise >&2; echo 'dfs-master: no space' >&2; exit 5"]
    with pytest.raises(DfsError, match="dfs-master: no space"):
        machine.engine.initialise_master(SPEC)
    machine.programs["dfs-master"] = ["sh", "-c", "echo no json"]
    with pytest.raises(InternalError):
        machine.engine.initialise_master(SPEC)


def test_roles_run_in_sessions_of_their_own_and_hold_no_pipe(machine: Machine) -> None:
    """Nothing of the caller's terminal, pipes or environment reaches a daemon, and no secret stands in `ps`."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        pids = machine.start_all()
        assert set(pids) == set(SPEC.roles)
        for role, pid in pids.items():
            assert os.getsid(pid) == pid
            files = descriptors_of(pid)
            assert files[0] == "/dev/null"
            assert files[1] == files[2] == str(machine.paths.output(role))
            assert not any(target.startswith("pipe:") for target in files.values())
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"DFS_KEY" not in environment
            assert b"DFS_PROFILE" not in environment
            assert not {"aa", "bb", "cc"} & set(arguments_of(pid))
    finally:
        os.close(reader)
        os.close(writer)


def test_command_lines_name_directories_and_addresses(machine: Machine) -> None:
    """People find a role with `ps`; a first join gets the token's file."""
    pids = machine.start_all()
    master, node = arguments_of(pids["master"]), arguments_of(pids["node-1"])
    assert master[2:] == [
        *("--data", str(machine.paths.master_data), "--listen", "127.0.0.1:5000"),
        *("--log-file", str(machine.paths.log("master")), ""),
    ]
    assert node[2:] == [
        *("--volume", str(machine.paths.volume("node-1")), "--name", "node-1", "--master", "127.0.0.1:5000"),
        *("--listen", "127.0.0.1:5001", "--log-file", str(machine.paths.log("node-1"))),
        *("--join-token-file", str(machine.paths.join_token), ""),
    ]


def test_a_known_node_must_find_its_volume_again(machine: Machine) -> None:
    """No token for a node that has an id: a forgotten mount must not become an empty volume."""
    machine.engine.initialise_master(SPEC)
    known = make_spec(nodes=2, joined=True, listen="0.0.0.0", public_host="box", line_protocol=False)  # noqa: S104
    machine.engine.start_node(known, known.nodes[0])
    machine.engine.start_master(known)
    pids = machine.pids()
    line = " ".join(arguments_of(pids["node-1"]))
    assert "--expect-node 1" in line
    assert "--join-token-file" not in line
    assert "--cluster-address 127.0.0.1:5001 --public-address box:5001" in line
    assert "--no-line-protocol" in arguments_of(pids["master"])


def test_the_next_command_finds_what_runs(machine: Machine) -> None:
    """By pid files; and without them, by command lines."""
    pids = machine.start_all()
    machine.engine.stop(SPEC, ["node-2"])
    assert machine.fresh_engine().look(SPEC).running == {"master", "node-1"}
    for role in SPEC.roles:
        machine.paths.pid(role).unlink(missing_ok=True)
    assert machine.fresh_engine().look(SPEC).running == {"master", "node-1"}
    machine.fresh_engine().stop(SPEC, SPEC.roles)
    assert not any(pid_alive(pid) for pid in pids.values())


@pytest.mark.parametrize(
    "content", ["", "{", '{"pid": 1, "started_ticks": 1}', '{"pid": 99999999, "started_ticks": 1}']
)
def test_a_pid_file_that_lies_is_not_believed(machine: Machine, content: str) -> None:
    """Neither damage nor the number of somebody else's process makes a role run."""
    machine.paths.pid("master").parent.mkdir()
    machine.paths.pid("master").write_text(content)
    assert machine.engine.look(SPEC).running == set()
    machine.engine.stop(SPEC, SPEC.roles)


def test_another_cluster_is_never_touched(machine: Machine) -> None:
    """Two clusters run the same programs; stopping one leaves the other."""
    pids = machine.start_all()
    other = make_spec("other", nodes=2)
    machine.store.save(other)
    assert machine.engine.look(other).running == set()
    machine.engine.stop(other, other.roles)
    assert all(pid_alive(pid) for pid in pids.values())


def test_only_another_installation_can_be_brought_back(machine: Machine, tmp_path: Path) -> None:
    """Asking stops nothing; what was installed over, or was never set aside, is not there."""
    machine.start_all()
    assert not machine.engine.can_bring_back(SPEC, "node-1")
    machine.engine.set_aside(SPEC, "node-1")
    machine.engine.start_node(SPEC, SPEC.nodes[0])
    before = machine.pids()
    assert not machine.engine.can_bring_back(SPEC, "node-1")
    (tmp_path / "newer").mkdir()
    machine.programs = fake_programs(tmp_path / "newer")
    assert machine.engine.can_bring_back(SPEC, "node-1")
    assert machine.pids() == before


def test_a_role_that_ignores_the_polite_signal_is_killed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, poll: Callable[[Callable[[], bool]], None]
) -> None:
    """After the grace period, and then it is really gone."""
    machine.programs = fake_programs(machine.bin, "--stubborn")
    monkeypatch.setattr("dfs_deploy.process_engine.STOP_SECONDS", 0.1)
    machine.engine.initialise_master(SPEC)
    machine.engine.start_master(SPEC)
    pid = machine.pids()["master"]
    await_text(machine.paths.output("master"), "began", poll)
    machine.engine.stop(SPEC, ["master"])
    assert not pid_alive(pid)


def test_last_words_come_from_the_output_or_the_log(
    machine: Machine, poll: Callable[[Callable[[], bool]], None]
) -> None:
    """A role that died says why; one that was silent has a place to look."""
    assert "wrote nothing" in machine.engine.last_words(SPEC, "node-1")
    machine.paths.logs.mkdir()
    machine.paths.log("node-1").write_text('{"message": "volume is full"}\n')
    assert "volume is full" in machine.engine.last_words(SPEC, "node-1")
    machine.programs = fake_programs(machine.bin, "--dies")
    machine.engine.initialise_master(SPEC)
    machine.engine.start_node(SPEC, SPEC.nodes[0])
    await_text(machine.paths.output("node-1"), "taken", poll)
    poll(lambda: "node-1" not in machine.engine.look(SPEC).running)
    assert machine.engine.last_words(SPEC, "node-1").startswith("dfs-node: Port 5001 is taken.")


def test_output_of_a_crash_loop_does_not_fill_the_disk(machine: Machine) -> None:
    """A large one is set aside once, at the next start."""
    machine.paths.logs.mkdir()
    machine.paths.output("master").write_bytes(b"x" * (1024 * 1024 + 1))
    machine.engine.initialise_master(SPEC)
    machine.engine.start_master(SPEC)
    assert machine.paths.output("master").stat().st_size < 1024
    assert (machine.paths.logs / "master.out.1").stat().st_size > 1024 * 1024


@pytest.mark.parametrize(
    ("identity", "discarded"),
    [
        (None, True),
        (b"DFSIDENT....\x81\xa7node_id\x00", True),
        (b"DFSIDENT....\x81\xa7node_id\x07", False),
        (b"?", False),
    ],
)
def test_only_a_node_that_never_joined_is_discarded(machine: Machine, identity: bytes | None, discarded: bool) -> None:
    """What may hold chunks, or cannot be read, is kept."""
    machine.engine.start_node(SPEC, SPEC.nodes[1])
    machine.engine.stop(SPEC, ["node-2"])
    volume = machine.paths.volume("node-2")
    volume.mkdir()
    if identity is not None:
        (volume / "identity").write_bytes(identity)
    assert machine.engine.discard_unjoined(SPEC, SPEC.nodes[1]) is discarded
    assert volume.exists() is not discarded


def test_a_directory_that_was_there_before_is_never_discarded(machine: Machine) -> None:
    """It may be a mount that somebody prepared for the node."""
    volume = machine.paths.volume("node-2")
    volume.mkdir(parents=True)
    machine.engine.start_node(SPEC, SPEC.nodes[1])
    machine.engine.stop(SPEC, ["node-2"])
    assert not machine.engine.discard_unjoined(SPEC, SPEC.nodes[1])
    assert volume.exists()


def test_data_is_never_deleted_under_a_running_role(machine: Machine) -> None:
    """Stop first."""
    machine.start_all()
    with pytest.raises(ConflictError, match="still runs"):
        machine.engine.remove(SPEC)
    machine.engine.stop(SPEC, SPEC.roles)
    machine.engine.remove(SPEC)
    assert not machine.paths.root.exists()


def test_a_master_command_runs_over_the_clusters_data(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """Its output and exit code are ours."""
    assert machine.engine.run_master_command(SPEC, ["db", "show", "nodes"]) == 7
    assert capfd.readouterr().out == f"db show nodes --data {machine.paths.master_data}\n"


def test_logs_hold_raw_output_and_records(machine: Machine) -> None:
    """The last lines of both, then what is added."""
    machine.paths.logs.mkdir()
    machine.paths.output("master").write_text("raw\n")
    machine.paths.log("master").write_text('{"message": "one"}\n{"message": "two"}\n')
    assert [line.text for line in machine.engine.log_tail(SPEC, "master", 2)] == [
        '{"message": "one"}',
        '{"message": "two"}',
    ]
    assert machine.engine.log_tail(SPEC, "master", 10)[0].text == "raw"
    assert machine.engine.log_tail(SPEC, "master", 0) == []
    lines = machine.engine.follow_logs(SPEC, ["master"], 1)
    assert next(lines).text == '{"message": "two"}'
    with machine.paths.log("master").open("a") as file:
        file.write('{"message": "three"}\n')
    assert next(lines).text == '{"message": "three"}'
    lines.close()  # type: ignore[attr-defined]
