"""Nodes that come late, back, or with less than they should; and a database that is older than all of them."""

import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from tests.simulation.world import SimulatedNode, World

from dfs_client.api import Dfs
from dfs_master.catalog.mutations.accepting import AcceptDatabase
from dfs_master.fence import Point
from dfs_master.handlers.fencing import FenceHandlers
from dfs_master.settings import Settings
from dfs_wire import messages as m
from dfs_wire.errors import DfsError, NotFoundError, ReadOnlyError
from dfs_wire.service import Session

SHORT = Settings(
    dead_seconds=30,
    left_seconds=30,
    safe_mode_seconds=300,
    inventory_seconds=60,
    version_grace_seconds=20,
    chunk_grace_seconds=20,
    orphan_seconds=600,
)
CONTENT = bytes(range(256)) * 400


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Three nodes that settled."""
    made = World(tmp_path, seed=5, settings=SHORT)
    made.clock.sleep(20)
    yield made
    made.close()


def digests(node: SimulatedNode) -> set[bytes]:
    """What lies on a volume."""
    return {digest for prefix in range(256) for digest, _ in node.volume.names(prefix)}


def put(dfs: Dfs, name: str, data: bytes) -> None:
    """Store one file."""
    dfs.upload(io.BytesIO(data), name)


def read(dfs: Dfs, name: str) -> bytes:
    """Its content."""
    with dfs.open(name) as file:
        return bytes(file.read())


def holders(world: World) -> dict[bytes, set[str]]:
    """Which nodes the catalog believes to hold each chunk."""
    found: dict[bytes, set[str]] = {}
    for copy in world.copies():
        found.setdefault(copy.digest, set()).add(copy.node)
    return found


def test_a_lost_file_is_found_by_the_inventory_and_mended(world: World) -> None:
    """Nobody read it: the list shows that it is gone, the node confirms, the repair follows."""
    dfs = world.client()
    put(dfs, "/f", CONTENT)
    world.clock.sleep(30)
    (digest,) = holders(world)
    victim = next(node for node in world.nodes if digest in digests(node))
    victim.volume.lose(digest)
    world.clock.sleep(120)
    assert sum(digest in digests(node) for node in world.nodes) >= 2
    assert all(digest in digests(node) for node in world.nodes if node.name in holders(world)[digest])
    assert world.count("SELECT count(*) FROM events WHERE kind = 'copy_missing'") == 1
    assert read(dfs, "/f") == CONTENT


def test_no_copy_is_made_before_the_nodes_were_heard(world: World) -> None:
    """A node is away while the master starts anew: it is waited for, and only then is its share copied."""
    dfs = world.client()
    for number in range(6):
        put(dfs, f"/f{number}", CONTENT + bytes([number]))
    away = world.nodes[0]
    assert digests(away)
    others = {node.name: digests(node) for node in world.nodes[1:]}
    away.crash()
    world.crash_master()
    world.start_master()
    world.clock.sleep(250)  # far beyond dead_seconds
    assert world.cluster is not None
    assert world.cluster.safe_mode.active
    assert {node.name: digests(node) for node in world.nodes[1:]} == others, "a copy was made in safe mode"
    world.clock.sleep(200)
    assert not world.cluster.safe_mode.active
    stored = set().union(*(digests(node) for node in world.nodes[1:]))
    assert all(digests(node) == stored for node in world.nodes[1:]), "the lost copies were not made"
    assert world.count("SELECT count(*) FROM events WHERE kind = 'safe_mode_left'") >= 1


def test_safe_mode_ends_when_everybody_is_back(world: World) -> None:
    """Seconds, not minutes."""
    world.crash_master()
    world.start_master()
    assert world.cluster is not None
    assert world.cluster.safe_mode.active
    world.clock.sleep(20)
    assert not world.cluster.safe_mode.active


def test_a_node_back_after_its_files_were_deleted(world: World) -> None:
    """Nothing comes back to life, and what it still holds goes."""
    dfs = world.client()
    put(dfs, "/gone", CONTENT)
    put(dfs, "/stays", CONTENT + b"x")
    world.clock.sleep(30)
    gone = blake3(CONTENT).digest()
    away = next(node for node in world.nodes if gone in digests(node))
    away.crash()
    dfs.remove("/gone")
    dfs.remove("/stays")
    put(dfs, "/stays", CONTENT + b"y")
    world.clock.sleep(400)
    assert gone in digests(away)
    away.start()
    world.clock.sleep(200)
    assert [entry.path for entry in dfs.list("/")] == ["/stays"]
    assert read(dfs, "/stays") == CONTENT + b"y"
    with pytest.raises(NotFoundError):
        read(dfs, "/gone")
    assert gone not in digests(away), "a deleted chunk lies on"


def test_an_older_database_under_newer_nodes(world: World) -> None:
    """Read-only, nothing deleted, until accepted; then what it does not know waits its whole time."""
    dfs = world.client()
    put(dfs, "/old", CONTENT)
    world.clock.sleep(10)
    database = world.directory / "master" / "metadata.db"
    backup = world.directory / "backup.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    for number in range(5):
        put(dfs, f"/new{number}", CONTENT + bytes([number]))
    world.clock.sleep(10)
    before = {node.name: digests(node) for node in world.nodes}

    world.crash_master()
    for each in database.parent.glob("metadata.db*"):
        each.unlink()
    shutil.copyfile(backup, database)
    world.start_master()
    world.clock.sleep(1_000)  # far beyond every grace
    fresh = world.client()
    assert world.cluster is not None
    assert "dfs db accept" in world.cluster.safe_mode.held
    with pytest.raises(ReadOnlyError, match="dfs db accept"):
        put(fresh, "/refused", b"x" * 100_000)
    assert read(fresh, "/old") == CONTENT
    assert {node.name: digests(node) for node in world.nodes} == before, "a read-only master deleted something"

    accept(world)
    put(fresh, "/after", b"y" * 100_000)
    world.clock.sleep(200)
    unknown = set().union(*before.values()) - set(holders(world))
    assert len(unknown) == 5
    assert all(before[node.name] <= digests(node) for node in world.nodes), "an unknown chunk went before its time"
    assert world.count("SELECT count(*) FROM events WHERE kind = 'inventory'") >= 1
    world.clock.sleep(1_200)
    assert not any(unknown & digests(node) for node in world.nodes), "orphans are never collected"
    assert read(fresh, "/old") == CONTENT
    assert read(fresh, "/after") == b"y" * 100_000


def accept(world: World) -> None:
    """The operator's word, through the handler."""
    assert world.cluster is not None
    answers: list[object] = []
    handlers = FenceHandlers(world.cluster)
    handlers.accept(Session("operator", role=m.Role.ADMIN), m.AcceptDatabase(), b"", answers.append)
    world.cluster.committer.serve_waiting()
    assert not isinstance(answers[0], DfsError)


def test_accepting_needs_no_quarrel(world: World) -> None:
    """Where nothing is ahead it only jumps; and a second time it jumps again."""
    accept(world)
    accept(world)
    put(world.client(), "/f", CONTENT)
    world.clock.sleep(10)
    assert read(world.client(), "/f") == CONTENT
    assert AcceptDatabase(Point(1, 1)) == replace(AcceptDatabase(), seen=Point(1, 1))
