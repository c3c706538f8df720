"""What is left of nodes that are gone: processes that still run, receipts that they signed, answers that come late."""

import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from tests.simulation.world import SimulatedNode, World

from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.mutations.draining import ReleaseCopies, RemoveNode, SetDraining
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.settings import Settings
from dfs_node.repack import repack
from dfs_wire.errors import ChunksMissingError, DfsError
from dfs_wire.messages import EXPECT_ANY, Extent, FileCommit, Finding, FindingKind, Order, OrderKind, Receipt, Slice

SHORT = Settings(dead_seconds=30, left_seconds=30, version_grace_seconds=0, chunk_grace_seconds=0, compact_percent=0)
PART_BYTES = 10_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Four nodes that settled."""
    made = World(tmp_path / "world", 1, nodes=4, settings=SHORT)
    made.clock.sleep(20)
    yield made
    made.close()


def change(world: World, mutation: Mutation[object]) -> object:
    """What the committer answers."""
    answers: list[object] = []
    world.cluster.committer.submit(mutation, answers.append)
    world.cluster.committer.serve_waiting()
    return answers[0]


def id_of(world: World, name: str) -> int:
    """The node's id."""
    return next(node.id for node in world.cluster.registry.nodes.values() if node.name == name)


def file_of(path: str, chunk: bytes, chunk_bytes: int, offset: int, data: bytes) -> FileCommit:
    """A version of one extent."""
    return FileCommit(
        path=path,
        expect=EXPECT_ANY,
        size=len(data),
        digest=blake3(data).digest(),
        mtime_ns=0,
        mode=0o644,
        extents=[Extent(chunk, chunk_bytes, offset, len(data))],
    )


def test_a_removed_node_that_still_runs_is_turned_away(world: World) -> None:
    """It has seen this epoch, from this very master: nothing to make the cluster read-only for."""
    cluster = world.cluster
    node_id = id_of(world, "node-1")
    change(world, SetDraining(node_id, True))
    cluster.registry.change(node_id, lambda node: replace(node, draining=True))
    world.clock.sleep(60)
    assert change(world, ReleaseCopies(node_id)) == 0
    assert change(world, RemoveNode(node_id)) is None
    cluster.registry.forget(node_id)
    world.clock.sleep(30)
    assert not cluster.safe_mode.held
    assert node_id not in cluster.registry.nodes
    with world.client() as dfs:
        dfs.upload(io.BytesIO(b"later"), "/later")


def test_receipts_of_nodes_that_are_gone_do_not_count(world: World) -> None:
    """1. A chunk was stored on two nodes, and not committed. 2. Both die, and empty volumes take their places.
    3. The commit comes: there is no copy, so it is refused.
    """
    cluster, data = world.cluster, os.urandom(100_000)
    digest, now_ms = blake3(data).digest(), cluster.clock.wall_ms()
    receipts = [
        Receipt(id_of(world, name), digest, len(data), cluster.generations.next(), now_ms, now_ms + 86_400_000, b"")
        for name in ("node-1", "node-2")
    ]
    for number in (1, 2):
        node = world.nodes[number - 1]
        node.crash()
        world.clock.sleep(60)
        shutil.rmtree(world.directory / node.name)
        world.nodes[number - 1] = SimulatedNode(world, number)
        world.nodes[number - 1].start()
        world.clock.sleep(10)
    assert {receipt.node_id for receipt in receipts}.isdisjoint({id_of(world, "node-1"), id_of(world, "node-2")})
    (outcome,) = change(world, CommitFiles(os.urandom(16), [file_of("/f", digest, len(data), 0, data)], receipts))
    assert outcome.code == ChunksMissingError.code
    with world.client() as dfs:
        assert not dfs.exists("/f")


def test_an_answer_to_an_order_that_was_given_up_moves_nothing(world: World, tmp_path: Path) -> None:
    """1. A pack is to be written anew for its first file alone; the nodes are late, and it is given up. 2. Another file
    of the pack, as long, takes its place. 3. The pack is to be written anew again. 4. The late answers come.
    """
    cluster, compactor = world.cluster, world.healing.compactor
    parts = [os.urandom(PART_BYTES) for _ in range(8)]
    for number, part in enumerate(parts):
        (tmp_path / str(number)).write_bytes(part)
    with world.client() as dfs:
        pairs = [(tmp_path / str(number), f"/{number}") for number in range(len(parts))]
        assert all(result.error is None for result in dfs.upload_many(pairs))
        world.clock.sleep(5)
        (digest,) = {copy.digest for copy in world.copies()}
        for number in range(1, len(parts)):
            dfs.remove(f"/{number}")
        world.clock.sleep(5)
        holders = [node for node in world.nodes if node.name in {copy.node for copy in world.copies()}]
        pack = cluster.reader.known_chunks([digest])[digest]
        (only,) = cluster.reader.slices_of(pack.id, 10)
        first = Order(OrderKind.REPACK, digest, cluster.generations.next(), pack.size, slices=[Slice(*only)])
        late: dict[int, Finding] = {}
        for node in holders:
            made = repack(node.volume, first)
            late[id_of(world, node.name)] = Finding(
                digest,
                made.generation,
                FindingKind.REPACKED,
                made=made.digest,
                made_size=made.size,
                ordered=first.generation,
            )
        other = parts[1]
        offset = holders[0].volume.open(digest).read(0, pack.size).find(other)
        (outcome,) = change(world, CommitFiles(os.urandom(16), [file_of("/1", digest, pack.size, offset, other)], []))
        assert not isinstance(outcome, DfsError)
        dfs.remove("/0")
        world.clock.sleep(3)
        cluster.settings.current = replace(SHORT, compact_percent=50)
        compactor.look_again()
        compactor.step()
        assert digest in compactor._packs
        for node_id, finding in late.items():
            compactor.heard(node_id, [finding])
        cluster.committer.serve_waiting()
        compactor.step()
        cluster.committer.serve_waiting()
        world.clock.sleep(600)
        target = io.BytesIO()
        dfs.download("/1", target)
        assert target.getvalue() == other
        assert digest not in {copy.digest for copy in world.copies()}
