"""Carry out the steps of one plan on one cluster, and take back what a deploy that failed has made."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from dfs_deploy.engine import Engine
from dfs_deploy.leaving import Leaving
from dfs_deploy.plan import (
    AwaitMaster,
    AwaitNodes,
    DeleteData,
    DeleteNodes,
    DiscardVolume,
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
from dfs_deploy.state import Credentials
from dfs_deploy.surroundings import Progress, Record, Surroundings
from dfs_runtime.clock import Deadline
from dfs_wire.errors import DfsError, TimedOutError, UnavailableError

#: A master may have to upgrade a large database before it answers; one that dies is noticed at once.
MASTER_SECONDS = 120.0
NODES_SECONDS = 60.0
_POLL_SECONDS = 0.05
#: When one role has ended, others that are about to join get so long to be put on record.
LAST_IDS_SECONDS = 5.0


class Run:
    """One command at work on one cluster, whose lock the caller holds."""

    def __init__(self, around: Surroundings, engine: Engine, spec: ClusterSpec) -> None:
        self._around = around
        self._engine = engine
        self._record = Record(around.store, spec)
        self._leaving = Leaving(around, engine, self._record)
        self._started_ms = around.clock.wall_ms()
        #: Ids of nodes whose volume was discarded. The master has heard of them since we began, and holds them for
        #: live for a while: such a node is not the one that joins in its place under the same name.
        self._given_up: set[int | None] = set()

    @property
    def spec(self) -> ClusterSpec:
        """The cluster as it is now: nodes get their ids, and leave."""
        return self._record.spec

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
                self._record.keep(wanted)
            case InitialiseMaster():
                around.progress("making the master's database and keys")
                engine.initialise_master(spec)
            case StartMaster():
                around.progress(f"starting the master on {spec.master_address}")
                engine.start_master(spec)
            case AwaitMaster():
                self._await_master()
            case StartNode(node):
                around.progress(f"starting {node}")
                engine.start_node(spec, spec.node(node))
            case AwaitNodes():
                self._await_nodes()
            case SelfTest():
                around.progress("uploading a file, reading it back and removing it")
                around.health.self_test(spec, self._credentials())
            case WriteProfile():
                around.profiles.write(spec, self._credentials())
            case StopRoles(roles):
                around.progress(f"stopping {', '.join(roles)}")
                engine.stop(spec.with_gone, roles)
            case DrainNodes(names):
                self._leaving.drain(names)
            case ForgetNodes(names):
                self._leaving.forget(names)
            case DeleteNodes(names):
                self._leaving.delete(names)
            case DiscardVolume(node):
                around.progress(f"deleting the volume of {node}")
                engine.discard_node(spec, spec.node(node))
                self._given_up.add(spec.node(node).id)
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
            self._around.profiles.remove(spec.name)
            engine.take_back(spec)
            return
        grown = spec.nodes[len(existing.nodes) :]
        engine.stop(spec, [node.name for node in grown])
        for node in grown:
            engine.discard_unjoined(spec, node)
        known = existing.with_ids({node.name: node.id for node in spec.nodes if node.id is not None})
        self._record.keep(replace(known, gone=spec.gone))

    def keep_the_rest(self) -> None:
        """Take back what is left to be taken back of letting nodes go: those still on record serve on."""
        self._around.progress("letting the nodes that are still there serve on")
        self._leaving.take_back()

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
        """Wait until all nodes are live. Each id is noted as soon as it is seen: who has joined may hold chunks."""
        spec, around = self.spec, self._around
        around.progress(f"waiting until {len(spec.nodes)} nodes are live")
        deadline = Deadline(around.clock, NODES_SECONDS)
        while missing := self._not_live():
            try:
                self._check_alive(spec.roles)
            except UnavailableError:
                self._await_last_ids()
                raise
            if deadline.passed():
                raise TimedOutError(
                    f"{missing[0]} of cluster {spec.name!r} is not live after {NODES_SECONDS:.0f} s: "
                    f"{self._engine.last_words(spec, missing[0])}."
                )
            around.clock.sleep(_POLL_SECONDS)

    def _not_live(self) -> list[str]:
        seen = self._around.health.live_nodes(self.spec, self._credentials(), self._started_ms)
        live = {name: node_id for name, node_id in seen.items() if node_id not in self._given_up}
        self._record.keep_ids(live)
        return [node.name for node in self.spec.nodes if node.name not in live]

    def _await_last_ids(self) -> None:
        """Give the nodes that run and have no id yet a moment to get it; no longer than the master runs."""
        deadline = Deadline(self._around.clock, LAST_IDS_SECONDS)
        while not deadline.passed():
            running = self._engine.look(self.spec).running
            if MASTER not in running or all(
                each.id is not None or each.name not in running for each in self.spec.nodes
            ):
                return
            self._around.clock.sleep(_POLL_SECONDS)
            self._not_live()

    def _check_alive(self, roles: Iterable[str]) -> None:
        """Notice a role that ended instead of waiting for it."""
        running = self._engine.look(self.spec).running
        for role in roles:
            if role not in running:
                raise UnavailableError(
                    f"{role} of cluster {self.spec.name!r} does not run: {self._engine.last_words(self.spec, role)}."
                )


def undo_quietly(undo: Callable[[], None], progress: Progress) -> None:
    """Undo while an error is on its way out: what cannot be undone is said, and never hides that error."""
    try:
        undo()
    except (DfsError, OSError) as error:
        with suppress(OSError):
            progress(f"not everything could be taken back: {error}")
