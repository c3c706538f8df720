"""Nodes come back with their identity and without their chunks: what the record says of them is no reason to give up
what others have, until they were asked.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.simulation.world import SimulatedNode, World

from dfs_node.memory_volume import MemoryVolume
from dfs_wire.messages import FindingKind

DATA = b"precious" * 10_000
#: Longer than a node is silent before it is dead, and repair takes.
REPAIRED_SECONDS = 400.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Six nodes."""
    made = World(tmp_path / "world", 1, nodes=6)
    yield made
    made.close()


def holders(world: World, digest: bytes) -> list[SimulatedNode]:
    """The nodes that really have a chunk."""
    return [node for node in world.nodes if node.volume.verify(digest).kind is FindingKind.GOOD]


def lose_chunks(world: World, node: SimulatedNode) -> None:
    """As a check of its file system leaves it: the identity is there, the chunks are not."""
    node.volume = MemoryVolume(capacity_bytes=world.capacity_bytes, filesystem_id=node.name, clock=world.clock)


def stored_file(world: World) -> bytes:
    """The digest of a file's only chunk, with copies on two nodes."""
    with world.client() as dfs:
        dfs.upload(io.BytesIO(DATA), "/f")
    world.clock.sleep(10.0)
    (digest,) = {copy.digest for copy in world.copies()}
    return digest


def kill_in_turn(world: World, nodes: list[SimulatedNode]) -> None:
    """One after the other dies, and repair makes up for it."""
    for node in nodes:
        node.crash()
        world.clock.sleep(REPAIRED_SECONDS)


@pytest.mark.parametrize("returning", [1, 2])
def test_nodes_that_lost_their_chunks_cost_no_copy(world: World, returning: int) -> None:
    """The copies that replaced theirs stay, though the record knows of more than enough."""
    digest = stored_file(world)
    gone = holders(world, digest)
    kill_in_turn(world, gone)
    for node in gone:
        lose_chunks(world, node)
    assert len(holders(world, digest)) == 2
    for node in gone[:returning]:
        node.start()
    for _ in range(60):
        world.clock.sleep(1.0)
        assert len(holders(world, digest)) >= 2
    assert len(world.copies()) == 2 + len(gone) - returning
    with world.client() as dfs:
        target = io.BytesIO()
        dfs.download("/f", target)
        assert target.getvalue() == DATA


def test_nodes_that_kept_their_chunks_make_a_surplus_that_goes(world: World) -> None:
    """Within seconds of their inventories."""
    digest = stored_file(world)
    gone = holders(world, digest)
    kill_in_turn(world, gone)
    for node in gone:
        node.start()
    world.clock.sleep(30.0)
    assert len(holders(world, digest)) == len(world.copies()) == 2


def test_trimming_goes_on_after_the_masters_own_restart(world: World) -> None:
    """Everybody registers anew and lists what it has; nobody was away."""
    digest = stored_file(world)
    gone = holders(world, digest)
    kill_in_turn(world, gone)
    world.crash_master()
    for node in gone:
        node.start()
    world.start_master()
    # The safe mode of a master that just started is over by then.
    world.clock.sleep(90.0)
    assert len(holders(world, digest)) == len(world.copies()) == 2


def test_a_node_that_was_only_cut_off_needs_no_new_inventory(world: World) -> None:
    """It registers anew, but is the same process: what it listed holds."""
    digest = stored_file(world)
    node = holders(world, digest)[0]
    assert world.cluster is not None
    (before,) = (known for known in world.cluster.registry.nodes.values() if known.name == node.name)
    assert node.link is not None
    node.link.leave()
    world.clock.sleep(10.0)
    after = world.cluster.registry.nodes[before.id]
    assert after.registration > before.registration
    assert after.listed is before.listed is not None
