"""The commands on clusters, over fakes: what they do, and what they take back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.deploy import Bench, make_spec

from dfs_deploy.cluster import Operator
from dfs_deploy.plan import DeployRequest
from dfs_deploy.spec import ClusterSpec
from dfs_runtime.files import temporary_name
from dfs_wire.errors import (
    ConflictError,
    CorruptError,
    NotFoundError,
    RolledBackError,
    TimedOutError,
    UnavailableError,
    UsageError,
)

DEMO = DeployRequest(name="demo")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An operator over fakes."""
    return Bench(tmp_path)


def test_deploy_makes_a_cluster_that_was_tested(bench: Bench) -> None:
    """All roles run, a file went through, the profile is there and is the default, ids are kept."""
    change = bench.operator.deploy(DEMO)
    assert change.spec == make_spec(joined=True) == bench.store.load("demo")
    assert bench.engine.running == {"master", "node-1", "node-2", "node-3"}
    assert bench.health.tests == 1
    assert bench.profiles.known == {"demo": "127.0.0.1:5000"}
    assert bench.profiles.chosen == "demo"


def test_deploying_twice_changes_nothing(bench: Bench) -> None:
    """No call reaches the engine the second time."""
    bench.operator.deploy(DEMO)
    bench.engine.calls.clear()
    assert bench.operator.deploy(DEMO).steps == ()
    assert bench.engine.calls == []
    assert bench.health.tests == 1


def test_dead_roles_are_started_over_their_data(bench: Bench) -> None:
    """The master is not made again."""
    bench.operator.deploy(DEMO)
    bench.engine.running.clear()
    bench.engine.calls.clear()
    bench.operator.deploy(DEMO)
    assert bench.engine.calls == ["start master", "start node-1", "start node-2", "start node-3"]


@pytest.mark.parametrize("broken", ["master", "node-1", "node-3"])
def test_a_new_cluster_that_cannot_start_leaves_nothing(bench: Bench, broken: str) -> None:
    """No process, no directory, no profile; the error names the role and its last words."""
    bench.engine.broken.add(broken)
    with pytest.raises(RolledBackError, match=f"{broken} .*it fell over"):
        bench.operator.deploy(DEMO)
    assert bench.engine.running == set()
    assert bench.store.names() == []
    assert not bench.store.paths("demo").root.exists()
    assert bench.profiles.known == {}
    assert bench.profiles.chosen is None


def test_a_node_that_never_gets_live_ends_the_wait(bench: Bench) -> None:
    """A deadline, not for ever; and then the way back."""
    bench.health.deaf.add("node-2")
    with pytest.raises(RolledBackError, match="node-2"):
        bench.operator.deploy(DEMO)
    assert bench.store.names() == []


def test_a_cluster_that_gives_other_bytes_back_is_not_delivered(bench: Bench) -> None:
    """A failed self-test is a failed deploy."""
    bench.health.corrupt = True
    with pytest.raises(CorruptError):
        bench.operator.deploy(DEMO)
    assert bench.engine.running == set()
    assert bench.store.names() == []


def test_ctrl_c_takes_back_what_was_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted deploy is undone as a failed one is."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.health, "self_test", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.operator.deploy(DEMO)
    assert bench.engine.running == set()
    assert bench.store.names() == []


def test_a_failed_growth_leaves_the_cluster_as_it_was(bench: Bench) -> None:
    """Only the new nodes end; the old ones never stopped, and the description is the old one."""
    before = bench.operator.deploy(DEMO).spec
    bench.engine.broken.add("node-5")
    bench.engine.calls.clear()
    with pytest.raises(UnavailableError, match="node-5"):
        bench.operator.deploy(DeployRequest(name="demo", nodes=5))
    assert bench.store.load("demo") == before
    assert bench.engine.running == {"master", "node-1", "node-2", "node-3"}
    assert bench.engine.calls == [
        "start node-4",
        "start node-5",
        "stop node-4 node-5",
        "discard node-4",
        "discard node-5",
    ]
    assert bench.profiles.known == {"demo": "127.0.0.1:5000"}


def test_roles_that_run_again_stay_when_another_cannot(bench: Bench) -> None:
    """Ending the master and two good nodes because of the third would help nobody who has data there."""
    bench.operator.deploy(DEMO)
    bench.engine.running.clear()
    bench.engine.broken.add("node-3")
    with pytest.raises(UnavailableError, match="node-3"):
        bench.operator.deploy(DEMO)
    assert bench.engine.running == {"master", "node-1", "node-2"}
    assert bench.store.names() == ["demo"]


def test_the_error_survives_an_undo_that_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be taken back is said beside it."""
    bench.health.corrupt = True

    def stuck(*_: object) -> None:
        raise TimedOutError("node-1 cannot be ended")

    monkeypatch.setattr(bench.engine, "stop", stuck)
    with pytest.raises(CorruptError):
        bench.operator.deploy(DEMO)
    assert bench.said[-1] == "not everything could be taken back: node-1 cannot be ended"


def test_two_clusters_get_ports_of_their_own(bench: Bench) -> None:
    """Also when the first one is stopped and its ports are free at the moment."""
    bench.operator.deploy(DEMO)
    bench.operator.stop("demo")
    bench.taken.add(5004)
    assert bench.operator.deploy(DeployRequest(name="two", nodes=2)).spec.ports == {5005, 5006, 5007}


def test_a_growth_takes_free_ports_behind_its_own(bench: Bench) -> None:
    """The node's port is nobody else's."""
    bench.operator.deploy(DEMO)
    bench.taken.add(5004)
    assert bench.operator.scale("demo", 4).spec.nodes[3].port == 5005


def test_a_port_lost_between_look_and_start_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new cluster without --port tries other ports when another program was faster."""
    start_master = bench.engine.start_master

    def somebody_is_faster(spec) -> None:  # noqa: ANN001
        if spec.master_port == 5000:
            bench.taken.add(5000)
            return
        start_master(spec)

    monkeypatch.setattr(bench.engine, "start_master", somebody_is_faster)
    assert bench.operator.deploy(DEMO).spec.master_port == 5001


def test_a_lost_port_that_was_asked_for_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a port gets that one or none."""
    monkeypatch.setattr(bench.engine, "start_master", lambda _spec: bench.taken.add(7000))
    with pytest.raises(UnavailableError):
        bench.operator.deploy(DeployRequest(name="demo", port=7000))
    assert bench.store.names() == []


def test_a_new_cluster_never_goes_where_something_else_is(bench: Bench) -> None:
    """Its rollback would delete that."""
    foreign = bench.store.paths("demo").root / "precious"
    foreign.mkdir(parents=True)
    with pytest.raises(ConflictError, match="is no cluster"):
        bench.operator.deploy(DEMO)
    assert foreign.exists()


def test_a_deploy_that_was_killed_over_its_first_description_is_said_again(bench: Bench) -> None:
    """It leaves a directory with an unfinished file; what looks like that for another purpose still stops it."""
    root = bench.store.paths("demo").root
    root.mkdir(parents=True)
    left = temporary_name(root / "cluster.toml")
    left.write_text("format")
    bench.operator.deploy(DEMO)
    bench.operator.destroy("demo", delete_data=True)
    assert not root.exists()
    root.mkdir()
    (root / ".other.tmp").write_text("precious")
    with pytest.raises(ConflictError, match="is no cluster"):
        bench.operator.deploy(DEMO)


@pytest.mark.parametrize("delete_data", [True, False])
def test_a_scale_that_waited_for_a_destroy_makes_no_new_cluster(bench: Bench, *, delete_data: bool) -> None:
    """It was there when the command began, and is gone when it has the lock."""
    bench.operator.deploy(DEMO)
    bench.engine.calls.clear()
    locked, first = bench.store.locked, True

    @contextmanager
    def slowly(name: str) -> Iterator[None]:
        nonlocal first
        if first:
            first = False
            bench.operator.destroy(name, delete_data=delete_data)
        with locked(name):
            yield

    bench.store.locked = slowly  # type: ignore[method-assign]
    with pytest.raises(NotFoundError):
        bench.operator.scale("demo", 4)
    assert not [call for call in bench.engine.calls if call.startswith("start")]


def test_the_profile_of_another_cluster_is_not_overwritten(bench: Bench) -> None:
    """An imported profile has a name that only its owner gives away."""
    bench.profiles.known["demo"] = "elsewhere:5000"
    with pytest.raises(ConflictError, match=r"delete profiles/demo\.toml"):
        bench.operator.deploy(DEMO)
    assert bench.profiles.known == {"demo": "elsewhere:5000"}
    assert bench.store.names() == []


@pytest.mark.parametrize("engine", ["docker"])
def test_an_engine_that_does_not_exist_is_a_usage_error(bench: Bench, engine: str) -> None:
    """The sentence says so and names those that do."""
    with pytest.raises(UsageError, match="This version has no docker engine"):
        bench.operator.deploy(DeployRequest(name="demo", engine=engine))


def test_stop_and_start_keep_everything(bench: Bench) -> None:
    """Nodes stop before the master; starting takes up the same cluster."""
    spec = bench.operator.deploy(DEMO).spec
    bench.engine.calls.clear()
    bench.operator.stop("demo")
    assert bench.engine.calls == ["stop node-1 node-2 node-3", "stop master"]
    assert bench.operator.stop("demo").steps == ()
    assert bench.operator.start("demo").spec == spec
    assert bench.operator.start("demo").steps == ()


def test_destroy_keeps_the_data_and_deploy_brings_it_back(bench: Bench) -> None:
    """The profile goes; engine, ports and ids come back with deploy, and not with start or scale."""
    spec = bench.operator.deploy(DEMO).spec
    bench.operator.destroy("demo", delete_data=False)
    assert bench.profiles.known == {}
    assert bench.store.load("demo").destroyed
    with pytest.raises(NotFoundError):
        bench.operator.start("demo")
    with pytest.raises(NotFoundError):
        bench.operator.scale("demo", 4)
    bench.engine.calls.clear()
    assert bench.operator.deploy(DEMO).spec == spec
    assert "init" not in bench.engine.calls
    assert bench.profiles.known == {"demo": "127.0.0.1:5000"}


def test_destroy_with_delete_data_leaves_nothing(bench: Bench) -> None:
    """The name is free again."""
    bench.operator.deploy(DEMO)
    bench.operator.destroy("demo", delete_data=True)
    assert bench.store.names() == []
    assert bench.engine.running == set()
    with pytest.raises(NotFoundError):
        bench.operator.destroy("demo", delete_data=True)


@pytest.mark.parametrize("behind", [False, True])
def test_a_destroy_that_was_killed_leaves_the_cluster_or_its_name_free(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, behind: bool
) -> None:
    """Before its description went it is found again by the same command; behind that nothing of it is left."""
    bench.operator.deploy(DEMO)
    remove = bench.engine.remove

    def killed(spec: ClusterSpec) -> None:
        if behind:
            remove(spec)
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(bench.engine, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.operator.destroy("demo", delete_data=True)
    if not behind:
        bench.operator.destroy("demo", delete_data=True)
    assert bench.profiles.known == {}
    bench.operator.deploy(DEMO)


def test_commands_on_a_cluster_that_is_not_there(bench: Bench) -> None:
    """One error for all."""
    for command in (bench.operator.start, bench.operator.stop):
        with pytest.raises(NotFoundError):
            command("nope")
    with pytest.raises(NotFoundError):
        bench.operator.scale("nope", 3)


def test_shrinking_lets_nodes_go_one_way_only(bench: Bench) -> None:
    """They are drained, forgotten by the master, ended, and their volumes deleted; the rest is tested."""
    bench.operator.deploy(DeployRequest(name="demo", nodes=5))
    change = bench.operator.scale("demo", 3)
    assert change.spec == make_spec(joined=True, nodes=3) == bench.store.load("demo")
    assert bench.health.drains == [(4, False), (5, False)]
    assert bench.health.forgotten == {4, 5}
    assert bench.engine.running == {"master", "node-1", "node-2", "node-3"}
    assert bench.engine.discarded == ["node-4", "node-5"]
    assert bench.health.tests == 2


def test_one_node_in_the_middle_can_go(bench: Bench) -> None:
    """`dfs node remove`; the numbers of the others stay, and the next node gets a new one."""
    bench.operator.deploy(DEMO)
    assert [node.number for node in bench.operator.remove_node("demo", "node-2").spec.nodes] == [1, 3]
    assert [node.number for node in bench.operator.scale("demo", 3).spec.nodes] == [1, 3, 4]
    with pytest.raises(NotFoundError, match="node-2"):
        bench.operator.remove_node("demo", "node-2")
    with pytest.raises(NotFoundError, match="master"):
        bench.operator.remove_node("demo", "master")


def test_a_drain_that_does_not_move_is_cancelled(bench: Bench) -> None:
    """After a while without progress the node serves on, and nothing was deleted."""
    bench.operator.deploy(DEMO)
    bench.health.stuck = True
    with pytest.raises(TimedOutError, match="makes no progress"):
        bench.operator.scale("demo", 2)
    assert bench.health.drains == [(3, False), (3, True)]
    assert bench.store.load("demo") == make_spec(joined=True)
    assert "node-3" in bench.engine.running
    assert bench.engine.discarded == []


def test_a_shrink_that_was_killed_half_way_is_finished_by_the_next(bench: Bench) -> None:
    """The master forgot the node, and the description still has it: nothing is drained or asked for again."""
    bench.operator.deploy(DEMO)
    bench.health.forgotten.add(3)
    bench.operator.scale("demo", 2)
    assert bench.health.drains == []
    assert bench.store.load("demo").nodes == make_spec(joined=True).nodes[:2]


def test_a_cluster_in_a_docker_context_lies_there_for_life(bench: Bench) -> None:
    """Its ports are another machine's: none is probed here. Later commands need not name the context."""
    bench.operator = Operator(bench.around, {"docker@far": bench.engine}, lambda _host, _port: False)
    spec = bench.operator.deploy(DeployRequest(name="demo", context="far")).spec
    assert (spec.engine, spec.context, spec.master_port) == ("docker", "far", 5000)
    assert bench.store.load("demo").engine_key == "docker@far"
    assert bench.operator.stop("demo").steps
    with pytest.raises(UsageError, match="leave --context out"):
        bench.operator.deploy(DeployRequest(name="demo", context="near"))
    with pytest.raises(UsageError, match="no Docker context"):
        bench.operator.deploy(DeployRequest(name="other", engine="process", context="far"))
