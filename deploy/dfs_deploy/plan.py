"""Wanted against found gives steps. Pure: nothing here starts a process, opens a file or asks for the time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from dfs_deploy.spec import MASTER, ClusterSpec, NodeSpec, check_name
from dfs_wire.errors import ConflictError, NotFoundError, UsageError
from dfs_wire.limits import COPIES_MAX

NODES_DEFAULT = 3
COPIES_DEFAULT = 2
LISTEN_DEFAULT = "127.0.0.1"
NODES_MAX = 1_000

#: `(count, first) -> ports`: free ports in ascending order; the first is `first` itself when that is given.
TakePorts = Callable[[int, int | None], list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """What somebody asked of `deploy`. None means: as it is, or the default for a new cluster.

    `engine` is `auto` where an existing cluster's is meant; for a new one it was settled before.
    """

    name: str
    engine: str = "auto"
    nodes: int | None = None
    copies: int | None = None
    port: int | None = None
    listen: str | None = None
    public_host: str | None = None
    line_protocol: bool | None = None
    context: str | None = None
    #: Names and values that the running cluster is told.
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is there of a cluster. `running`, `stuck` and `joined` hold role names.

    A stuck role neither serves nor has ended: it is paused, or started again and again. A node has joined when its
    volume says so.
    """

    master_initialised: bool = False
    running: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    profile_current: bool = False


# -- Steps ------------------------------------------------------------------------------------------------------
# Structs: fifteen dataclasses are compiled each time that the module is loaded.


class SaveSpec(msgspec.Struct, frozen=True):
    """Keep the cluster's description, which also reserves its ports."""

    spec: ClusterSpec


class InitialiseMaster(msgspec.Struct, frozen=True):
    """Make the master's database and keys."""


class StartMaster(msgspec.Struct, frozen=True):
    """Start the master over its data."""


class AwaitMaster(msgspec.Struct, frozen=True):
    """Wait until the master answers."""


class StartNode(msgspec.Struct, frozen=True):
    """Start one node over its volume."""

    node: str


class AwaitNodes(msgspec.Struct, frozen=True):
    """Wait until the master sees all nodes live, and keep the ids that it gave them."""


class SelfTest(msgspec.Struct, frozen=True):
    """Upload a file, read it back, remove it."""


class WriteProfile(msgspec.Struct, frozen=True):
    """Write the client profile."""


class StopRoles(msgspec.Struct, frozen=True):
    """End processes together; their data stays."""

    roles: tuple[str, ...]


class DrainNodes(msgspec.Struct, frozen=True):
    """Move everything that only these nodes hold to others, and wait until it is there."""

    nodes: tuple[str, ...]


class ForgetNodes(msgspec.Struct, frozen=True):
    """Have the master forget drained nodes, one at a time, and take each off the description at once.

    The master refuses while a chunk needs the node.
    """

    nodes: tuple[str, ...]


class DeleteNodes(msgspec.Struct, frozen=True):
    """End nodes that the master forgot, and delete their volumes; those of no others."""

    nodes: tuple[str, ...]


class DiscardVolume(msgspec.Struct, frozen=True):
    """Delete the volume of a node that the master counts on: only a person can say that nothing is lost by it."""

    node: str


class Dismantle(msgspec.Struct, frozen=True):
    """Remove what ran the roles; the data stays."""


class RemoveProfile(msgspec.Struct, frozen=True):
    """Delete the client profile."""


class DeleteData(msgspec.Struct, frozen=True):
    """Delete everything that the cluster stored."""


Step = (
    SaveSpec
    | InitialiseMaster
    | StartMaster
    | AwaitMaster
    | StartNode
    | AwaitNodes
    | SelfTest
    | WriteProfile
    | StopRoles
    | DrainNodes
    | ForgetNodes
    | DeleteNodes
    | DiscardVolume
    | Dismantle
    | RemoveProfile
    | DeleteData
)
Steps = tuple[Step, ...]


class Change(msgspec.Struct, frozen=True):
    """What a command did: the cluster as it is now, and the steps that it took (none: nothing was to be done)."""

    spec: ClusterSpec
    steps: Steps


# -- What is wanted ---------------------------------------------------------------------------------------------


def settle(request: DeployRequest, existing: ClusterSpec | None, take_ports: TakePorts) -> ClusterSpec:
    """The cluster that the request asks for.

    Raises:
        UsageError: it contradicts itself or what an existing cluster keeps for life.
    """
    check_name(request.name)
    if request.nodes is not None and not 1 <= request.nodes <= NODES_MAX:
        raise UsageError(f"A cluster has 1 to {NODES_MAX} nodes; --nodes says {request.nodes}.")
    if request.copies is not None and not 1 <= request.copies <= COPIES_MAX:
        raise UsageError(f"A cluster keeps 1 to {COPIES_MAX} copies; --copies says {request.copies}.")
    if existing is None:
        return _new_cluster(request, take_ports)
    return _changed_cluster(request, existing, take_ports)


def _new_cluster(request: DeployRequest, take_ports: TakePorts) -> ClusterSpec:
    nodes = NODES_DEFAULT if request.nodes is None else request.nodes
    copies = COPIES_DEFAULT if request.copies is None else request.copies
    if copies > nodes:
        raise UsageError(
            f"{copies} copies need at least {copies} nodes and --nodes says {nodes}; "
            f"ask for more nodes or say --copies {nodes}."
        )
    ports = take_ports(1 + nodes, request.port)
    return ClusterSpec(
        name=request.name,
        engine=request.engine,
        copies=copies,
        listen=request.listen or LISTEN_DEFAULT,
        master_port=ports[0],
        nodes=tuple(NodeSpec(number, port) for number, port in enumerate(ports[1:], start=1)),
        public_host=request.public_host or "",
        line_protocol=request.line_protocol is not False,
        context=request.context or "",
    )


def _changed_cluster(request: DeployRequest, existing: ClusterSpec, take_ports: TakePorts) -> ClusterSpec:
    _refuse_changes_for_life(request, existing)
    have = len(existing.nodes)
    want = have if request.nodes is None else request.nodes
    if want < have:
        return without_nodes(existing, [node.name for node in existing.nodes[want:]])
    nodes = existing.nodes
    if want > have:
        # The name of a node that is gone is free when its volume is.
        highest = max(node.number for node in existing.with_gone.nodes)
        ports = take_ports(want - have, None)
        nodes += tuple(NodeSpec(highest + step, port) for step, port in enumerate(ports, start=1))
    return replace(existing, nodes=nodes, destroyed=False)


def without_nodes(spec: ClusterSpec, leaving: Sequence[str]) -> ClusterSpec:
    """The cluster when these nodes have gone.

    Raises:
        UsageError: the others are too few for the copies that are kept.
    """
    staying = tuple(node for node in spec.nodes if node.name not in leaving)
    if len(staying) < spec.copies:
        raise UsageError(
            f"Cluster {spec.name!r} keeps {spec.copies} copies, which need at least {spec.copies} nodes; "
            "let fewer nodes go."
        )
    return replace(spec, nodes=staying, destroyed=False)


def _refuse_changes_for_life(request: DeployRequest, existing: ClusterSpec) -> None:
    """Engine, ports, addresses and the first policy of a cluster never change through `deploy`."""
    name = existing.name
    if request.engine not in {"auto", existing.engine}:
        raise UsageError(
            f"Cluster {name!r} runs on the {existing.engine} engine for life; "
            f"use another --name for one on {request.engine}."
        )
    if request.context not in {None, existing.context}:
        where = f"the Docker context {existing.context!r}" if existing.context else "this machine's own engine"
        raise UsageError(f"Cluster {name!r} lies on {where} for life; leave --context out.")
    if request.port not in {None, existing.master_port}:
        raise UsageError(f"Cluster {name!r} keeps port {existing.master_port} for life; leave --port out.")
    if request.listen not in {None, existing.listen}:
        raise UsageError(f"Cluster {name!r} listens on {existing.listen} for life; leave --listen out.")
    if request.public_host not in {None, existing.public_host}:
        raise UsageError(f"Cluster {name!r} keeps its public host {existing.public_host!r}; leave --public-host out.")
    if request.line_protocol not in {None, existing.line_protocol}:
        raise UsageError(f"The line protocol of cluster {name!r} is settled for life; leave that option out.")
    if request.copies not in {None, existing.copies}:
        raise UsageError(
            f"Cluster {name!r} was deployed with {existing.copies} copies; "
            f"`dfs-client policy set / --copies {request.copies}` changes what is kept from now on."
        )


# -- What is to be done -----------------------------------------------------------------------------------------


def plan_deploy(wanted: ClusterSpec, existing: ClusterSpec | None, found: Found) -> Steps:
    """Steps from what is found to what is wanted; none when nothing is missing.

    Raises:
        ConflictError: the master's data is lost while nodes hold chunks, so a new master would orphan them.
    """
    steps: list[Step] = []
    if wanted != existing:
        steps.append(SaveSpec(wanted))
    steps += _delete_what_is_left(wanted)
    if not found.master_initialised:
        _check_nothing_stored(wanted, found)
        steps.append(InitialiseMaster())
    started = _start_what_is_dead(wanted, found)
    steps += started
    if started:
        steps.append(SelfTest())
    if not found.profile_current:
        steps.append(WriteProfile())
    return tuple(steps)


def plan_shrink(wanted: ClusterSpec, existing: ClusterSpec, found: Found) -> Steps:
    """Let nodes go: first everything that they alone hold is copied to others, and only then their volumes go."""
    names = tuple(node.name for node in existing.nodes if node not in wanted.nodes)
    steps: list[Step] = []
    if existing.destroyed:
        steps.append(SaveSpec(replace(existing, destroyed=False)))
    steps += _delete_what_is_left(existing)
    steps += _start_roles(wanted, found)
    if names:
        steps += [DrainNodes(names), ForgetNodes(names), DeleteNodes(names)]
    steps.append(SelfTest())
    if not found.profile_current:
        steps.append(WriteProfile())
    return tuple(steps)


def plan_replace(spec: ClusterSpec, found: Found, name: str) -> Steps:
    """Give a node an empty volume: what is left of the old one goes, and the node joins as a new one.

    Only this makes deploy forget which id the node had. A volume that merely is not there (a forgotten mount) never
    does: a node that is started as before refuses the empty directory.

    Raises:
        NotFoundError: the cluster is not there, or has no such node.
    """
    plan_start(spec, found)
    if name not in spec.roles[1:]:
        raise NotFoundError(f"Cluster {spec.name!r} has no {name}; see `dfs node list`.")
    nodes = tuple(replace(node, id=None) if node.name == name else node for node in spec.nodes)
    fresh = replace(spec, nodes=nodes)
    return (
        StopRoles((name,)),
        DiscardVolume(name),
        SaveSpec(fresh),
        *_start_roles(fresh, replace(found, running=found.running - {name})),
        AwaitNodes(),
    )


def plan_start(spec: ClusterSpec, found: Found) -> Steps:
    """Start every role that is dead, over its data, and note the ids that are not on record.

    Raises:
        NotFoundError: the cluster was destroyed, or its master was never made; only `deploy` brings it (back).
    """
    if spec.destroyed:
        raise NotFoundError(
            f"Cluster {spec.name!r} was destroyed and its data kept; "
            f"`dfs deploy --name {spec.name}` brings it back over that data."
        )
    if not found.master_initialised:
        raise NotFoundError(
            f"The master's data of cluster {spec.name!r} is missing; `dfs deploy --name {spec.name}` makes it."
        )
    return tuple(_start_what_is_dead(spec, found))


def plan_stop(spec: ClusterSpec, found: Found) -> Steps:
    """End every running role: nodes first, so that their last words still find the master.

    Whether nodes that are gone run is not looked at: they are ended as well.
    """
    alive = found.running | found.stuck | {node.name for node in spec.gone}
    nodes = tuple(node.name for node in spec.with_gone.nodes if node.name in alive)
    master = (MASTER,) if MASTER in alive else ()
    return tuple(StopRoles(roles) for roles in (nodes, master) if roles)


def plan_destroy(spec: ClusterSpec, found: Found, *, delete_data: bool) -> Steps:
    """End the cluster; its data goes only when that is asked for.

    The description goes last of all: who was interrupted and says the same again means the same cluster. A profile that
    outlived it would be in the way of the next cluster of that name, and no command would remove it.
    """
    steps: list[Step] = [*_delete_what_is_left(spec), *plan_stop(spec, found), Dismantle(), RemoveProfile()]
    if delete_data:
        steps.append(DeleteData())
    elif not spec.destroyed:
        steps.append(SaveSpec(replace(spec, destroyed=True, gone=())))
    return tuple(steps)


def _delete_what_is_left(spec: ClusterSpec) -> list[Step]:
    """A command that let nodes go was killed before their volumes went; their processes may run yet."""
    return [DeleteNodes(tuple(node.name for node in spec.gone))] if spec.gone else []


def _start_what_is_dead(spec: ClusterSpec, found: Found) -> list[Step]:
    """A node that runs and whose id is not on record is waited for too: the deploy that began it was killed."""
    steps = _start_roles(spec, found)
    if steps or any(node.id is None for node in spec.nodes):
        steps.append(AwaitNodes())
    return steps


def _start_roles(spec: ClusterSpec, found: Found) -> list[Step]:
    """The master first; nodes come up while it does, and try until it answers: waiting in between cost a second."""
    nodes: list[Step] = [StartNode(node.name) for node in spec.nodes if node.name not in found.running]
    return nodes if MASTER in found.running else [StartMaster(), *nodes, AwaitMaster()]


def _check_nothing_stored(spec: ClusterSpec, found: Found) -> None:
    joined = sorted(found.joined | {node.name for node in spec.nodes if node.id is not None})
    if joined:
        raise ConflictError(
            f"The master's data of cluster {spec.name!r} is missing while {joined[0]} belongs to it; "
            "restore the directory `master` from a backup (a new master would not know what the nodes hold)."
        )
