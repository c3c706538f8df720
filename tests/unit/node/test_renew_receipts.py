"""`RenewReceipts` at a node: what is signed anew, for whom, and how much one request makes the node read."""

import threading
from pathlib import Path

import msgspec
import pytest
from tests.support.nodes import CLUSTER, Cluster, FakeBody, TestNode, key_of
from tests.support.volumes import chunk_of

from dfs_node.handlers import RENEWALS_AT_ONCE
from dfs_node.memory_volume import MemoryVolume
from dfs_wire import tickets
from dfs_wire.codec import decode, encode
from dfs_wire.errors import BadTicketError, BusyError, TooLargeError, VolumeFailedError
from dfs_wire.limits import CHUNK_BYTES_MAX, RECEIPT_SECONDS, RENEW_BODY_BYTES_MAX, RENEW_RECEIPTS_MAX
from dfs_wire.messages import Finding, FindingKind, Receipt, RenewReceipts

DATA, DIGEST = chunk_of(200_000)


class CountingVolume(MemoryVolume):
    """Says which chunks were read whole, and waits in between where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.verified: list[bytes] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.reading = threading.Semaphore(0)

    def verify(self, digest: bytes) -> Finding:
        self.verified.append(digest)
        self.reading.release()
        assert self.go_on.wait(10)
        return super().verify(digest)


@pytest.fixture
def volume() -> CountingVolume:
    """Of the node."""
    return CountingVolume()


@pytest.fixture
def cluster() -> Cluster:
    """Of one node."""
    return Cluster()


@pytest.fixture
def node(cluster: Cluster, volume: CountingVolume, tmp_path: Path) -> TestNode:
    """Empty."""
    return cluster.add(1, tmp_path, volume)


def renew(node: TestNode, receipts: list[Receipt]) -> list[Receipt]:
    """What comes back."""
    answer = node.handlers.renew_receipts(node.session, RenewReceipts(), encode(receipts))
    return decode(answer.body, list[Receipt])


def receipt_for(digest: bytes, size: int) -> Receipt:
    """Signed by the node."""
    return tickets.sign_receipt(key_of(1), CLUSTER, Receipt(1, digest, size, 6, 0, 0, b""))


def test_without_the_bytes(cluster: Cluster, node: TestNode, volume: CountingVolume) -> None:
    """An expired receipt for a chunk that is still whole is signed anew; lost and bad chunks are left out."""
    chunks = [chunk_of(1_000 + seed, seed) for seed in range(3)]
    receipts = [node.put(cluster.ticket(data, [1]), FakeBody(data)).receipts[0] for data, _ in chunks]
    volume.delete(chunks[1][1], 99)
    volume.tamper(chunks[2][1])
    cluster.clock.advance(RECEIPT_SECONDS + 1)
    node.time.learn(cluster.clock.wall_ms())
    (renewed,) = renew(node, receipts)
    assert cluster.check_receipts([renewed], chunks[0][1]) == [1]
    assert renewed.expires_at_ms == cluster.clock.wall_ms() + RECEIPT_SECONDS * 1000
    assert [each.kind for each in node.findings.peek()] == [FindingKind.CORRUPT]


def test_only_own_receipts(node: TestNode) -> None:
    """A receipt that this node did not sign is refused, so that it cannot be asked about chunks at will."""
    stranger = tickets.sign_receipt(key_of(2), CLUSTER, Receipt(2, DIGEST, len(DATA), 6, 0, 0, b""))
    forged = Receipt(1, DIGEST, len(DATA), 6, 0, 0, bytes(32))
    for receipt in (stranger, forged):
        with pytest.raises(BadTicketError):
            renew(node, [receipt])


def test_not_on_a_failed_volume(cluster: Cluster, node: TestNode, volume: CountingVolume) -> None:
    """Its copies do not count before a full verifying pass."""
    receipts = node.put(cluster.ticket(DATA, [1]), FakeBody(DATA)).receipts
    volume.fail("fsync")
    with pytest.raises(VolumeFailedError):
        renew(node, receipts)


def test_each_chunk_is_read_once(cluster: Cluster, node: TestNode, volume: CountingVolume) -> None:
    """However many receipts for it are shown, of one time or of several."""
    (receipt,) = node.put(cluster.ticket(DATA, [1]), FakeBody(DATA)).receipts
    older = tickets.sign_receipt(key_of(1), CLUSTER, msgspec.structs.replace(receipt, stored_at_ms=5))
    (renewed,) = renew(node, [receipt, older] * (RENEW_RECEIPTS_MAX // 2))
    assert cluster.check_receipts([renewed], DIGEST) == [1]
    assert volume.verified == [DIGEST]


def test_more_than_one_request_may_ask_for(node: TestNode, volume: CountingVolume) -> None:
    """Too many receipts, or too many bytes to read: refused before anything is read."""
    small = receipt_for(DIGEST, 1)
    with pytest.raises(TooLargeError, match="several requests"):
        renew(node, [small] * (RENEW_RECEIPTS_MAX + 1))
    large = [receipt_for(bytes([number]) * 32, CHUNK_BYTES_MAX) for number in range(9)]
    with pytest.raises(TooLargeError, match="several requests"):
        renew(node, large)
    assert volume.verified == []
    assert renew(node, large[:8]) == []


def test_the_longest_list_fits_its_body() -> None:
    """With numbers as long as they may be."""
    receipt = Receipt(2**62, bytes(32), 2**31, 2**62, 2**62, 2**62, bytes(32))
    assert len(encode([receipt] * RENEW_RECEIPTS_MAX)) <= RENEW_BODY_BYTES_MAX


def test_few_at_once(cluster: Cluster, node: TestNode, volume: CountingVolume) -> None:
    """While they read, the next one is told to come again; then it is served."""
    receipts = node.put(cluster.ticket(DATA, [1]), FakeBody(DATA)).receipts
    volume.go_on.clear()
    threads = [threading.Thread(target=renew, args=(node, receipts)) for _ in range(RENEWALS_AT_ONCE)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert volume.reading.acquire(timeout=10)
        with pytest.raises(BusyError):
            renew(node, receipts)
    finally:
        volume.go_on.set()
        for thread in threads:
            thread.join()
    assert len(renew(node, receipts)) == 1
