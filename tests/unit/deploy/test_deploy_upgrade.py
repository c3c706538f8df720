"""A rolling upgrade, over fakes: one role at a time, only while all is whole, and back again when one fails."""

from pathlib import Path

import pytest
from tests.support.deploy import Bench, make_spec

from dfs_deploy.plan import DeployRequest, Found
from dfs_deploy.upgrade_plan import roles_to_bring_back, roles_to_upgrade
from dfs_wire.errors import CorruptError, NotFoundError, TimedOutError, UnavailableError

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
    # Three questions before the first step, one before each other, one at the end.
    assert bench.health.asked == 3 + (len(ROLES) - 1) + 1


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


def test_a_node_that_runs_and_is_never_live_takes_all_back_too(bench: Bench) -> None:
    """Its end is not waited for: there is a time limit. Deaf as it is, the version before does not help either."""
    bench.health.deaf = {"node-1"}
    bench.engine.behind = {"node-1"}
    with pytest.raises(UnavailableError, match="node-1 of the version before did not come back"):
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
    with pytest.raises(UnavailableError, match="master of the version before did not come back either"):
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


def test_the_way_back_ends_with_the_master() -> None:
    """Also when only nodes, or nothing, was replaced."""
    assert roles_to_bring_back(["master", "node-1", "node-2"]) == ("node-2", "node-1", "master")
    assert roles_to_bring_back(["node-1"]) == ("node-1",)
    assert roles_to_bring_back([]) == ()
