"""Seeded lives in which the collector has hardly any grace: few names, few contents, over and over.

Nothing that was acknowledged may be lost, whatever was deleted with the same content a moment before; and what was
deleted is gone in the end, from the catalog and from the volumes.
"""

import os
import random
from pathlib import Path

import pytest
from tests.simulation.test_seeds import Workload, disturb, read
from tests.simulation.world import World

from dfs_client.api import Dfs
from dfs_master.settings import Settings
from dfs_wire.errors import DfsError

SEEDS = int(os.environ.get("DFS_SIMULATION_SEEDS", "12"))
FIRST_SEED = int(os.environ.get("DFS_SIMULATION_FIRST_SEED", "1"))
OPERATIONS = 60
NAMES = [f"/d/f{number}" for number in range(4)]
CONTENTS = [random.Random(number).randbytes(size) for number, size in enumerate((1, 1_000, 65_537, 70_000))]
#: Everything at once; a minute stands for the day in which an inventory is made.
HASTY = Settings(version_grace_seconds=1, chunk_grace_seconds=1, orphan_seconds=60, inventory_seconds=60)


class Races(Workload):
    """The same contents under the same names, so that a content is deleted and stored again all the time."""

    names = NAMES
    kinds = ("put", "put", "group", "group", "get", "remove", "remove", "rename")

    def _group(self, dfs: Dfs, _name: str) -> None:
        """Several files at once: they share a pack, of which parts are replaced soon."""
        names = self.random.sample(NAMES, 3)
        local = self.world.directory / "local"
        local.mkdir(exist_ok=True)
        contents = {name: self.random.choice(CONTENTS) for name in names}
        files = {name: local / name.rpartition("/")[2] for name in names}
        for name, data in contents.items():
            files[name].write_bytes(data)
            self.possible[name] = self.possible[name] | {data}
        for result in dfs.upload_many([(files[name], name) for name in names]):
            if result.ok:
                self.possible[result.path] = {contents[result.path]}
            else:
                self.world.note("failed", "group", result.path)

    def content(self) -> bytes:
        """One of a few."""
        return self.random.choice(CONTENTS)


def stray_files(world: World) -> list[str]:
    """Chunks on volumes that the catalog does not count as copies, and copies that no volume has."""
    with_copy: dict[str, set[bytes]] = {node.name: set() for node in world.nodes}
    assert world.cluster is not None
    for row in world.copies():
        with_copy[row.node].add(row.digest)
    found = []
    for node in world.nodes:
        on_volume = {item.digest for prefix in range(256) for item in node.volume.inventory(prefix)}
        found += [
            f"{node.name} has {digest.hex()[:8]}, which nobody knows" for digest in on_volume - with_copy[node.name]
        ]
        found += [f"{node.name} lacks {digest.hex()[:8]}" for digest in with_copy[node.name] - on_volume]
    return found


def live(directory: Path, seed: int) -> tuple[str, int]:
    """One life: its trace, and how many operations were acknowledged."""
    directory.mkdir()
    world = World(directory, seed, settings=HASTY)
    try:
        workload = Races(world, random.Random(seed + 1))
        with world.client() as dfs:
            for _ in range(OPERATIONS):
                disturb(world)
                workload.step(dfs)
                world.clock.sleep(world.random.choice([0.0, 0.1, 1.0, 5.0]))
        world.heal()
        world.clock.sleep(300.0)
        with world.client() as dfs:
            for name in NAMES:
                assert read(dfs, name) in workload.possible[name], f"seed {seed}: {name} is not what was acknowledged"
                _require_copies(dfs, name)
        assert stray_files(world) == []
        assert world.count("SELECT count(*) FROM replicas WHERE state = 'deleted'") > 0
        return world.trace, workload.acknowledged
    finally:
        world.close()


def _require_copies(dfs: Dfs, name: str) -> None:
    try:
        chunks = dfs.stat(name, chunks=True).chunks
    except DfsError:
        return
    for chunk in chunks:
        good = [replica.node for replica in chunk.replicas if replica.state == "good"]
        assert len(set(good)) == 2, f"{name} has {len(good)} copies"


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_life_with_a_hasty_collector(tmp_path: Path, seed: int) -> None:
    """Crashes, lost messages and partitions on top."""
    _, acknowledged = live(tmp_path / "life", seed)
    assert acknowledged > 0


def test_same_seed_same_life(tmp_path: Path) -> None:
    """One seed gives one schedule."""
    assert live(tmp_path / "first", 4711) == live(tmp_path / "second", 4711)
