"""Fakes around the deploy module: an engine, a health check and profiles that only remember."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from dfs_deploy.cluster import Operator
from dfs_deploy.engine import LogLine
from dfs_deploy.plan import Found
from dfs_deploy.spec import MASTER, ClusterSpec, NodeSpec
from dfs_deploy.state import Credentials, StateStore
from dfs_deploy.surroundings import Profiles, Surroundings
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import CorruptError, NotFoundError, UnavailableError
from dfs_wire.messages import DrainProgressReply

CREDENTIALS = Credentials(cluster_id="c1", client_key="aa", admin_key="bb", join_token="cc")


def make_spec(name: str = "demo", nodes: int = 3, *, joined: bool = False, **changes: object) -> ClusterSpec:
    """A cluster on ports 5000, 5001, ...; `joined`: its nodes have the ids 1, 2, ..."""
    settled: dict[str, object] = {
        "name": name,
        "engine": "process",
        "copies": 2,
        "listen": "127.0.0.1",
        "master_port": 5000,
        "nodes": tuple(NodeSpec(n, 5000 + n, n if joined else None) for n in range(1, nodes + 1)),
    }
    return ClusterSpec(**(settled | changes))  # type: ignore[arg-type]


@dataclass
class FakeEngine:
    """An engine whose roles run when told to, except those in `broken`."""

    store: StateStore
    name: str = "process"
    running: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    #: `cluster/role`.
    joined: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    #: Roles that another version runs; of those set aside, and of those whose new version does not start.
    behind: set[str] = field(default_factory=set)
    aside: set[str] = field(default_factory=set)
    spoilt: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    installed_over: bool = False

    def look(self, spec: ClusterSpec) -> Found:
        """What runs and what is on disk."""
        return Found(
            master_initialised=self.store.paths(spec.name).master_data.exists(),
            running=frozenset(self.running & set(spec.roles)),
            joined=frozenset(role for role in spec.roles if f"{spec.name}/{role}" in self.joined),
        )

    def save_catalog(self, spec: ClusterSpec, target: Path) -> None:
        """There is none."""
        raise NotFoundError("a cluster that only remembers has no database")

    def scan_volume(self, spec: ClusterSpec, node: NodeSpec, out: BinaryIO, *, read_data: bool) -> None:
        """There is none."""
        raise NotFoundError("a cluster that only remembers has no volumes")

    def initialise_master(self, spec: ClusterSpec) -> None:
        """Keep keys."""
        self.calls.append("init")
        self.store.paths(spec.name).master_data.mkdir()
        self.store.save_credentials(spec.name, CREDENTIALS)

    def start_master(self, spec: ClusterSpec) -> None:
        """Run, unless broken."""
        self._start(MASTER)

    def start_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Run and join, unless broken."""
        self._start(node.name)
        if node.name in self.running:
            self.joined.add(f"{spec.name}/{node.name}")

    def _start(self, role: str) -> None:
        self.calls.append(f"start {role}")
        if role not in self.broken | self.spoilt:
            self.running.add(role)
            self.behind.discard(role)

    def outdated(self, spec: ClusterSpec) -> frozenset[str]:
        """Those in `behind`."""
        return frozenset(self.behind & self.running)

    def set_aside(self, spec: ClusterSpec, role: str) -> None:
        """Runs no more."""
        self.calls.append(f"set aside {role}")
        self.running.discard(role)
        self.aside.add(role)

    def can_bring_back(self, spec: ClusterSpec, role: str) -> bool:
        """What was set aside is there, unless it was `installed_over`."""
        return role in self.aside and not self.installed_over

    def bring_back(self, spec: ClusterSpec, role: str) -> None:
        """Runs as before, unless it is in `gone`."""
        self.calls.append(f"bring back {role}")
        if role in self.gone:
            self.running.discard(role)
            return
        self.aside.discard(role)
        self.running.add(role)
        self.behind.add(role)

    def let_go(self, spec: ClusterSpec) -> None:
        """Nothing is set aside."""
        self.aside.clear()

    def stop(self, spec: ClusterSpec, roles: Sequence[str]) -> None:
        """Run no more."""
        self.calls.append(f"stop {' '.join(roles)}")
        self.running -= set(roles)

    def last_words(self, spec: ClusterSpec, role: str) -> str:
        """Something."""
        return "it fell over"

    def discard_unjoined(self, spec: ClusterSpec, node: NodeSpec) -> bool:
        """Only what never joined."""
        self.calls.append(f"discard {node.name}")
        return f"{spec.name}/{node.name}" not in self.joined

    def discard_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Note it."""
        self.discarded.append(node.name)

    def dismantle(self, spec: ClusterSpec) -> None:
        """Nothing to do."""

    def data_place(self, spec: ClusterSpec) -> str:
        """The directory."""
        return str(self.store.paths(spec.name).root)

    def remove(self, spec: ClusterSpec) -> None:
        """Forget everything."""
        self.calls.append("remove")
        self.joined = {each for each in self.joined if not each.startswith(f"{spec.name}/")}
        self.store.forget(spec.name)

    def take_back(self, spec: ClusterSpec) -> None:
        """All of it was made here."""
        self.remove(spec)

    def run_master_command(self, spec: ClusterSpec, arguments: Sequence[str]) -> int:
        """Done."""
        self.calls.append(" ".join(arguments))
        return 0

    def log_tail(self, spec: ClusterSpec, role: str, lines: int) -> list[LogLine]:
        """One line."""
        return [LogLine(role, '{"at": "2026-01-01", "message": "hello"}')][:lines]

    def follow_logs(self, spec: ClusterSpec, roles: Sequence[str], lines: int) -> Iterator[LogLine]:
        """One line a role."""
        for role in roles:
            yield from self.log_tail(spec, role, lines)


@dataclass
class FakeHealth:
    """Believes the engine; `deaf` nodes run and never get live, and with `corrupt` the self-test fails."""

    engine: FakeEngine
    deaf: set[str] = field(default_factory=set)
    corrupt: bool = False
    tests: int = 0
    left: int = 3
    stuck: bool = False
    damaged: int = 0
    drains: list[tuple[int, bool]] = field(default_factory=list)
    forgotten: set[int] = field(default_factory=set)
    #: Ids of nodes whose draining cannot be stopped.
    stays_draining: set[int] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=dict)
    lacking: list[int] = field(default_factory=lambda: [0])
    asked: int = 0
    states: dict[str, str] = field(default_factory=dict)

    def master_answers(self, spec: ClusterSpec, credentials: Credentials) -> bool:
        """It does when it runs."""
        return MASTER in self.engine.running

    def live_nodes(self, spec: ClusterSpec, credentials: Credentials, since_ms: int) -> dict[str, int]:
        """Every running node is live; its id is its number, and another one with each new volume."""
        live = [node for node in spec.nodes if node.name in self.engine.running - self.deaf]
        return {node.name: node.number + 100 * self.engine.discarded.count(node.name) for node in live}

    def node_states(self, spec: ClusterSpec, credentials: Credentials) -> dict[str, str]:
        """All live, but for what `states` says."""
        return {node.name: self.states.get(node.name, "live") for node in spec.nodes}

    def known_nodes(self, spec: ClusterSpec, credentials: Credentials) -> dict[str, int]:
        """All that ever ran and were not forgotten; their ids are their numbers."""
        names = {role.partition("/")[2] for role in self.engine.joined if role.startswith(f"{spec.name}/")}
        ids = {name: int(name.partition("-")[2]) for name in names}
        return {name: node_id for name, node_id in ids.items() if node_id not in self.forgotten}

    def too_few_copies(self, spec: ClusterSpec, credentials: Credentials) -> int:
        """The next of `lacking`; then the last one for ever."""
        self.asked += 1
        return self.lacking.pop(0) if len(self.lacking) > 1 else self.lacking[0]

    def drain_node(self, spec: ClusterSpec, credentials: Credentials, node_id: int, *, cancel: bool) -> None:
        """Remember what was said; with `stays_draining`, no cancelling."""
        if cancel and node_id in self.stays_draining:
            raise UnavailableError(f"node {node_id} goes on")
        self.drains.append((node_id, cancel))

    def drain_progress(self, spec: ClusterSpec, credentials: Credentials, node_id: int) -> DrainProgressReply:
        """One less with every look; with `stuck`, always one, and of `damaged` ones it is all that is left."""
        self.left -= 0 if self.stuck else 1
        left = max(self.left, 1 if self.stuck else 0)
        files = ["/a"] if self.damaged else []
        return DrainProgressReply(
            state="draining", chunks_left=left, bytes_left=left, draining=True, files=files, damaged=self.damaged
        )

    def forget_node(self, spec: ClusterSpec, credentials: Credentials, node_id: int) -> None:
        """Forget."""
        self.forgotten.add(node_id)

    def change_setting(self, spec: ClusterSpec, credentials: Credentials, name: str, value: str) -> None:
        """Remember."""
        self.settings[name] = value

    def self_test(self, spec: ClusterSpec, credentials: Credentials) -> None:
        """Count."""
        self.tests += 1
        if self.corrupt:
            raise CorruptError("other bytes came back")


@dataclass
class FakeProfiles:
    """Profiles in memory: name -> master's address."""

    known: dict[str, str] = field(default_factory=dict)
    chosen: str | None = None

    def exists(self, name: str) -> bool:
        """Whether it is known."""
        return name in self.known

    def is_current(self, spec: ClusterSpec, credentials: Credentials) -> bool:
        """Whether it leads to the cluster."""
        return self.known.get(spec.name) == spec.master_address

    def write(self, spec: ClusterSpec, credentials: Credentials) -> None:
        """Keep."""
        self.known[spec.name] = spec.master_address

    def remove(self, name: str) -> None:
        """Forget."""
        self.known.pop(name, None)

    def choose(self, name: str) -> None:
        """Use by default."""
        self.chosen = name


class Bench:
    """An operator over fakes; `taken` are ports of other programs."""

    def __init__(self, home: Path) -> None:
        self.clock = ManualClock()
        self.store = StateStore(home, self.clock)
        self.engine = FakeEngine(self.store)
        self.health = FakeHealth(self.engine)
        self.profiles = FakeProfiles()
        self.taken: set[int] = set()
        self.said: list[str] = []
        self.around = Surroundings(
            store=self.store,
            profiles=self.profiles,
            health=self.health,
            clock=self.clock,
            progress=self.said.append,
        )
        self.operator = self._operator()

    def _operator(self) -> Operator:
        return Operator(self.around, {"process": self.engine}, lambda _host, port: port not in self.taken)

    def use_profiles(self, profiles: Profiles) -> None:
        """Work with these from now on."""
        self.around = msgspec.structs.replace(self.around, profiles=profiles)
        self.operator = self._operator()


FAKE_DAEMON = """\
import json, signal, sys, time
arguments = sys.argv[1:]
if arguments and arguments[0] == "init":
    import pathlib
    data = pathlib.Path(arguments[arguments.index("--data") + 1])
    data.mkdir()
    print(json.dumps({"cluster_id": "c1", "client_key": "aa", "admin_key": "bb", "join_token": "cc"}))
    sys.exit(0)
if arguments and arguments[0] == "db":
    print("db", *arguments[1:])
    sys.exit(7)
if "--stubborn" in open(__file__ + ".mode").read():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("began", flush=True)
if "--dies" in open(__file__ + ".mode").read():
    sys.exit("dfs-node: Port 5001 is taken.")
while True:
    time.sleep(60)
"""


def fake_programs(directory: Path, mode: str = "") -> dict[str, list[str]]:
    """Scripts named as the daemons are, which only wait; their command lines. `mode`: `--stubborn` or `--dies`."""
    commands: dict[str, list[str]] = {}
    for program in ("dfs-master", "dfs-node"):
        script = directory / program
        script.write_text(FAKE_DAEMON)
        Path(f"{script}.mode").write_text(mode)
        commands[program] = [sys.executable, str(script)]
    return commands


def pid_alive(pid: int) -> bool:
    """Whether a process of that number lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def descriptors_of(pid: int) -> dict[int, str]:
    """What the open files of a process are, by number."""
    found: dict[int, str] = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        # One that was just closed: a process that starts reads its program.
        with suppress(FileNotFoundError):
            found[int(path.name)] = str(path.readlink())
    return found
