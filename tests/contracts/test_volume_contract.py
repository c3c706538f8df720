"""What every volume does, whatever it is made of."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.volumes import FaultyVolume, WrappedDisk, chunk_of, store

from dfs_node.chunk_file import blocks_of
from dfs_node.disk_volume import DiskVolume
from dfs_node.memory_volume import MemoryVolume
from dfs_node.volume import Volume
from dfs_wire.errors import CorruptError, NotFoundError, UnavailableError
from dfs_wire.limits import BLOCK_BYTES
from dfs_wire.messages import FindingKind, VolumeState

Maker = Callable[[Path], Volume]


def _disk(path: Path) -> Volume:
    return DiskVolume(path, WrappedDisk())


def _memory(_path: Path) -> Volume:
    return MemoryVolume()


def _faulty(path: Path) -> Volume:
    return FaultyVolume(DiskVolume(path, WrappedDisk()))


@pytest.fixture(params=[_disk, _memory, _faulty], ids=["disk", "memory", "faulty"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    """One volume of each kind."""
    maker: Maker = request.param
    return maker(tmp_path)


SIZES = [0, 1, 4_095, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_stored_chunk_reads_back(volume: Volume, size: int) -> None:
    """What was committed is read back byte-equal, with the generation it was written at."""
    data, digest = chunk_of(size)
    stored = store(volume, data, generation=7, piece=30_011)
    assert (stored.digest, stored.size, stored.generation) == (digest, size, 7)
    chunk = volume.open(digest)
    assert (chunk.size, chunk.generation) == (size, 7)
    assert chunk.read(0, size) == data
    assert len(chunk.block_crcs(0, blocks_of(size))) == 4 * blocks_of(size)
    chunk.close()
    chunk.close()
    assert volume.verify(digest).kind is FindingKind.GOOD


def test_a_range_can_be_read(volume: Volume) -> None:
    """A range is read from its place in the data, through `read` and through the descriptor alike."""
    data, digest = chunk_of(200_000)
    store(volume, data)
    chunk = volume.open(digest)
    assert chunk.read(70_000, 1_000) == data[70_000:71_000]
    descriptor = chunk.fileno()
    if descriptor is not None:
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(chunk.file_offset + 70_000)
            assert file.read(1_000) == data[70_000:71_000]
    chunk.close()


def test_a_missing_chunk_is_not_found(volume: Volume) -> None:
    """What was never stored cannot be opened, is found missing, and cannot be deleted."""
    _, digest = chunk_of(10)
    with pytest.raises(NotFoundError):
        volume.open(digest)
    assert volume.verify(digest).kind is FindingKind.MISSING
    assert volume.delete(digest, 99) is False


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("body", ["other bytes", "too short", "too long"])
def test_a_wrong_body_leaves_nothing(volume: Volume, known: bool, body: str) -> None:
    """A body that is not the chunk is refused, whether the chunk is here already or not."""
    data, digest = chunk_of(100_000)
    if known:
        store(volume, data)
    wrong = {"other bytes": chunk_of(100_000, seed=1)[0], "too short": data[:-1], "too long": data + b"x"}[body]
    with volume.create(digest, len(data), 1) as writer:
        writer.write(memoryview(wrong))
        with pytest.raises(CorruptError):
            writer.commit()
    expected = FindingKind.GOOD if known else FindingKind.MISSING
    assert volume.verify(digest).kind is expected


def test_leaving_without_commit_leaves_nothing(volume: Volume) -> None:
    """A writer that is left alone leaves no trace, and its space is free again."""
    data, digest = chunk_of(100_000)
    before = volume.usage().used_bytes
    with volume.create(digest, len(data), 1) as writer:
        writer.write(memoryview(data))
    assert volume.verify(digest).kind is FindingKind.MISSING
    assert volume.usage().used_bytes == before


def test_a_second_put_keeps_the_newer_generation(volume: Volume) -> None:
    """An older or equal leave does not lower the generation of a good copy, a newer one raises it."""
    data, _ = chunk_of(100_000)
    assert store(volume, data, generation=5).generation == 5
    assert store(volume, data, generation=3).generation == 5
    assert store(volume, data, generation=5).generation == 5
    assert store(volume, data, generation=9).generation == 9
    assert store(volume, data, generation=6).generation == 9


def test_delete_spares_what_is_newer(volume: Volume) -> None:
    """A delete removes only what was written at its generation or before."""
    data, digest = chunk_of(5_000)
    store(volume, data, generation=5)
    assert volume.delete(digest, 4) is False
    assert volume.verify(digest).kind is FindingKind.GOOD
    assert volume.delete(digest, 5) is True
    assert volume.verify(digest).kind is FindingKind.MISSING
    assert volume.usage().used_bytes == 0


def test_an_open_chunk_outlives_its_delete(volume: Volume) -> None:
    """A reader finishes with the bytes that it opened."""
    data, digest = chunk_of(50_000)
    store(volume, data)
    chunk = volume.open(digest)
    volume.delete(digest, 1)
    assert chunk.read(0, len(data)) == data
    chunk.close()


def test_a_delete_during_a_known_put_is_never_acknowledged_away(volume: Volume) -> None:
    """1. The chunk is here. 2. A put begins and need not write. 3. The chunk is deleted. 4. The put either keeps the
    bytes that it was sent, or asks for them again; it never acknowledges what is gone.
    """
    data, digest = chunk_of(50_000)
    store(volume, data, generation=4)
    with volume.create(digest, len(data), 4) as writer:
        writer.write(memoryview(data))
        assert volume.delete(digest, 4)
        try:
            writer.commit()
        except UnavailableError:
            return
    assert volume.verify(digest).kind is FindingKind.GOOD


def test_usage_counts_chunks(volume: Volume) -> None:
    """Used bytes grow with what is stored, once for each chunk."""
    data, _ = chunk_of(100_000)
    assert volume.usage().used_bytes == 0
    store(volume, data)
    once = volume.usage().used_bytes
    assert 100_000 <= once < 110_000
    store(volume, data)
    store(volume, data, generation=8)
    usage = volume.usage()
    assert usage.used_bytes == once
    assert usage.state is VolumeState.OK
    assert usage.filesystem_id
    assert usage.capacity_bytes >= usage.free_bytes > 0


def test_inventory_lists_every_chunk_once(volume: Volume) -> None:
    """Pages by the digest's first byte together hold every chunk once."""
    chunks = {blake3(data).digest(): len(data) for data, _ in (chunk_of(1_000 + seed, seed) for seed in range(20))}
    for seed in range(20):
        store(volume, chunk_of(1_000 + seed, seed)[0], generation=seed + 1)
    listed = [(prefix, item) for prefix in range(256) for item in volume.inventory(prefix)]
    names = {digest: size for prefix in range(256) for digest, size in volume.names(prefix)}
    assert names.keys() == {item.digest for _, item in listed}
    assert all(names[item.digest] >= item.size for _, item in listed)
    assert {item.digest: item.size for _, item in listed} == chunks
    assert len(listed) == 20
    assert all(item.digest[0] == prefix and item.generation > 0 and not item.damage for prefix, item in listed)


def test_writers_of_one_digest_at_once(volume: Volume) -> None:
    """Eight puts of one chunk at the same time all succeed, and one whole copy is there with the highest generation."""
    data, digest = chunk_of(300_000)
    barrier = threading.Barrier(8)
    given: list[int] = []

    def put(generation: int) -> None:
        barrier.wait()
        given.append(store(volume, data, generation).generation)

    threads = [threading.Thread(target=put, args=(generation,)) for generation in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 8
    chunk = volume.open(digest)
    assert chunk.generation == 8
    chunk.close()
    assert volume.verify(digest).kind is FindingKind.GOOD
