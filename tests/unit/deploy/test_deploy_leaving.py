"""Nodes that are let go, over fakes: no volume goes before its node was drained, and an interrupted way is finished."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.deploy import CREDENTIALS, Bench, make_spec

from dfs_deploy.leaving import Leaving
from dfs_deploy.plan import DeployRequest
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.surroundings import Record
from dfs_wire.errors import ConflictError, RolledBackError, TimedOutError, UnavailableError

FOUR = DeployRequest(name="demo", nodes=4)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A cluster of four nodes over fakes."""
    made = Bench(tmp_path)
    made.operator.deploy(FOUR)
    made.engine.calls.clear()
    return made


def lose_ids(bench: Bench, *names: str) -> None:
    """As a deploy leaves it that was killed while it waited for the nodes."""
    spec = bench.store.load("demo")
    nodes = tuple(replace(node, id=None) if node.name in names else node for node in spec.nodes)
    bench.store.save(replace(spec, nodes=nodes))


def interrupt(monkeypatch: pytest.MonkeyPatch, target: object, method: str, *, after: bool = False) -> None:
    """Ctrl-C at the first call of a method, instead of it or right after it."""
    real: Callable[..., object] = getattr(target, method)

    def interrupted(*arguments: object, **options: object) -> None:
        monkeypatch.setattr(target, method, real)
        if after:
            real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(target, method, interrupted)


def test_a_node_whose_id_is_not_on_record_is_drained_by_its_name(bench: Bench) -> None:
    """The master knows it, and may have given it chunks."""
    lose_ids(bench, "node-3", "node-4")
    bench.operator.scale("demo", 2)
    assert bench.health.drains == [(3, False), (4, False)]
    assert bench.health.forgotten == {3, 4}
    assert bench.engine.discarded == ["node-3", "node-4"]


def test_one_node_whose_id_is_not_on_record_is_drained_too(bench: Bench) -> None:
    """`dfs node remove`, also where the node does not run: it is started as the one that it is."""
    lose_ids(bench, "node-2")
    bench.engine.running.discard("node-2")
    bench.operator.remove_node("demo", "node-2")
    assert bench.health.drains == [(2, False)]
    assert bench.engine.calls[0] == "start node-2"


def test_the_next_deploy_and_start_note_missing_ids(bench: Bench) -> None:
    """All nodes run, so there is nothing else to do for them."""
    whole = bench.store.load("demo")
    for command in (lambda: bench.operator.deploy(FOUR), lambda: bench.operator.start("demo")):
        lose_ids(bench, "node-2", "node-4")
        command()
        assert bench.store.load("demo") == whole


def test_ids_are_noted_although_another_node_cannot_start(bench: Bench) -> None:
    """`dfs node replace` ends with an error then, and the replaced node has joined all the same."""
    bench.engine.running.discard("node-3")
    bench.engine.broken.add("node-3")
    with pytest.raises(UnavailableError, match="node-3"):
        bench.operator.replace_node("demo", "node-2")
    assert bench.store.load("demo").node("node-2").id == 102


def test_a_replaced_node_that_still_counts_as_live_is_not_taken_for_the_new_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master has just heard of it; its volume is gone, and `dfs fsck` would look for its id in vain."""
    real = bench.health.live_nodes
    stale = [{"node-1": 1, "node-2": 2, "node-3": 3, "node-4": 4}]
    monkeypatch.setattr(bench.health, "live_nodes", lambda *asked: stale.pop() if stale else real(*asked))
    bench.operator.replace_node("demo", "node-2")
    assert bench.store.load("demo").node("node-2").id == 102


def test_a_node_that_joins_a_moment_later_is_noted_too(bench: Bench) -> None:
    """It runs already when the other one ends."""
    lose_ids(bench, "node-2")
    bench.engine.running.discard("node-3")
    bench.engine.broken.add("node-3")
    bench.health.deaf.add("node-2")
    sleeps = 0

    def joins(_seconds: float) -> None:
        nonlocal sleeps
        sleeps += 1
        bench.health.deaf.clear()

    bench.clock.sleep = joins  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="node-3"):
        bench.operator.start("demo")
    assert bench.store.load("demo").node("node-2").id == 2
    assert sleeps == 1


def test_a_node_that_never_joined_is_ended_before_its_volume_goes(bench: Bench) -> None:
    """It could join meanwhile; then nobody would have drained it."""
    lose_ids(bench, "node-4")
    bench.engine.joined.discard("demo/node-4")
    bench.operator.scale("demo", 3)
    assert bench.health.drains == []
    assert bench.engine.calls[0] == "stop node-4"
    assert bench.engine.discarded == ["node-4"]


def test_a_node_that_joins_at_the_last_moment_is_drained(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came in while it was ended."""
    lose_ids(bench, "node-4")
    bench.engine.joined.discard("demo/node-4")
    stop = bench.engine.stop

    def joins(spec: ClusterSpec, roles: list[str]) -> None:
        bench.engine.joined.add("demo/node-4")
        stop(spec, roles)

    monkeypatch.setattr(bench.engine, "stop", joins)
    bench.operator.scale("demo", 3)
    assert bench.health.drains == [(4, False)]
    assert bench.engine.calls[:2] == ["stop node-4", "start node-4"]


def test_a_node_that_an_older_database_does_not_know_may_come_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started, is let in again, and is drained like all others."""
    bench.engine.running.discard("node-4")
    bench.health.forgotten.add(4)
    start = bench.engine.start_node

    def comes_back(spec: ClusterSpec, node: object) -> None:
        bench.health.forgotten.discard(4)
        start(spec, node)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.engine, "start_node", comes_back)
    bench.operator.scale("demo", 3)
    assert bench.health.drains == [(4, False)]


def test_the_volume_of_a_node_on_record_is_never_deleted(bench: Bench) -> None:
    """Whatever a plan says."""
    record = Record(bench.store, make_spec(joined=True, nodes=4))
    leaving = Leaving(bench.around, bench.engine, record)
    with pytest.raises(ConflictError, match="node-4"):
        leaving.delete(["node-4"])
    with pytest.raises(ConflictError, match="node-4 joined"):
        leaving.forget(["node-4"])
    record.keep(replace(record.spec, gone=record.spec.nodes[3:]))
    with pytest.raises(ConflictError, match="node-4"):
        leaving.delete(["node-4"])
    assert bench.engine.discarded == []
    assert bench.store.credentials("demo") == CREDENTIALS


@pytest.mark.parametrize(
    ("where", "method", "after"),
    [("health", "forget_node", True), ("engine", "stop", False), ("engine", "discard_node", False)],
)
def test_a_shrink_that_is_interrupted_behind_the_master_is_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str, method: str, *, after: bool
) -> None:
    """The node that the master forgot is off the record, and its volume goes; nothing could bring it back."""
    interrupt(monkeypatch, getattr(bench, where), method, after=after)
    with pytest.raises(KeyboardInterrupt):
        bench.operator.scale("demo", 3)
    assert bench.store.load("demo") == make_spec(joined=True)
    assert bench.engine.discarded == ["node-4"]
    assert bench.engine.running == {"master", "node-1", "node-2", "node-3"}
    assert not [line for line in bench.said if "not everything" in line]


@pytest.mark.parametrize(("where", "after"), [("stop", False), ("discard_node", False), ("discard_node", True)])
@pytest.mark.parametrize(
    "again",
    [
        lambda bench: bench.operator.scale("demo", 3),
        lambda bench: bench.operator.deploy(DeployRequest(name="demo")),
        lambda bench: bench.operator.remove_node("demo", "node-4"),
        lambda bench: bench.operator.destroy("demo", delete_data=False),
    ],
)
def test_a_shrink_that_was_killed_behind_the_master_is_finished_by_the_next_command(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str, again: Callable[[Bench], object], *, after: bool
) -> None:
    """The record says which volume nobody needs any more; its process may run yet, and is ended before."""
    interrupt(monkeypatch, bench.engine, where, after=after)
    with monkeypatch.context() as killed:
        # What is killed takes nothing back.
        killed.setattr(Leaving, "take_back", lambda _leaving: None)
        with pytest.raises(KeyboardInterrupt):
            bench.operator.scale("demo", 3)
    assert [node.name for node in bench.store.load("demo").gone] == ["node-4"]
    bench.engine.calls.clear()
    again(bench)
    assert bench.engine.calls[0] == "stop node-4"
    assert set(bench.engine.discarded) == {"node-4"}
    assert bench.store.load("demo").gone == ()


def test_a_growth_that_fails_does_not_bring_back_what_is_gone(bench: Bench) -> None:
    """The volume was deleted on the way, and the record says so."""
    spec = bench.store.load("demo")
    bench.store.save(replace(spec, nodes=spec.nodes[:3], gone=spec.nodes[3:]))
    bench.engine.broken.add("node-5")
    with pytest.raises(RolledBackError, match="node-5"):
        bench.operator.deploy(FOUR)
    assert bench.engine.discarded == ["node-4"]
    assert bench.store.load("demo") == make_spec(joined=True)


def test_of_two_nodes_the_one_that_was_not_forgotten_serves_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between the two."""
    interrupt(monkeypatch, bench.health, "forget_node", after=True)
    with pytest.raises(KeyboardInterrupt):
        bench.operator.scale("demo", 2)
    assert bench.health.drains == [(3, False), (4, False), (4, True)]
    assert [node.name for node in bench.store.load("demo").nodes] == ["node-1", "node-2", "node-4"]
    assert bench.engine.discarded == ["node-3"]


def test_a_shrink_whose_last_test_is_interrupted_stays_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume is gone, so the description does not have the node either."""
    interrupt(monkeypatch, bench.health, "self_test")
    with pytest.raises(KeyboardInterrupt):
        bench.operator.scale("demo", 3)
    assert bench.store.load("demo") == make_spec(joined=True)


def test_a_drain_that_damage_holds_up_says_so(bench: Bench) -> None:
    """At once, since no waiting helps; and at the end which node, which files, and what does help."""
    bench.health.stuck, bench.health.damaged = True, 1
    with pytest.raises(TimedOutError, match="makes no progress with 3 chunks left; node-2 holds") as caught:
        bench.operator.remove_node("demo", "node-2")
    for words in ("all that is left of 1 chunk, and that is damaged", "start the nodes", "remove the files", "/a"):
        assert words in caught.value.message
    assert any("chunks left. node-2 holds all that is left" in line for line in bench.said)
    assert bench.health.drains == [(2, False), (2, True)]


def test_one_drain_that_cannot_be_cancelled_does_not_keep_the_others(bench: Bench) -> None:
    """It is said which one goes on."""
    bench.health.stuck = True
    bench.health.stays_draining = {3}
    with pytest.raises(UnavailableError, match="makes no progress"):
        bench.operator.scale("demo", 2)
    assert (4, True) in bench.health.drains
    assert bench.said[-1] == "not everything could be taken back: node-3 is still drained: node 3 goes on"


def test_a_failed_growth_keeps_the_ids_of_the_others(bench: Bench) -> None:
    """They were seen on the way."""
    lose_ids(bench, "node-2")
    bench.engine.broken.add("node-5")
    with pytest.raises(RolledBackError, match="node-5"):
        bench.operator.deploy(DeployRequest(name="demo", nodes=5))
    assert bench.store.load("demo") == make_spec(joined=True, nodes=4)


def test_a_removed_node_makes_no_other_cluster_the_one_that_is_meant(bench: Bench) -> None:
    """That is the cluster deployed last."""
    bench.operator.deploy(DeployRequest(name="two"))
    bench.engine.running |= {"node-4"}
    bench.operator.remove_node("demo", "node-4")
    assert bench.profiles.chosen == "two"
