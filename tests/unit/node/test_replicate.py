"""Copy orders, from a real listener into a real volume."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.volumes import WrappedDisk
from tests.support.wire import DictionaryNode, dictionary_node, hello_for

from dfs_node.copying import Courtesy
from dfs_node.disk_volume import DiskVolume
from dfs_node.findings import FindingQueue
from dfs_node.orders import OrderRunner
from dfs_node.replicate import PIECE_BYTES, Replicator
from dfs_runtime.clock import ManualClock
from dfs_wire.messages import Finding, FindingKind, Order, OrderKind
from dfs_wire.pool import ChannelPool
from dfs_wire.sockets import SocketDialer

DATA = os.urandom(2_500_000)
DIGEST = blake3(DATA).digest()


@pytest.fixture
def pool() -> Iterator[ChannelPool]:
    """Channels to the listener."""
    made = ChannelPool(SocketDialer(), hello_for)
    yield made
    made.close()


def order(address: str, *, size: int = len(DATA), generation: int = 7) -> Order:
    """A copy order for the chunk."""
    return Order(OrderKind.COPY, DIGEST, generation, size, 1, address, 0, b"")


def carry_out(volume: DiskVolume, pool: ChannelPool, what: Order) -> FindingQueue:
    """What the order brought up."""
    findings = FindingQueue()
    runner = OrderRunner(volume, findings, Replicator(volume, pool))
    runner.carry_out(what)
    runner.stop()
    return findings


def test_a_copy_is_stored_under_its_generation(tmp_path: Path, pool: ChannelPool) -> None:
    """What another node holds is here afterwards, verified, and the master is told."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    with dictionary_node() as (address, node):
        node.chunks[DIGEST] = DATA
        (finding,) = carry_out(volume, pool, order(address)).peek()
    assert (finding.kind, finding.generation) == (FindingKind.STORED, 7)
    assert volume.verify(DIGEST).kind is FindingKind.GOOD


def spoil(node: DictionaryNode) -> None:
    """Another last byte."""
    node.chunks[DIGEST] = DATA[:-1] + b"?"


def shorten(node: DictionaryNode) -> None:
    """One byte less."""
    node.chunks[DIGEST] = DATA[:-1]


def lose(node: DictionaryNode) -> None:
    """Nothing there."""
    node.chunks.clear()


@pytest.mark.parametrize("damage", [spoil, shorten, lose])
def test_a_bad_source_spreads_nothing(
    tmp_path: Path, pool: ChannelPool, damage: Callable[[DictionaryNode], None]
) -> None:
    """A copy that is not the chunk is discarded by its receiver, which says so."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    with dictionary_node() as (address, node):
        node.chunks[DIGEST] = DATA
        damage(node)
        (finding,) = carry_out(volume, pool, order(address)).peek()
    assert finding.kind is FindingKind.NOT_STORED
    assert volume.verify(DIGEST).kind is FindingKind.MISSING


def test_a_silent_source(tmp_path: Path, pool: ChannelPool) -> None:
    """Nobody listens there: the master hears of it, and may order from elsewhere."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    (finding,) = carry_out(volume, pool, order("127.0.0.1:1")).peek()
    assert finding.kind is FindingKind.NOT_STORED
    assert "connect_failed" in finding.detail


def test_what_was_written_is_read_back(tmp_path: Path, pool: ChannelPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes the bytes and gives others makes no copy: the master hears that it is this node's fault."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    monkeypatch.setattr(volume, "verify", lambda digest: Finding(digest, 0, FindingKind.CORRUPT))
    with dictionary_node() as (address, node):
        node.chunks[DIGEST] = DATA
        (finding,) = carry_out(volume, pool, order(address)).peek()
    assert finding.kind is FindingKind.NOT_STORED
    assert finding.detail.startswith("volume_failed:")


def test_each_piece_is_on_the_disk_before_a_copy_rests(tmp_path: Path, pool: ChannelPool) -> None:
    """While users send, a small sync of theirs finds no whole chunk before it; with nobody there, one sync does."""
    # How many pieces come depends on what the network gives at a time: each is less than twice its size.
    fewest = 1 + len(DATA) // (2 * PIECE_BYTES)
    for users in (0, 1):
        disk, clock = WrappedDisk(), ManualClock()
        (tmp_path / str(users)).mkdir()
        volume = DiskVolume(tmp_path / str(users), disk)
        disk.calls.clear()
        courtesy = Courtesy(clock, users=lambda users=users: users)
        with dictionary_node() as (address, node):
            node.chunks[DIGEST] = DATA
            Replicator(volume, pool, courtesy=courtesy).copy(order(address))
        syncs = disk.calls.count("fdatasync")
        assert syncs == 1 if not users else syncs >= fewest
        assert volume.verify(DIGEST).kind is FindingKind.GOOD
