"""Seeded lives of trees of small files: packs are made, read, replaced and removed while the cluster is disturbed."""

import itertools
import os
import random
from pathlib import Path

import pytest
from tests.simulation.test_seeds import FIRST_SEED, SEEDS, disturb
from tests.simulation.world import World

from dfs_client.api import Dfs
from dfs_wire.errors import DfsError, NotFoundError
from dfs_wire.messages import EntryKind

ROUNDS = 8
FILES = 12
SIZES = (0, 1, 100, 4_096, 65_536, 70_000)


class Trees:
    """One client's trees, and for each file all contents that it may have now (None: absent)."""

    def __init__(self, world: World, directory: Path, randomness: random.Random) -> None:
        self.world = world
        self.directory = directory
        self.random = randomness
        self.possible: dict[str, set[bytes | None]] = {
            f"/t{tree}/f{number}": {None} for tree in range(2) for number in range(FILES)
        }
        self.acknowledged = 0
        self.read = 0
        self.numbers = itertools.count()

    def upload(self, dfs: Dfs) -> None:
        """Some files at once: each has an outcome of its own, and an error leaves both contents possible."""
        chosen = self.random.sample(sorted(self.possible), self.random.randrange(1, len(self.possible)))
        contents: dict[str, bytes] = {}
        pairs = []
        for number, path in enumerate(chosen):
            contents[path] = self.random.randbytes(self.random.choice(SIZES))
            local = self.directory / f"up-{number}"
            local.write_bytes(contents[path])
            os.utime(local, ns=(1, 1))  # the trace must not know the time of day
            pairs.append((local, path))
            self.possible[path] = self.possible[path] | {contents[path]}
        for result in dfs.upload_many(pairs):
            self.world.note("uploaded", result.path, "" if result.error is None else result.error.code)
            if result.ok:
                self.possible[result.path] = {contents[result.path]}
                self.acknowledged += 1

    def remove(self, dfs: Dfs) -> None:
        """Some files, side by side."""
        chosen = self.random.sample(sorted(self.possible), self.random.randrange(1, 6))
        before = {path: set(self.possible[path]) for path in chosen}
        for path in chosen:
            self.possible[path] = self.possible[path] | {None}
        for path, error in dfs.remove_many(chosen):
            if error is None:
                self.possible[path] = {None}
            elif isinstance(error, NotFoundError):
                assert None in before[path], f"{path} was acknowledged, and is not found"

    def download(self, dfs: Dfs) -> None:
        """All that is listed. What comes is right, what does not leaves nothing behind."""
        for tree in ("/t0", "/t1"):
            target = self.directory / f"down-{next(self.numbers)}"
            target.mkdir()
            try:
                entries = [entry for entry in dfs.walk(tree) if entry.kind is EntryKind.FILE]
            except DfsError:
                continue
            found = list(dfs.download_many((entry, target / entry.path.rpartition("/")[2]) for entry in entries))
            for result in found:
                self.world.note("downloaded", result.path, "" if result.error is None else result.error.code)
                if result.ok:
                    data = (target / result.path.rpartition("/")[2]).read_bytes()
                    assert data in self.possible[result.path], f"{result.path} holds what nobody stored there"
                    self.read += 1
            assert len(list(target.iterdir())) == sum(result.ok for result in found), "a file by half was left"


def live(directory: Path, seed: int) -> tuple[str, int, int]:
    """One life: trace, files acknowledged, files read."""
    directory.mkdir()
    world = World(directory, seed)
    try:
        trees = Trees(world, directory, random.Random(seed + 1))
        with world.client() as dfs:
            for _ in range(ROUNDS):
                disturb(world)
                try:
                    trees.random.choice([trees.upload, trees.upload, trees.remove, trees.download])(dfs)
                except DfsError as error:
                    world.note("failed", error.code)
        world.heal()
        with world.client() as dfs:
            trees.upload(dfs)
            trees.download(dfs)
            _compare(dfs, trees, seed)
        return world.trace, trees.acknowledged, trees.read
    finally:
        world.close()


def _compare(dfs: Dfs, trees: Trees, seed: int) -> None:
    """After all faults ended, each file is what was acknowledged, in both copies, by ranges too."""
    there = {entry.path: entry for tree in ("/t0", "/t1") if dfs.exists(tree) for entry in dfs.walk(tree)}
    for path, possible in trees.possible.items():
        if path not in there:
            assert None in possible, f"seed {seed}: {path} was acknowledged, and is gone"
            continue
        with dfs.open(path) as file:
            content = file.read()
            assert content in possible, f"seed {seed}: {path} is not what was acknowledged"
            middle = len(content) // 2
            file.seek(middle)
            assert file.read(7) == content[middle : middle + 7]
        for chunk in dfs.stat(path, chunks=True).chunks:
            assert len({replica.node for replica in chunk.replicas}) >= 2


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_life_of_trees(tmp_path: Path, seed: int) -> None:
    """Whatever fails on the way, no file of a pack is lost, mixed up or shown by half."""
    _, acknowledged, read = live(tmp_path / "life", seed)
    print(f"seed {seed}: {acknowledged} files acknowledged, {read} read")
    assert acknowledged > 0


def test_same_seed_same_life_of_trees(tmp_path: Path) -> None:
    """A failure found once can be looked at again."""
    assert live(tmp_path / "first", 815) == live(tmp_path / "second", 815)
