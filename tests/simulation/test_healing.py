"""Seeded deaths: nodes die for good, volumes are wiped, copies rot. Without a hand everything gets its copies back."""

import io
import os
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulation.world import SimulatedNode, World

from dfs_client.api import Dfs
from dfs_master.catalog.models import ReplicaState
from dfs_master.catalog.mutations.draining import SetMaintenance
from dfs_master.repair_rules import Fate, fate_of
from dfs_node.memory_volume import MemoryVolume
from dfs_wire.messages import FindingKind, Order, OrderKind

SEEDS = int(os.environ.get("DFS_SIMULATION_SEEDS", "12")) // 2
FIRST_SEED = int(os.environ.get("DFS_SIMULATION_FIRST_SEED", "1"))
FILES = 12
#: Longer than a restarted master waits for a node that is gone, with time to repair after that.
HEALED_SECONDS = 800.0


def fill(world: World, dfs: Dfs) -> dict[str, bytes]:
    """Files of a few sizes, some of them alike."""
    contents = {
        f"/d/f{number}": world.random.randbytes(world.random.choice([1, 5_000, 70_000])) for number in range(FILES)
    }
    contents["/d/same"] = contents["/d/f0"]
    for name, data in contents.items():
        dfs.upload(io.BytesIO(data), name)
    return contents


def short_copies(world: World) -> list[str]:
    """What is wrong with the copies: too few on record on nodes that stay, or on record and not there."""
    assert world.cluster is not None
    nodes = world.cluster.registry.nodes
    volumes = {node.name: node.volume for node in world.nodes}
    wrong = []
    reader = world.cluster.reader
    ids = sorted({each for node_id in nodes for each in reader.chunks_on_node(node_id, 0, 10_000)})
    for chunk in reader.copies_of(ids):
        staying = [each for each in chunk.good if fate_of(nodes.get(each)) is Fate.STAYS]
        if len(staying) < chunk.copies_wanted:
            wrong.append(f"{chunk.digest.hex()[:8]} has {len(staying)} of {chunk.copies_wanted}")
        for node_id in staying:
            if volumes[nodes[node_id].name].verify(chunk.digest).kind is not FindingKind.GOOD:
                wrong.append(f"{chunk.digest.hex()[:8]} is not good on {nodes[node_id].name}")
    return wrong


def all_equal(dfs: Dfs, contents: dict[str, bytes]) -> None:
    """Every file reads as it was stored."""
    for name, data in contents.items():
        target = io.BytesIO()
        dfs.download(name, target)
        assert target.getvalue() == data, name


def die(world: World, node: SimulatedNode) -> None:
    """Process and bytes are gone for ever."""
    world.note("dies", node.name)
    node.crash()
    node.volume = MemoryVolume(capacity_bytes=1 << 34, filesystem_id=node.name)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_deaths(tmp_path: Path, seed: int) -> None:
    """Two of five nodes die one after the other, copies rot between; at the end all copies are there again."""
    world = World(tmp_path / "world", seed, nodes=5)
    try:
        with world.client() as dfs:
            contents = fill(world, dfs)
            for _ in range(2):
                die(world, world.random.choice([node for node in world.nodes if node.link is not None]))
                rot(world)
                if world.random.random() < 0.5:
                    world.crash_master()
                    world.clock.call_in(world.random.random() * 20, world.ensure_master)
                world.clock.sleep(HEALED_SECONDS)
                assert short_copies(world) == []
            all_equal(dfs, contents)
    finally:
        world.close()


def rot(world: World) -> None:
    """One copy of a chunk that has another good one goes bad, and a reader's report has its node look."""
    assert world.cluster is not None
    nodes = world.cluster.registry.nodes
    live = {node.name: node for node in world.nodes if node.link is not None}
    reader = world.cluster.reader
    ids = sorted({each for node_id in nodes for each in reader.chunks_on_node(node_id, 0, 10_000)})
    for chunk in reader.copies_of(ids):
        there = [nodes[each].name for each in sorted(chunk.good) if nodes[each].name in live]
        if len(there) >= 2 and chunk.size > 0:
            live[there[0]].volume.tamper(chunk.digest)
            world.note("rots", chunk.digest.hex())
            holder = next(node.id for node in nodes.values() if node.name == there[0])
            world.cluster.registry.order(holder, Order(OrderKind.VERIFY, chunk.digest))
            world.clock.sleep(10.0)
            return


def test_a_rotten_source_is_found_by_the_repair(tmp_path: Path) -> None:
    """Of three copies one node dies and one is rotten, unread: the repair does not spread it, finds it, mends both."""
    world = World(tmp_path / "world", 5, nodes=4)
    try:
        with world.client() as dfs:
            dfs.set_policy("/", copies=3)
            data = world.random.randbytes(50_000)
            dfs.upload(io.BytesIO(data), "/f")
            assert world.cluster is not None
            nodes = world.cluster.registry.nodes
            by_name = {node.name: node for node in world.nodes}
            (chunk,) = world.cluster.reader.copies_of(
                world.cluster.reader.chunks_on_node(min(world.cluster.registry.nodes), 0, 10)
                or world.cluster.reader.chunks_on_node(max(world.cluster.registry.nodes), 0, 10)
            )
            # The repair takes the lowest of two idle sources: that one is rotten.
            rotten, _, dead = sorted(chunk.good)
            by_name[nodes[rotten].name].volume.tamper(chunk.digest)
            die(world, by_name[nodes[dead].name])
            world.clock.sleep(HEALED_SECONDS)
            assert short_copies(world) == []
            (chunk,) = world.cluster.reader.copies_of([chunk.id])
            assert len(chunk.good - {dead}) == 3
            all_equal(dfs, {"/f": data})
    finally:
        world.close()


def test_the_last_copy_stays_even_when_it_is_bad(tmp_path: Path) -> None:
    """Every copy is rotten: nothing is written over, nothing deleted, and repair says that there is no source."""
    world = World(tmp_path / "world", 6, nodes=3)
    try:
        with world.client() as dfs:
            dfs.upload(io.BytesIO(b"precious"), "/f")
            assert world.cluster is not None
            reader, nodes = world.cluster.reader, world.cluster.registry.nodes
            ids = {each for node_id in nodes for each in reader.chunks_on_node(node_id, 0, 10)}
            (chunk,) = reader.copies_of(sorted(ids))
            holders = [node for node in world.nodes if node.name in {nodes[each].name for each in chunk.good}]
            for node in holders:
                node.volume.tamper(chunk.digest)
            die(world, next(node for node in world.nodes if node not in holders))
            with pytest.raises(Exception, match=r"."):
                dfs.download("/f", io.BytesIO())
            world.clock.sleep(HEALED_SECONDS)
            (after,) = reader.copies_of([chunk.id])
            assert {state for _, state in after.copies} == {ReplicaState.BAD}
            for node in holders:
                assert node.volume.verify(chunk.digest).kind is FindingKind.CORRUPT
            assert world.healing.repairer.view.chunks_left == 1
            assert sum(world.healing.repairer.view.stuck.values()) == 1
    finally:
        world.close()


def test_two_of_three_at_once_wait_for_a_person(tmp_path: Path) -> None:
    """That is no repair's business until somebody says so; then what can be copied is copied."""
    world = World(tmp_path / "world", 7, nodes=6)
    try:
        with world.client() as dfs:
            contents = fill(world, dfs)
            gone = world.nodes[:2]
            for node in gone:
                node.crash()
            world.clock.sleep(HEALED_SECONDS)
            (failure,) = world.healing.repairer.view.failures
            assert "2 of 6 nodes vanished at once" in failure.reason
            assert world.healing.repairer.view.chunks_left == 0
            assert short_copies(world) != []
            assert sorted(world.healing.repairer.force()) == ["node-1", "node-2"]
            world.clock.sleep(60.0)
            assert world.healing.repairer.view.failures == ()
            # What had both copies on the two cannot be helped; everything else has its copies again.
            assert world.cluster is not None
            stuck = sum(world.healing.repairer.view.stuck.values())
            assert len(short_copies(world)) == stuck
            # A master that starts anew asks again: the person's word is not kept.
            world.crash_master()
            world.start_master()
            world.clock.sleep(HEALED_SECONDS)
            assert sorted(world.healing.repairer.force()) == ["node-1", "node-2"]
            for node in gone:
                node.start()
            world.clock.sleep(60.0)
            assert short_copies(world) == []
            all_equal(dfs, contents)
    finally:
        world.close()


def test_a_drained_node_is_emptied_and_short_settings_hold(tmp_path: Path) -> None:
    """What it holds alone is elsewhere; the times of death come from the settings, read at each step."""
    world = World(tmp_path / "world", 8, nodes=4)
    try:
        with world.client() as dfs:
            contents = fill(world, dfs)
            assert world.cluster is not None
            holder = world.cluster.settings
            holder.current = replace(holder.current, suspect_seconds=4.0, dead_seconds=6.0)
            world.nodes[0].crash()
            world.clock.sleep(40.0)
            assert short_copies(world) == []
            first = next(node for node in world.cluster.registry.nodes.values() if node.name == "node-2")
            world.cluster.registry.change(first.id, lambda node: replace(node, draining=True))
            world.clock.sleep(60.0)
            assert short_copies(world) == []
            assert world.healing.repairer.is_idle
            all_equal(dfs, contents)
    finally:
        world.close()


def copies_by_name(world: World, dfs: Dfs, names: Iterable[str]) -> dict[str, set[int]]:
    """How many good copies the chunks of each file have."""
    return {
        name: {sum(each.state == "good" for each in chunk.replicas) for chunk in dfs.stat(name, chunks=True).chunks}
        for name in names
    }


def test_a_changed_policy_is_followed(tmp_path: Path) -> None:
    """Raised, lowered, inherited, moved under another: what is there gets as many copies as is asked for, no more."""
    world = World(tmp_path / "world", 10, nodes=4)
    try:
        with world.client() as dfs:
            contents = {}
            for name in ("/a/x", "/a/own/y", "/b/z", "/a/deep/er/w"):
                contents[name] = world.random.randbytes(5_000)
                dfs.upload(io.BytesIO(contents[name]), name)
            contents["/b/same"] = contents["/a/x"]
            dfs.upload(io.BytesIO(contents["/b/same"]), "/b/same")
            dfs.set_policy("/a/own", copies=1)
            dfs.set_policy("/a", copies=3)
            # The walk is on record: a master that dies meanwhile begins it anew.
            world.crash_master()
            world.start_master()
            world.clock.sleep(60.0)
            wanted = {"/a/x": {3}, "/a/own/y": {1}, "/b/z": {2}, "/a/deep/er/w": {3}, "/b/same": {3}}
            assert copies_by_name(world, dfs, contents) == wanted
            dfs.rename("/b/z", "/a/z")
            contents["/a/z"] = contents.pop("/b/z")
            dfs.set_policy("/a", copies=0)
            dfs.rename("/a/x", "/a/own/x")
            contents["/a/own/x"] = contents.pop("/a/x")
            world.clock.sleep(120.0)
            wanted = {"/a/own/x": {2}, "/a/own/y": {1}, "/a/z": {2}, "/a/deep/er/w": {2}, "/b/same": {2}}
            assert copies_by_name(world, dfs, contents) == wanted
            all_equal(dfs, contents)
    finally:
        world.close()


def test_a_fourth_node_gets_its_share(tmp_path: Path) -> None:
    """It is filled to within the setting of the others, no chunk falls under its copies on the way; pause holds."""
    world = World(tmp_path / "world", 11, nodes=3, capacity_bytes=4 << 20)
    try:
        with world.client() as dfs:
            contents = {f"/f{number}": world.random.randbytes(60_000) for number in range(48)}
            for name, data in contents.items():
                dfs.upload(io.BytesIO(data), name)
            world.clock.sleep(10.0)
            assert world.cluster is not None
            world.healing.rebalancer.pause(True, lambda _: None)
            world.clock.sleep(5.0)
            added = world.add_node()
            world.clock.sleep(60.0)
            assert (world.healing.rebalancer.view.state, added.volume.usage().used_bytes) == ("paused", 0)
            assert world.healing.rebalancer.view.bytes_left > 0
            world.healing.rebalancer.pause(False, lambda _: None)
            for _ in range(60):
                world.clock.sleep(10.0)
                assert short_copies(world) == []
            shares = [node.volume.usage().used_bytes / (4 << 20) for node in world.nodes]
            mean = sum(shares) / len(shares)
            assert all(abs(share - mean) <= 0.051 for share in shares), shares
            assert world.healing.rebalancer.view.state == "even"
            all_equal(dfs, contents)
            moved = added.volume.usage().used_bytes
            world.clock.sleep(300.0)
            assert added.volume.usage().used_bytes == moved, "it does not go back and forth"
    finally:
        world.close()


def test_maintenance_is_waited_for(tmp_path: Path) -> None:
    """No new data and no repair while it lasts, over a restart of the master too; when its time is over, repair."""
    world = World(tmp_path / "world", 12, nodes=4)
    try:
        with world.client() as dfs:
            contents = fill(world, dfs)
            assert world.cluster is not None
            (node,) = [each for each in world.cluster.registry.nodes.values() if each.name == "node-2"]
            until_ms = world.clock.wall_ms() + 3_600_000
            world.cluster.committer.submit(SetMaintenance(node.id, until_ms), lambda _: None)
            world.cluster.committer.serve_waiting()
            world.crash_master()
            world.start_master()
            world.clock.sleep(30.0)
            assert world.cluster.registry.nodes[node.id].state == "maintenance"
            before = world.nodes[1].volume.usage().used_bytes
            for number in range(8):
                contents[f"/n{number}"] = world.random.randbytes(1_000)
                dfs.upload(io.BytesIO(contents[f"/n{number}"]), f"/n{number}")
            assert world.nodes[1].volume.usage().used_bytes == before
            world.nodes[1].crash()
            world.clock.sleep(1_800.0)
            assert world.cluster.registry.nodes[node.id].state == "suspect"
            assert world.healing.repairer.view.chunks_left == 0
            assert short_copies(world) != []
            world.clock.sleep(2_400.0)
            assert world.cluster.registry.nodes[node.id].state == "dead"
            assert short_copies(world) == []
            all_equal(dfs, contents)
    finally:
        world.close()


def test_same_seed_same_story(tmp_path: Path) -> None:
    """Repair draws from the seed and nothing else."""
    traces = []
    for run in ("a", "b"):
        world = World(tmp_path / run, 99, nodes=4)
        try:
            with world.client() as dfs:
                fill(world, dfs)
                die(world, world.random.choice(world.nodes))
                world.clock.sleep(HEALED_SECONDS)
            traces.append((world.trace, world.steps, random.Random(1).random()))
        finally:
            world.close()
    assert traces[0] == traces[1]
