"""Orders of the collector: delete what is old enough, write anew what is still needed of a pack."""

from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.volumes import WrappedDisk, chunk_of, store
from tests.support.wire import hello_for

from dfs_node.disk_volume import DiskVolume
from dfs_node.findings import FindingQueue
from dfs_node.orders import OrderWork
from dfs_node.replicate import Replicator
from dfs_wire.messages import Finding, FindingKind, Order, OrderKind, Slice
from dfs_wire.pool import ChannelPool
from dfs_wire.sockets import SocketDialer

PACK, PACK_DIGEST = chunk_of(2_500_000)


@pytest.fixture
def volume(tmp_path: Path) -> DiskVolume:
    """With one pack of generation 5."""
    made = DiskVolume(tmp_path, WrappedDisk())
    store(made, PACK, generation=5)
    return made


def carry_out(volume: DiskVolume, order: Order) -> Finding:
    """What the master is told."""
    findings = FindingQueue()
    pool = ChannelPool(SocketDialer(), hello_for)
    OrderWork(volume, findings, Replicator(volume, pool)).carry_out(order)
    pool.close()
    (finding,) = findings.peek()
    return finding


@pytest.mark.parametrize(("generation", "left"), [(4, FindingKind.GOOD), (5, FindingKind.MISSING)])
def test_a_delete_takes_only_what_is_old_enough(volume: DiskVolume, generation: int, left: FindingKind) -> None:
    """The answer is the same: nothing of that generation is here any more."""
    finding = carry_out(volume, Order(OrderKind.DELETE, PACK_DIGEST, generation))
    assert finding == Finding(PACK_DIGEST, generation, FindingKind.DELETED)
    assert volume.verify(PACK_DIGEST).kind is left
    assert carry_out(volume, Order(OrderKind.DELETE, PACK_DIGEST, generation)) == finding


def test_a_pack_is_written_anew(volume: DiskVolume) -> None:
    """The slices one behind the other, under the name of their bytes, and the old pack is still there."""
    slices = [Slice(0, 10), Slice(1_048_570, 20), Slice(2_400_000, 100_000)]
    order = Order(OrderKind.REPACK, PACK_DIGEST, 9, len(PACK), slices=slices)
    wanted = b"".join(PACK[each.offset : each.offset + each.length] for each in slices)
    finding = carry_out(volume, order)
    made = blake3(wanted).digest()
    assert finding == Finding(PACK_DIGEST, 9, FindingKind.REPACKED, made=made, made_size=len(wanted), ordered=9)
    assert volume.verify(finding.made) == Finding(finding.made, 9, FindingKind.GOOD)
    assert volume.verify(PACK_DIGEST).kind is FindingKind.GOOD


@pytest.mark.parametrize(
    "slices", [[], [Slice(0, 0)], [Slice(5, 10), Slice(10, 10)], [Slice(len(PACK) - 1, 2)], [Slice(-1, 3)]]
)
def test_an_order_that_makes_no_sense_is_refused(volume: DiskVolume, slices: list[Slice]) -> None:
    """Nothing is written."""
    finding = carry_out(volume, Order(OrderKind.REPACK, PACK_DIGEST, 9, len(PACK), slices=slices))
    assert (finding.made, finding.made_size, finding.ordered) == (b"", 0, 9)
    assert finding.detail.startswith("usage")
    assert sum(1 for prefix in range(256) for _ in volume.inventory(prefix)) == 1


def test_a_bad_pack_is_not_written_anew(volume: DiskVolume, tmp_path: Path) -> None:
    """However little is wrong, and wherever: what comes out would have a good name for bad bytes."""
    (path,) = (tmp_path / "chunks").glob(f"*/{PACK_DIGEST.hex()}")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    finding = carry_out(volume, Order(OrderKind.REPACK, PACK_DIGEST, 9, len(PACK), slices=[Slice(0, 10)]))
    assert finding.made == b""
    missing = carry_out(volume, Order(OrderKind.REPACK, bytes(32), 9, 5, slices=[Slice(0, 1)]))
    assert missing.made == b""
