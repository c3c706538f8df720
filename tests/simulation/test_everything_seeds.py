"""Seeded lives in which all that heals, moves and collects is at work at once: nodes are drained, removed, added, wiped
and cut off, policies change, packs shrink, masters end. What lies on one volume at least is not lost.
"""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulation.test_collecting_seeds import Races
from tests.simulation.test_seeds import disturb, read
from tests.simulation.world import SimulatedNode, World

from dfs_client.api import Dfs
from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.mutations.draining import SetDraining, SetMaintenance
from dfs_master.removal import remove_node
from dfs_master.settings import Settings
from dfs_node.memory_volume import MemoryVolume
from dfs_wire.errors import DfsError
from dfs_wire.messages import FindingKind, Order, OrderKind

SEEDS = int(os.environ.get("DFS_SIMULATION_SEEDS", "12")) // 4
FIRST_SEED = int(os.environ.get("DFS_SIMULATION_FIRST_SEED", "1"))
OPERATIONS = 60
#: Everything at once, and nobody dead for long before it is repaired.
HASTY = Settings(
    version_grace_seconds=1,
    chunk_grace_seconds=1,
    orphan_seconds=60,
    inventory_seconds=60,
    dead_seconds=20,
    left_seconds=20,
    safe_mode_seconds=30,
    compact_percent=90,
    rebalance_percent=1,
)
NEEDED = (
    "SELECT DISTINCT c.digest FROM extents x JOIN versions v ON v.id = x.version_id JOIN chunks c ON c.id = x.chunk_id"
    " WHERE v.removed_at IS NULL"
)
STORED = "SELECT digest FROM chunks WHERE state = 'stored'"


class Life:
    """A world, its workload, and what operators and disks do to it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.world = World(directory, seed, nodes=4, settings=HASTY)
        self.workload = Races(self.world, random.Random(seed + 1))
        self.random = random.Random(seed + 2)
        #: Wiped volumes of which the master cannot know yet, and copies that rotted, which nobody looked at.
        self.unheard: set[str] = set()
        self.rotten: set[tuple[str, bytes]] = set()

    def happen(self, dfs: Dfs) -> None:
        """Perhaps something that an operator or a disk does."""
        roll = self.random.random()
        node = self.random.choice(self.world.nodes)
        if roll < 0.08:
            self._wipe(node)
        elif roll < 0.16:
            self._say(node, drain=True)
        elif roll < 0.22:
            self._say(node, drain=False)
        elif roll < 0.26:
            self._maintain(node)
        elif roll < 0.34:
            self._remove(node)
        elif roll < 0.40 and len(self.world.nodes) < 6:
            self.world.add_node()
        elif roll < 0.50:
            self._rot(node)
        elif roll < 0.56:
            try:
                dfs.set_policy(self.random.choice(["/", "/d"]), self.random.choice([2, 2, 3]))
            except DfsError as error:
                self.world.note("policy", error.code)
        elif roll < 0.62 and node.link is not None:
            node.crash()
            node.start()

    def _id(self, node: SimulatedNode) -> int:
        assert self.world.cluster is not None
        known = self.world.cluster.registry.nodes.values()
        return next((each.id for each in known if each.name == node.name), 0)

    def _do(self, mutation: Mutation[object]) -> bool:
        assert self.world.cluster is not None
        answers: list[object] = []
        self.world.cluster.committer.submit(mutation, answers.append)
        self.world.cluster.committer.serve_waiting()
        return not isinstance(answers[0], DfsError)

    def _say(self, node: SimulatedNode, *, drain: bool) -> None:
        cluster = self.world.cluster
        if cluster is None or not (node_id := self._id(node)):
            return
        self.world.note("drain", node.name, drain)
        if self._do(SetDraining(node_id, drain)):
            cluster.registry.change(node_id, lambda known: replace(known, draining=drain))

    def _maintain(self, node: SimulatedNode) -> None:
        cluster = self.world.cluster
        if cluster is None or not (node_id := self._id(node)):
            return
        if self._do(SetMaintenance(node_id, cluster.clock.wall_ms() + 30_000)):
            until = cluster.clock.monotonic() + 30
            cluster.registry.change(node_id, lambda known: replace(known, maintenance_until=until))

    def _remove(self, node: SimulatedNode) -> None:
        """As soon as nothing needs it; its process and its volume are gone then."""
        cluster = self.world.cluster
        if cluster is None or not (node_id := self._id(node)) or len(self.world.nodes) < 4:
            return
        answers: list[DfsError | None] = []
        try:
            remove_node(cluster, node_id, answers.append)
            cluster.committer.serve_waiting()
        except DfsError as error:
            self.world.note("not removed", node.name, error.code)
            return
        if answers == [None]:
            self.world.note("removed", node.name)
            node.crash()
            self.world.nodes.remove(node)
            self.require_whole("removing a node")

    def _wipe(self, node: SimulatedNode) -> None:
        """A volume comes back empty under its identity, where another volume has whatever it held."""
        if self._only_on(node):
            return
        self.world.note("wiped", node.name)
        node.crash()
        node.volume = MemoryVolume(
            capacity_bytes=self.world.capacity_bytes, filesystem_id=node.name, clock=self.world.clock
        )
        self.unheard.add(node.name)
        if self.random.random() < 0.8:
            node.start()

    def _rot(self, node: SimulatedNode) -> None:
        """Every chunk in turn, of those that another volume has whole."""
        lonely = self._only_on(node)
        for digest in self._digests(STORED):
            whole = node.volume.verify(digest).kind is FindingKind.GOOD
            if digest not in lonely and whole and self.random.random() < 0.5:
                node.volume.tamper(digest)
                self.rotten.add((node.name, digest))

    def _digests(self, sql: str = NEEDED) -> list[bytes]:
        return sorted(digest for (digest,) in self.world.rows(sql))

    def _only_on(self, node: SimulatedNode) -> list[bytes]:
        """The chunks that no other volume has whole; those that nobody needs may be needed again in a moment."""
        others = [other for other in self.world.nodes if other is not node]
        return [
            digest
            for digest in self._digests(STORED)
            if not any(other.volume.verify(digest).kind is FindingKind.GOOD for other in others)
        ]

    def work(self, dfs: Dfs) -> None:
        """One operation. What it stored has its copies, as far as anybody can know."""
        connected = {node.name for node in self.world.nodes if node.link is not None and node.link.connected}
        self.unheard -= connected
        before = self.world.count("SELECT coalesce(max(id), 0) FROM versions")
        self.workload.step(dfs)
        for (digest,) in self.world.rows(f"{NEEDED} AND v.id > {before}"):
            holders = [
                node.name
                for node in self.world.nodes
                if node.name in self.unheard
                or (node.name, digest) in self.rotten
                or node.volume.verify(digest).kind is FindingKind.GOOD
            ]
            assert len(holders) >= 2, f"{digest.hex()} was acknowledged with copies on {holders} only"

    def look_at_all(self) -> None:
        """As a pass of the scrub: these nodes have none."""
        assert self.world.cluster is not None
        for node in self.world.nodes:
            for digest in self._digests():
                self.world.cluster.registry.order(self._id(node), Order(OrderKind.VERIFY, digest))

    def require_whole(self, after: str) -> None:
        """No chunk that a current version needs is lost."""
        for digest in self._digests():
            holders = [n.name for n in self.world.nodes if n.volume.verify(digest).kind is FindingKind.GOOD]
            assert holders, f"{digest.hex()} is lost after {after} at {self.world.clock.monotonic()}"


def live(directory: Path, seed: int) -> tuple[str, int]:
    """One life: its trace, and how many operations were acknowledged."""
    directory.mkdir()
    life = Life(directory, seed)
    world, workload = life.world, life.workload
    try:
        with world.client() as dfs:
            for number in range(OPERATIONS):
                disturb(world)
                life.happen(dfs)
                life.work(dfs)
                life.require_whole(f"operation {number}")
                world.clock.sleep(world.random.choice([0.0, 0.1, 1.0, 5.0, 20.0]))
                life.require_whole(f"the time behind operation {number}")
        world.heal()
        for node in world.nodes:
            life._say(node, drain=False)
        while len(world.nodes) < 4:
            world.add_node()
        world.clock.sleep(300.0)
        life.look_at_all()
        world.clock.sleep(2_000.0)
        life.require_whole("all")
        with world.client() as dfs:
            for name in workload.names:
                assert read(dfs, name) in workload.possible[name], f"seed {seed}: {name} is not what was acknowledged"
            assert world.count("SELECT count(*) FROM chunks WHERE copies_good < copies_wanted") == 0
        for digest in life._digests():
            assert sum(n.volume.verify(digest).kind is FindingKind.GOOD for n in world.nodes) >= 2, digest.hex()
        return world.trace, workload.acknowledged
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_life_with_everything_at_once(tmp_path: Path, seed: int) -> None:
    """Nothing that lies on a volume somewhere is given up, and all is mended in the end."""
    _, acknowledged = live(tmp_path / "life", seed)
    assert acknowledged > 0
