"""Seeded lives of a whole cluster: whatever happens on the way, what was acknowledged is there at the end."""

import io
import os
import random
from pathlib import Path

import pytest
from tests.simulation.world import World

from dfs_client.api import Dfs
from dfs_wire.errors import DfsError, NotFoundError

SEEDS = int(os.environ.get("DFS_SIMULATION_SEEDS", "12"))
FIRST_SEED = int(os.environ.get("DFS_SIMULATION_FIRST_SEED", "1"))
OPERATIONS = 40
NAMES = [f"/d{directory}/f{number}" for directory in range(2) for number in range(4)]


def content(randomness: random.Random) -> bytes:
    """Mostly small, sometimes several chunks' worth of blocks, sometimes nothing."""
    size = randomness.choice([0, 1, 1_000, 65_536, 65_537, 300_000])
    return randomness.randbytes(size)


class Workload:
    """One client's operations, and for each name all contents that it may have now (None: absent)."""

    names = NAMES
    kinds = ("put", "put", "put", "get", "remove", "rename")

    def __init__(self, world: World, randomness: random.Random) -> None:
        self.world = world
        self.random = randomness
        self.possible: dict[str, set[bytes | None]] = {name: {None} for name in self.names}
        self.acknowledged = 0

    def content(self) -> bytes:
        """What the next upload stores."""
        return content(self.random)

    def step(self, dfs: Dfs) -> None:
        """One operation on one name. An error leaves both outcomes possible; an acknowledgement only one."""
        name = self.random.choice(self.names)
        kind = self.random.choice(self.kinds)
        self.world.note("operation", kind, name)
        try:
            getattr(self, f"_{kind}")(dfs, name)
        except DfsError as error:
            self.world.note("failed", kind, name, error.code)
        else:
            self.acknowledged += 1

    def _put(self, dfs: Dfs, name: str) -> None:
        data = self.content()
        before = set(self.possible[name])
        self.possible[name] = before | {data}
        dfs.upload(self._source(data), name)
        self.possible[name] = {data}

    def _source(self, data: bytes) -> io.BytesIO | Path:
        """A local file more often than a stream: small ones that follow each other go under tickets taken ahead."""
        if self.random.random() < 0.3:
            return io.BytesIO(data)
        path = self.world.directory / "source"
        path.write_bytes(data)
        return path

    def _get(self, dfs: Dfs, name: str) -> None:
        found = read(dfs, name)
        assert found in self.possible[name], f"{name} holds what nobody stored there"
        # What was seen once stays: an unknown outcome is known from here on. A removed version cannot come back.

    def _remove(self, dfs: Dfs, name: str) -> None:
        before = set(self.possible[name])
        self.possible[name] = before | {None}
        try:
            dfs.remove(name)
        except NotFoundError:
            assert None in before, f"{name} was acknowledged, and is not found"
            raise
        self.possible[name] = {None}

    def _rename(self, dfs: Dfs, name: str) -> None:
        target = self.random.choice([other for other in self.names if other != name])
        before, over = set(self.possible[name]), set(self.possible[target])
        self.possible[name] = before | {None}
        self.possible[target] = over | before - {None}
        try:
            dfs.rename(name, target)
        except NotFoundError:
            # The source, or the target's directory, is not there: nothing moved.
            self.possible[name], self.possible[target] = before, over
            raise
        assert before != {None}, f"{name} was renamed, and nobody stored it"
        self.possible[name], self.possible[target] = {None}, before - {None}


def read(dfs: Dfs, name: str) -> bytes | None:
    """The content, or None."""
    target = io.BytesIO()
    try:
        dfs.download(name, target)
    except NotFoundError:
        return None
    return target.getvalue()


def disturb(world: World) -> None:
    """Perhaps one fault."""
    roll = world.random.random()
    node = world.random.choice(world.nodes)
    if roll < 0.06:
        world.note("crash", node.name)
        node.crash()
    elif roll < 0.16 and node.link is None:
        world.note("start", node.name)
        node.start()
    elif roll < 0.20:
        world.note("master crash")
        world.crash_master()
        world.clock.call_in(world.random.random() * 20, world.ensure_master)
    elif roll < 0.26:
        world.network.loss = world.random.choice([0.0, 0.02, 0.1])
    elif roll < 0.30:
        world.network.cut(node.name, world.random.choice(["master", "node-1", "node-2"]))
    elif roll < 0.40:
        world.network.heal()


def live(directory: Path, seed: int) -> tuple[str, int, int]:
    """One life: trace, steps, acknowledged operations."""
    directory.mkdir()
    world = World(directory, seed)
    try:
        workload = Workload(world, random.Random(seed + 1))
        with world.client() as dfs:
            for _ in range(OPERATIONS):
                disturb(world)
                workload.step(dfs)
        world.heal()
        with world.client() as dfs:
            for name in NAMES:
                found = read(dfs, name)
                assert found in workload.possible[name], f"seed {seed}: {name} is not what was acknowledged"
            for name in NAMES:
                if dfs.exists(name):
                    for chunk in dfs.stat(name, chunks=True).chunks:
                        assert len({replica.node for replica in chunk.replicas}) >= 2
        return world.trace, world.steps, workload.acknowledged
    finally:
        world.close()


def test_lives_use_tickets_taken_ahead(tmp_path: Path) -> None:
    """Uploads in a row need no plan each; a node that restarts in between refuses its old tickets and loses nothing."""
    world = World(tmp_path, 1)
    try:
        stored: dict[str, bytes] = {}
        verbs: list[str] = []
        note = world.network.note

        def listen(*facts: object) -> None:
            note(*facts)
            if facts[2] == "request":
                verbs.append(str(facts[3]))

        world.network.note = listen
        with world.client() as dfs:
            for number in range(30):
                if number == 15:
                    world.nodes[0].crash()
                    world.nodes[0].start()
                    world.clock.sleep(5.0)
                data = world.random.randbytes(1_000)
                (tmp_path / "source").write_bytes(data)
                dfs.upload(tmp_path / "source", f"/d/{number}")
                stored[f"/d/{number}"] = data
            assert {name: read(dfs, name) for name in stored} == stored
        assert verbs.count("TakeTickets") >= 1
        assert verbs.count("Plan") <= 6
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_life(tmp_path: Path, seed: int) -> None:
    """Crashes, lost messages and partitions lose nothing that was acknowledged, and show nothing by half."""
    _, steps, acknowledged = live(tmp_path / "life", seed)
    # Shown by `pytest -s`, and beside a failure.
    print(f"seed {seed}: {steps} steps, {acknowledged} of {OPERATIONS} operations acknowledged")
    assert acknowledged > 0


def test_same_seed_same_life(tmp_path: Path) -> None:
    """One seed gives one schedule: a failure found once can be looked at again."""
    assert live(tmp_path / "first", 4711) == live(tmp_path / "second", 4711)
