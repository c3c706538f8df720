"""Carry out the steps of one plan on one cluster, and take back what a deploy that failed has made."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import msgspec

from dfs_deploy.engine import Engine
from dfs_deploy.health import Health
from dfs_deploy.plan import (
    AwaitMaster,
    AwaitNodes,
    DeleteData,
    DeleteNodes,
    Dismantle,
    DrainNodes,
    ForgetNodes,
    InitialiseMaster,
    RemoveProfile,
    SaveSpec,
    SelfTest,
    StartMaster,
    StartNode,
    Step,
    StopRoles,
    WriteProfile,
)
from dfs_deploy.spec import MASTER, ClusterSpec
from dfs_deploy.state import Credentials, StateStore
from dfs_runtime.clock import Clock, Deadline
from dfs_wire.errors import DfsError, TimedOutError, UnavailableError

#: A master may have to upgrade a large database before it answers; one that dies is noticed at once.
MASTER_SECONDS = 120.0
NODES_SECONDS = 60.0
_POLL_SECONDS = 0.05
#: A drain that moved nothing for so long is given up.
DRAIN_SECONDS = 180.0
_DRAIN_POLL_SECONDS = 0.5

#: Gets one line about each thing that is done, for people.
Progress = Callable[[str], None]


class Profiles(Protocol):
    """The client profiles, as far as deploy needs them."""

    def exists(self, name: str) -> bool:
        """Whether there is a profile of that name, of whatever cluster."""
        ...

    def is_current(self, spec: ClusterSpec, credentials: Credentials) -> bool:
        """Whether the cluster's profile exists and says what the cluster says."""
        ...

    def write(self, spec: ClusterSpec, credentials: Credentials) -> None:
        """Write the cluster's profile."""
        ...

    def remove(self, name: str) -> None:
        """Delete a profile; none is fine."""
        ...

    def choose(self, name: str) -> None:
        """Make a profile the one that is used when none is named."""
        ...


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What every run works with."""

    store: StateStore
    profiles: Profiles
    health: Health
    clock: Clock
    progress: Progress


class Run:
    """One command at work on one cluster, whose lock the caller holds. `spec` changes as nodes get their ids."""

    def __init__(self, around: Surroundings, engine: Engine, spec: ClusterSpec) -> None:
        self._around = around
        self._engine = engine
        self.spec = spec
        self._started_ms = around.clock.wall_ms()
        self._started: list[str] = []
        #: Nodes that are being drained, by name.
        self._draining: dict[str, int] = {}

    def carry_out(self, steps: Iterable[Step]) -> None:
        """Do the steps in order.

        Raises:
            DfsError: one failed; those before it stay done.
        """
        for step in steps:
            self._carry_out_one(step)

    def _carry_out_one(self, step: Step) -> None:
        spec, engine, around = self.spec, self._engine, self._around
        match step:
            case SaveSpec(wanted):
                around.store.save(wanted)
                self.spec = wanted
                self._draining.clear()
            case InitialiseMaster():
                around.progress("making the master's database and keys")
                engine.initialise_master(spec)
            case StartMaster():
                around.progress(f"starting the master on {spec.master_address}")
                engine.start_master(spec)
                self._started.append(MASTER)
            case AwaitMaster():
                self._await_master()
            case StartNode(node):
                around.progress(f"starting {node}")
                engine.start_node(spec, spec.node(node))
                self._started.append(node)
            case AwaitNodes():
                self._await_nodes()
            case SelfTest():
                around.progress("uploading a file, reading it back and removing it")
                around.health.self_test(spec, self._credentials())
            case WriteProfile():
                around.profiles.write(spec, self._credentials())
            case StopRoles(roles):
                around.progress(f"stopping {', '.join(roles)}")
                engine.stop(spec, roles)
            case DrainNodes(names):
                self._drain(names)
            case ForgetNodes(names):
                for node_id in self._known_ids(names).values():
                    around.health.forget_node(spec, self._credentials(), node_id)
            case DeleteNodes(gone):
                for each in gone:
                    around.progress(f"deleting the volume of {each.name}")
                    engine.discard_node(spec, each)
            case Dismantle():
                engine.dismantle(spec)
            case RemoveProfile():
                around.profiles.remove(spec.name)
            case DeleteData():
                around.progress("deleting all data")
                engine.remove(spec)

    def undo(self, existing: ClusterSpec | None) -> None:
        """Take back what this run made: a new cluster wholly, of a grown one the new nodes.

        Roles of an existing cluster that were dead and run again are left running: they serve its data. A new node
        that has already joined keeps its volume, because chunks may have been given to it; the next growth uses it.
        """
        self._around.progress("taking back what was begun")
        spec, engine = self.spec, self._engine
        if existing is None:
            engine.stop(spec, spec.roles)
            engine.remove(spec)
            self._around.profiles.remove(spec.name)
            return
        for node_id in self._draining.values():
            self._around.health.drain_node(spec, self._credentials(), node_id, cancel=True)
        grown = spec.nodes[len(existing.nodes) :]
        engine.stop(spec, [node.name for node in grown])
        for node in grown:
            engine.discard_unjoined(spec, node)
        self._around.store.save(existing.with_ids({node.name: node.id for node in spec.nodes if node.id is not None}))

    # -- waiting ------------------------------------------------------------------------------------------------

    def _credentials(self) -> Credentials:
        return self._around.store.credentials(self.spec.name)

    def _await_master(self) -> None:
        credentials = self._credentials()
        deadline = Deadline(self._around.clock, MASTER_SECONDS)
        while not self._around.health.master_answers(self.spec, credentials):
            self._check_alive([MASTER])
            if deadline.passed():
                raise TimedOutError(
                    f"The master of cluster {self.spec.name!r} does not answer after {MASTER_SECONDS:.0f} s: "
                    f"{self._engine.last_words(self.spec, MASTER)}."
                )
            self._around.clock.sleep(_POLL_SECONDS)

    def _await_nodes(self) -> None:
        spec, around = self.spec, self._around
        around.progress(f"waiting until {len(spec.nodes)} nodes are live")
        credentials = self._credentials()
        deadline = Deadline(around.clock, NODES_SECONDS)
        while True:
            live = around.health.live_nodes(spec, credentials, self._started_ms)
            missing = [node.name for node in spec.nodes if node.name not in live]
            if not missing:
                break
            self._check_alive(spec.roles)
            if deadline.passed():
                raise TimedOutError(
                    f"{missing[0]} of cluster {spec.name!r} is not live after {NODES_SECONDS:.0f} s: "
                    f"{self._engine.last_words(spec, missing[0])}."
                )
            around.clock.sleep(_POLL_SECONDS)
        self.spec = spec.with_ids(live)
        if self.spec != spec:
            around.store.save(self.spec)

    def _known_ids(self, names: Iterable[str]) -> dict[str, int]:
        """Ids by name of those nodes that the master still knows: an earlier try may have come far."""
        known = self._around.health.known_nodes(self.spec, self._credentials())
        ids = {name: self.spec.node(name).id for name in names}
        return {name: node_id for name, node_id in ids.items() if node_id is not None and node_id in known}

    def _drain(self, names: Iterable[str]) -> None:
        """Wait until nothing needs the nodes any more, as long as that goes on."""
        spec, around, credentials = self.spec, self._around, self._credentials()
        leaving = self._known_ids(names)
        running = self._engine.look(spec).running
        for name in leaving.keys() - running:
            self._engine.start_node(spec, spec.node(name))
        for name, node_id in leaving.items():
            self._draining[name] = node_id
            around.health.drain_node(spec, credentials, node_id, cancel=False)
        before, patience = -1, Deadline(around.clock, DRAIN_SECONDS)
        while (left := sum(around.health.chunks_left(spec, credentials, each) for each in leaving.values())) > 0:
            if left != before:
                around.progress(f"draining {', '.join(leaving)}: {left} chunks left")
                before, patience = left, Deadline(around.clock, DRAIN_SECONDS)
            if patience.passed():
                raise TimedOutError(
                    f"Draining {', '.join(leaving)} makes no progress with {left} chunks left; "
                    "are the other nodes live, and have they space? See `dfs status`."
                )
            around.clock.sleep(_DRAIN_POLL_SECONDS)

    def _check_alive(self, roles: Iterable[str]) -> None:
        """Notice a role that ended instead of waiting for it."""
        running = self._engine.look(self.spec).running
        for role in roles:
            if role not in running:
                raise UnavailableError(
                    f"{role} of cluster {self.spec.name!r} does not run: {self._engine.last_words(self.spec, role)}."
                )


def undo_quietly(run: Run, existing: ClusterSpec | None, progress: Progress) -> None:
    """Undo while an error is on its way out: what cannot be undone is said, and never hides that error."""
    try:
        run.undo(existing)
    except (DfsError, OSError) as error:
        with suppress(OSError):
            progress(f"not everything could be taken back: {error}")
