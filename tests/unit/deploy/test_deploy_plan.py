"""Wanted against found gives steps."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.deploy import make_spec

from dfs_deploy.plan import (
    AwaitMaster,
    AwaitNodes,
    DeleteData,
    DeleteNodes,
    DeployRequest,
    DiscardVolume,
    Dismantle,
    DrainNodes,
    ForgetNodes,
    Found,
    InitialiseMaster,
    RemoveProfile,
    SaveSpec,
    SelfTest,
    StartMaster,
    StartNode,
    Steps,
    StopRoles,
    WriteProfile,
    plan_deploy,
    plan_destroy,
    plan_replace,
    plan_shrink,
    plan_start,
    plan_stop,
    settle,
    without_nodes,
)
from dfs_deploy.spec import MASTER, ClusterSpec, NodeSpec
from dfs_wire.errors import ConflictError, NotFoundError, UsageError

ROLES = ("master", "node-1", "node-2", "node-3")


def ports_from(first_free: int = 5000):  # noqa: ANN201
    """A machine on which every port from `first_free` on is free."""

    def take(count: int, first: int | None) -> list[int]:
        start = first_free if first is None else first
        return list(range(start, start + count))

    return take


def request(**changes: object) -> DeployRequest:
    """A request for the cluster `demo`."""
    return DeployRequest(**({"name": "demo", "engine": "process"} | changes))  # type: ignore[arg-type]


# -- settle -----------------------------------------------------------------------------------------------------


def test_a_new_cluster_has_three_nodes_two_copies_and_loopback() -> None:
    """Who says nothing gets the safe default."""
    assert settle(request(), None, ports_from()) == make_spec()


def test_a_new_cluster_is_what_was_asked_for() -> None:
    """Every option of a new cluster is kept."""
    asked = request(nodes=4, copies=3, port=7000, listen="10.0.0.5", public_host="box", line_protocol=False)
    assert settle(asked, None, ports_from()) == ClusterSpec(
        name="demo",
        engine="process",
        copies=3,
        listen="10.0.0.5",
        master_port=7000,
        nodes=tuple(NodeSpec(n, 7000 + n) for n in (1, 2, 3, 4)),
        public_host="box",
        line_protocol=False,
    )


@pytest.mark.parametrize(
    "asked",
    [
        request(nodes=0),
        request(nodes=-1),
        request(nodes=1_001),
        request(copies=0),
        request(copies=17, nodes=20),
        request(nodes=1),
        request(nodes=2, copies=3),
        request(copies=4),
        request(name="Demo"),
    ],
)
def test_requests_that_contradict_themselves_are_usage_errors(asked: DeployRequest) -> None:
    """One node cannot hold two copies, and a cluster is never quietly less than was asked for."""
    with pytest.raises(UsageError):
        settle(asked, None, ports_from())


def test_one_node_is_fine_for_one_copy() -> None:
    """Who wants a single copy says so."""
    assert len(settle(request(nodes=1, copies=1), None, ports_from()).nodes) == 1


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(nodes=3),
        request(engine="process"),
        request(port=5000),
        request(listen="127.0.0.1"),
        request(copies=2),
        request(line_protocol=True),
        request(public_host=""),
    ],
)
def test_asking_for_what_is_there_changes_nothing(asked: DeployRequest) -> None:
    """Deploying twice with the same words gives the same cluster."""
    assert settle(asked, make_spec(joined=True), ports_from()) == make_spec(joined=True)


@pytest.mark.parametrize(
    "asked",
    [
        request(nodes=1),
        request(engine="docker"),
        request(port=5001),
        request(listen="10.0.0.5"),
        request(copies=3),
        request(public_host="box"),
        request(line_protocol=False),
    ],
)
def test_what_a_cluster_keeps_for_life_cannot_be_asked_away(asked: DeployRequest) -> None:
    """Engine, ports, addresses stay; fewer nodes need draining, which does not exist yet."""
    with pytest.raises(UsageError):
        settle(asked, make_spec(), ports_from())


def test_growing_keeps_the_old_nodes_and_numbers_new_ones_behind() -> None:
    """Ports and ids of the nodes that are there do not move."""
    grown = settle(request(nodes=5), make_spec(joined=True), ports_from(6000))
    assert grown.nodes[:3] == make_spec(joined=True).nodes
    assert grown.nodes[3:] == (NodeSpec(4, 6000), NodeSpec(5, 6001))


def test_deploy_brings_a_destroyed_cluster_back() -> None:
    """The mark goes, all else stays."""
    assert settle(request(), make_spec(joined=True, destroyed=True), ports_from()) == make_spec(joined=True)


# -- deploy -----------------------------------------------------------------------------------------------------


def test_a_new_cluster_takes_every_step_in_order() -> None:
    """Ports are reserved first, the profile comes only after the self-test."""
    wanted = make_spec()
    assert plan_deploy(wanted, None, Found()) == (
        SaveSpec(wanted),
        InitialiseMaster(),
        StartMaster(),
        StartNode("node-1"),
        StartNode("node-2"),
        StartNode("node-3"),
        AwaitMaster(),
        AwaitNodes(),
        SelfTest(),
        WriteProfile(),
    )


def all_running(**changes: object) -> Found:
    """A whole cluster of three nodes."""
    settled = {
        "master_initialised": True,
        "running": frozenset(ROLES),
        "joined": frozenset(ROLES[1:]),
        "profile_current": True,
    }
    return Found(**(settled | changes))  # type: ignore[arg-type]


def test_deploying_a_whole_cluster_again_does_nothing() -> None:
    """No step is left to take."""
    spec = make_spec(joined=True)
    assert plan_deploy(spec, spec, all_running()) == ()


def test_a_lost_profile_is_written_again_and_nothing_else() -> None:
    """The processes are not touched for it."""
    spec = make_spec(joined=True)
    assert plan_deploy(spec, spec, all_running(profile_current=False)) == (WriteProfile(),)


@pytest.mark.parametrize(
    "running", [frozenset(some) for count in range(4) for some in itertools.combinations(ROLES, count)]
)
def test_exactly_the_dead_roles_are_started(running: frozenset[str]) -> None:
    """Whatever died is started, the master before any node; what runs is left alone; then the cluster is tested."""
    spec = make_spec(joined=True)
    steps = plan_deploy(spec, spec, all_running(running=running))
    started = [step.node for step in steps if isinstance(step, StartNode)]
    assert started == [role for role in ROLES[1:] if role not in running]
    assert (StartMaster() in steps) == (MASTER not in running)
    if StartMaster() in steps:
        assert steps[0] == StartMaster()
        assert steps[1 + len(started)] == AwaitMaster()
    assert steps[-2:] == (AwaitNodes(), SelfTest())
    assert InitialiseMaster() not in steps


def test_growing_starts_only_the_new_nodes() -> None:
    """The cluster goes on serving meanwhile."""
    before = make_spec(joined=True)
    wanted = settle(request(nodes=4), before, ports_from(6000))
    assert plan_deploy(wanted, before, all_running()) == (
        SaveSpec(wanted),
        StartNode("node-4"),
        AwaitNodes(),
        SelfTest(),
    )


def test_a_deploy_that_was_killed_before_the_master_was_made_goes_on_there() -> None:
    """Nothing was stored yet, so a new master harms nobody."""
    spec = make_spec()
    steps = plan_deploy(spec, spec, Found())
    assert steps[0] == InitialiseMaster()


@pytest.mark.parametrize(("spec", "joined"), [(make_spec(joined=True), frozenset()), (make_spec(), {"node-2"})])
def test_a_lost_master_is_never_replaced_over_nodes_that_hold_data(spec: ClusterSpec, joined: set[str]) -> None:
    """A new master would not know the chunks, and they would be collected."""
    with pytest.raises(ConflictError, match="backup"):
        plan_deploy(spec, spec, Found(joined=frozenset(joined)))


@given(
    running=st.frozensets(st.sampled_from(ROLES)),
    profile_current=st.booleans(),
    nodes=st.integers(3, 6),
    destroyed=st.booleans(),
)
def test_carrying_out_a_plan_leaves_nothing_to_do(
    running: frozenset[str], profile_current: bool, nodes: int, destroyed: bool
) -> None:
    """A plan reaches what is wanted: planned again after it, there are no steps."""
    before = make_spec(joined=True, destroyed=destroyed)
    wanted = settle(request(nodes=nodes), before, ports_from(6000))
    found = all_running(running=running, profile_current=profile_current)
    steps = plan_deploy(wanted, before, found)
    after = Found(
        master_initialised=True,
        running=running
        | {step.node for step in steps if isinstance(step, StartNode)}
        | ({MASTER} if StartMaster() in steps else set()),
        joined=frozenset(wanted.roles[1:]),
        profile_current=profile_current or WriteProfile() in steps,
    )
    known = wanted.with_ids({node.name: node.number for node in wanted.nodes})
    assert plan_deploy(known, known, after) == ()


@pytest.mark.parametrize("plan", [lambda spec, found: plan_deploy(spec, spec, found), plan_start])
def test_a_node_without_an_id_on_record_is_waited_for(plan: Callable[[ClusterSpec, Found], Steps]) -> None:
    """It runs, so nothing is started; but nobody would know later that it may hold chunks."""
    spec = make_spec(joined=True)
    spec = replace(spec, nodes=(*spec.nodes[:2], replace(spec.nodes[2], id=None)))
    assert plan(spec, all_running())[0] == AwaitNodes()


# -- start, stop, destroy ---------------------------------------------------------------------------------------


def test_start_starts_what_is_dead_without_a_self_test() -> None:
    """Starting writes nothing into the store."""
    spec = make_spec(joined=True)
    assert plan_start(spec, all_running(running=frozenset({"master", "node-1"}))) == (
        StartNode("node-2"),
        StartNode("node-3"),
        AwaitNodes(),
    )
    assert plan_start(spec, all_running()) == ()


def test_replace_forgets_the_id_of_one_node_and_starts_it_over_nothing() -> None:
    """Only then may it join anew; the others keep their ids, and what is dead of them is started too."""
    spec = make_spec(joined=True)
    steps = plan_replace(spec, all_running(), "node-2")
    fresh = replace(spec.node("node-2"), id=None)
    nodes = tuple(fresh if node.name == "node-2" else node for node in spec.nodes)
    assert steps == (
        StopRoles(("node-2",)),
        DiscardVolume("node-2"),
        SaveSpec(replace(spec, nodes=nodes)),
        StartNode("node-2"),
        AwaitNodes(),
    )
    with pytest.raises(NotFoundError, match="dfs node list"):
        plan_replace(spec, all_running(), "node-9")
    with pytest.raises(NotFoundError):
        plan_replace(spec, all_running(), "master")


@pytest.mark.parametrize(
    ("spec", "found"), [(make_spec(destroyed=True), all_running(running=frozenset())), (make_spec(), Found())]
)
def test_start_refuses_what_only_deploy_brings_back(spec: ClusterSpec, found: Found) -> None:
    """The error names the command that does."""
    with pytest.raises(NotFoundError, match="dfs deploy --name demo"):
        plan_start(spec, found)


@pytest.mark.parametrize(
    ("running", "steps"),
    [
        (ROLES, (StopRoles(("node-1", "node-2", "node-3")), StopRoles(("master",)))),
        (("node-2",), (StopRoles(("node-2",)),)),
        (("master",), (StopRoles(("master",)),)),
        ((), ()),
    ],
)
def test_stop_ends_nodes_before_the_master(running: tuple[str, ...], steps: tuple[StopRoles, ...]) -> None:
    """Only what runs is stopped."""
    assert plan_stop(make_spec(), all_running(running=frozenset(running))) == steps


def test_destroy_keeps_the_data_and_marks_the_cluster() -> None:
    """Nothing is deleted that was not asked to be."""
    spec = make_spec(joined=True)
    steps = plan_destroy(spec, all_running(running=frozenset()), delete_data=False)
    assert steps == (Dismantle(), RemoveProfile(), SaveSpec(replace(spec, destroyed=True)))


def test_destroying_again_has_nothing_to_mark() -> None:
    """The profile may be gone already; that is fine."""
    spec = make_spec(destroyed=True)
    assert plan_destroy(spec, Found(master_initialised=True), delete_data=False) == (Dismantle(), RemoveProfile())


def test_destroy_deletes_the_description_last_of_all() -> None:
    """Only over stopped processes; an interrupted one leaves the name by which it is said again."""
    steps = plan_destroy(make_spec(), all_running(), delete_data=True)
    assert steps[-3:] == (Dismantle(), RemoveProfile(), DeleteData())
    assert isinstance(steps[0], StopRoles)


def test_shrinking_drains_before_anything_is_deleted() -> None:
    """The nodes with the highest numbers go: drained, off the record, ended and deleted, in that order."""
    existing = make_spec(nodes=5, joined=True)
    wanted = settle(request(nodes=3), existing, ports_from(6000))
    assert wanted.nodes == existing.nodes[:3]
    steps = plan_shrink(
        wanted, existing, Found(master_initialised=True, running=frozenset(existing.roles), profile_current=True)
    )
    gone = ("node-4", "node-5")
    assert steps == (
        DrainNodes(gone),
        ForgetNodes(gone),
        DeleteNodes(gone),
        SelfTest(),
    )


def test_what_a_killed_shrink_has_left_goes_first() -> None:
    """By any command that changes nodes, and by `destroy`; until then nobody gets the name of a node that is gone."""
    spec = make_spec(joined=True, gone=(NodeSpec(4, 5004, 4),))
    found = Found(master_initialised=True, running=frozenset(spec.roles), profile_current=True)
    left = DeleteNodes(("node-4",))
    assert plan_deploy(spec, spec, found) == (left,)
    assert plan_destroy(spec, found, delete_data=True)[0] == left
    assert plan_shrink(without_nodes(spec, ["node-3"]), spec, found)[:2] == (left, DrainNodes(("node-3",)))
    assert plan_stop(spec, found)[0] == StopRoles(("node-1", "node-2", "node-3", "node-4"))
    # `dfs node remove node-4`, said again.
    assert plan_shrink(without_nodes(spec, ["node-4"]), spec, found) == (left, SelfTest())
    assert settle(request(nodes=4), spec, ports_from(6000)).roles[-1] == "node-5"


def test_shrinking_a_destroyed_cluster_brings_it_back_first() -> None:
    """Its roles run from then on, whatever becomes of the rest."""
    existing = make_spec(nodes=3, joined=True, destroyed=True)
    wanted = without_nodes(existing, ["node-3"])
    assert plan_shrink(wanted, existing, Found(master_initialised=True))[0] == SaveSpec(make_spec(joined=True))


def test_shrinking_starts_what_stays_first() -> None:
    """A dead master or node that stays must run, or nothing could be moved to it."""
    existing = make_spec(nodes=3, joined=True)
    wanted = without_nodes(existing, ["node-1"])
    steps = plan_shrink(wanted, existing, Found(master_initialised=True, running=frozenset({"node-1", "node-2"})))
    assert steps[:3] == (StartMaster(), StartNode("node-3"), AwaitMaster())
    assert steps[-1] == WriteProfile()


def test_fewer_nodes_than_copies_are_refused() -> None:
    """Two copies need two nodes."""
    with pytest.raises(UsageError, match="need at least 2 nodes"):
        without_nodes(make_spec(nodes=3), ["node-1", "node-2"])
