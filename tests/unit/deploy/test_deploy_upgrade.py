"""A rolling upgrade, over fakes: one role at a time, only while all is whole, and back again when one fails."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.deploy import Bench, make_spec

from dfs_deploy.plan import DeployRequest, Found
from dfs_deploy.spec import ClusterSpec, NodeSpec
from dfs_deploy.state import Credentials
from dfs_deploy.upgrade_plan import roles_to_bring_back, roles_to_upgrade
from dfs_wire.errors import ConflictError, CorruptError, NotFoundError, TimedOutError, UnavailableError

ROLES = ("master", "node-1", "node-2", "node-3")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A cluster of three nodes, all of them of an older version."""
    made = Bench(tmp_path)
    made.operator.deploy(DeployRequest(name="demo"))
    made.engine.behind = set(ROLES)
    made.engine.calls.clear()
    return made


def test_one_role_at_a_time_the_master_first(bench: Bench) -> None:
    """Each is set aside and started before the next one; nothing is kept of the version before; a file goes through."""
    tests = bench.health.tests
    assert bench.operator.upgrade("demo", everything=False) == ROLES
    assert bench.engine.calls == [f"{verb} {role}" for role in ROLES for verb in ("set aside", "start")]
    assert bench.engine.behind == bench.engine.aside == set()
    assert bench.health.tests == tests + 1


def test_only_what_is_behind_is_touched(bench: Bench) -> None:
    """A second upgrade does nothing; `everything` replaces all the same."""
    bench.engine.behind = {"node-2"}
    assert bench.operator.upgrade("demo", everything=False) == ("node-2",)
    bench.engine.calls.clear()
    assert bench.operator.upgrade("demo", everything=False) == ()
    assert bench.engine.calls == []
    assert bench.operator.upgrade("demo", everything=True) == ROLES


def test_every_step_waits_until_all_chunks_have_their_copies(bench: Bench) -> None:
    """Nothing is taken away from a cluster that lacks copies."""
    bench.health.lacking = [5, 2, 0]
    bench.operator.upgrade("demo", everything=False)
    # Three questions before the first step, one before each other, one before the file goes up and one behind it.
    assert bench.health.asked == 3 + (len(ROLES) - 1) + 2


def test_a_cluster_that_is_never_whole_is_not_touched(bench: Bench) -> None:
    """The wait has an end, and nothing was replaced."""
    bench.health.lacking = [5]
    with pytest.raises(TimedOutError, match="5 chunks lack copies"):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.calls == []


def test_a_node_that_does_not_come_back_takes_all_of_them_back(bench: Bench) -> None:
    """The last one first, the master at the end, and the error has the node's own words."""
    bench.engine.spoilt = {"node-2"}
    with pytest.raises(UnavailableError, match="node-2 ended: it fell over"):
        bench.operator.upgrade("demo", everything=False)
    back = [call for call in bench.engine.calls if call.startswith("bring back")]
    assert back == ["bring back node-2", "bring back node-1", "bring back master"]
    assert bench.engine.running == set(ROLES) == bench.engine.behind | {"node-3"}


def test_a_node_that_runs_and_is_never_live_takes_all_back_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is not waited for: there is a time limit. Deaf as it is, the version before does not help either."""
    bench.engine.behind = {"node-1"}
    at(monkeypatch, bench, "set aside node-1", lambda: bench.health.deaf.add("node-1"))
    with pytest.raises(UnavailableError, match="node-1 did not come back either"):
        bench.operator.upgrade("demo", everything=False)


def at(monkeypatch: pytest.MonkeyPatch, bench: Bench, call: str, act: Callable[[], object]) -> None:
    """Do something right after the first such call of the engine."""
    verb, _, role = call.rpartition(" ")
    method = {"set aside": "set_aside", "start": "start_node"}[verb]
    real = getattr(bench.engine, method)

    def with_act(spec: ClusterSpec, which: str | NodeSpec) -> None:
        real(spec, which)
        if role == (which if isinstance(which, str) else which.name):
            monkeypatch.setattr(bench.engine, method, real)
            act()

    monkeypatch.setattr(bench.engine, method, with_act)


def interrupt() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("died", ["node-1", "master", "node-3"])
def test_a_role_that_ends_on_the_way_takes_all_back(bench: Bench, monkeypatch: pytest.MonkeyPatch, died: str) -> None:
    """One that was replaced runs again, and no other is taken away while it is down."""
    at(monkeypatch, bench, "start node-2", lambda: bench.engine.running.discard(died))
    with pytest.raises(UnavailableError, match=f"^{died} ended"):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.running == set(ROLES) - ({died} & {"node-3"})
    assert "set aside node-3" not in bench.engine.calls
    back = [call for call in bench.engine.calls if call.startswith(("bring back", f"start {died}"))]
    assert back[-3:] == ["bring back node-2", "bring back node-1", "bring back master"]
    if died != "node-3":
        assert back[-4] == f"start {died}"


def test_a_node_that_is_not_heard_of_ends_the_upgrade(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs and all chunks seem to have their copies: it is missed later."""
    at(monkeypatch, bench, "start node-1", lambda: bench.health.deaf.add("node-3"))
    with pytest.raises(TimedOutError, match="node-3 is not live"):
        bench.operator.upgrade("demo", everything=False)
    assert "set aside node-2" not in bench.engine.calls


def test_the_master_goes_back_although_a_node_died_that_seems_live(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master misses it only after a while: who runs no more is not waited for."""
    live = bench.health.live_nodes

    def remembered(spec: ClusterSpec, credentials: Credentials, since_ms: int) -> dict[str, int]:
        found = live(spec, credentials, since_ms)
        return found if since_ms else found | {"node-3": 3}

    monkeypatch.setattr(bench.health, "live_nodes", remembered)
    at(monkeypatch, bench, "start node-2", lambda: bench.engine.running.discard("node-3"))
    with pytest.raises(UnavailableError, match=r"^node-3 ended"):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.running == {"master", "node-1", "node-2"} == bench.engine.behind - {"node-3"}


def test_a_role_that_ends_during_the_test_is_no_success(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file goes through with two of three nodes."""
    monkeypatch.setattr(bench.health, "self_test", lambda *_: bench.engine.running.discard("node-1"))
    with pytest.raises(UnavailableError, match="node-1 ended"):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.running == set(ROLES) == bench.engine.behind


@pytest.mark.parametrize("call", ["set aside node-1", "start node-1", "set aside master"])
def test_ctrl_c_leaves_all_running_where_nothing_can_be_brought_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The role that was under way is started anew, the others are not touched; it ends as Ctrl-C does."""
    bench.engine.installed_over = True
    at(monkeypatch, bench, call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.operator.upgrade("demo", everything=True)
    assert bench.engine.running == set(ROLES)
    role = call.rpartition(" ")[2]
    assert bench.engine.calls[-2:] == [f"stop {role}", f"start {role}"]
    assert not [
        each for each in bench.engine.calls if each.startswith(("bring back", "stop master")) and role != "master"
    ]


def test_ctrl_c_between_two_roles_stops_nothing_that_cannot_be_brought_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were replaced serve on."""
    bench.engine.installed_over = True
    monkeypatch.setattr(bench.health, "self_test", lambda *_: interrupt())
    with pytest.raises(KeyboardInterrupt):
        bench.operator.upgrade("demo", everything=True)
    assert bench.engine.running == set(ROLES)
    assert bench.engine.calls == [f"{verb} {role}" for role in ROLES for verb in ("set aside", "start")]


def test_ctrl_c_behind_a_master_that_cannot_go_back_leaves_the_new_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing but the master was replaced: its database has moved on."""
    bench.engine.behind, bench.engine.gone = {"master"}, {"master"}
    monkeypatch.setattr(bench.health, "self_test", lambda *_: interrupt())
    with pytest.raises(KeyboardInterrupt):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.running == set(ROLES)


def test_ctrl_c_stays_ctrl_c_where_a_role_does_not_come_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not run is said beside it."""
    bench.engine.installed_over = True
    bench.engine.behind = {"node-1"}
    bench.engine.spoilt = {"node-1"}
    at(monkeypatch, bench, "start node-1", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.operator.upgrade("demo", everything=False)
    assert "node-1 did not come back either" in bench.said[-1]


def test_a_full_disk_on_the_way_back_is_said_beside_the_first_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is started is noted in a file."""

    def full(_spec: ClusterSpec, role: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bench.engine.spoilt = {"node-2"}
    monkeypatch.setattr(bench.engine, "bring_back", full)
    with pytest.raises(UnavailableError, match=r"node-2 ended.* did not come back either \(.*No space left"):
        bench.operator.upgrade("demo", everything=False)


def test_a_master_whose_database_has_moved_on_stays_new(bench: Bench) -> None:
    """The version before refuses it; the new one goes on, and the nodes went back."""
    bench.engine.spoilt = {"node-1"}
    bench.engine.gone = {"master"}
    with pytest.raises(UnavailableError, match="node-1 ended"):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.calls[-3:] == ["bring back master", "stop master", "start master"]
    assert bench.engine.running == set(ROLES)


def test_a_master_that_never_came_and_cannot_go_back_is_said(bench: Bench) -> None:
    """Then a person is needed: the error says which role, and why."""
    bench.engine.spoilt = {"master"}
    bench.engine.gone = {"master"}
    with pytest.raises(UnavailableError, match="master did not come back either"):
        bench.operator.upgrade("demo", everything=False)


def test_corrupt_bytes_after_the_last_step_take_all_back(bench: Bench) -> None:
    """A failed self-test is a failed upgrade."""
    bench.health.corrupt = True
    with pytest.raises(CorruptError):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.behind == set(ROLES)


def test_what_cannot_be_upgraded() -> None:
    """A cluster that is gone, and one of which a role is dead."""
    spec = make_spec(joined=True)
    with pytest.raises(NotFoundError, match="was destroyed"):
        roles_to_upgrade(make_spec(destroyed=True), Found(), (), everything=True)
    found = Found(master_initialised=True, running=frozenset({"master", "node-1", "node-3"}))
    with pytest.raises(UnavailableError, match=r"node-2 .*dfs start"):
        roles_to_upgrade(spec, found, ROLES, everything=False)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("draining", "node-2 is being drained; say `dfs node cancel node-2`"),
        ("maintenance", "node-2 is in maintenance; say `dfs node maintenance node-2 --off`"),
        ("failed", "node-2 had an error of its disk"),
    ],
)
def test_a_node_out_of_service_is_said_before_anything_is_touched(bench: Bench, state: str, words: str) -> None:
    """Nobody waits for what no waiting changes; where nothing is behind, nothing is refused."""
    bench.health.states = {"node-2": state, "node-3": "suspect"}
    bench.engine.aside = {"node-1"}
    before = bench.clock.monotonic()
    with pytest.raises(ConflictError, match=words):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.calls == []
    assert bench.engine.aside == {"node-1"}
    assert bench.clock.monotonic() == before
    bench.engine.behind = set()
    assert bench.operator.upgrade("demo", everything=False) == ()


def test_a_node_that_is_drained_on_the_way_takes_all_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and the error says why."""
    at(monkeypatch, bench, "start node-1", lambda: bench.health.states.update({"node-3": "draining"}))
    with pytest.raises(ConflictError, match="node-3 is being drained"):
        bench.operator.upgrade("demo", everything=False)
    assert bench.engine.calls[-2:] == ["bring back node-1", "bring back master"]


def test_the_way_back_ends_with_the_master() -> None:
    """Also when only nodes, or nothing, was replaced."""
    assert roles_to_bring_back(["master", "node-1", "node-2"]) == ("node-2", "node-1", "master")
    assert roles_to_bring_back(["node-1"]) == ("node-1",)
    assert roles_to_bring_back([]) == ()
