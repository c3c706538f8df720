"""Content: versions, ranges of extents, chunks and their replicas."""

import pytest
from tests.support.catalog import CatalogBuilder, digest_of

from dfs_master.catalog.reader import Reader
from dfs_master.catalog.reader_chunks import ExtentReplicas
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import UsageError, VersionGoneError, WrongKindError
from dfs_wire.messages import ChunkInfo, ReplicaInfo


@pytest.fixture
def version(build: CatalogBuilder) -> int:
    """`/f`: three chunks of 10, 20 and 5 bytes; node 2 lost the second, nobody has the third."""
    build.node(1)
    build.node(2)
    first, second, third = build.chunk("a", 10, [1, 2]), build.chunk("b", 20, [1, 2]), build.chunk("c", 5)
    build.execute("UPDATE replicas SET state = 'missing' WHERE chunk_id = ? AND node_id = 2", second)
    return build.file("f", chunks=[(first, 10), (second, 20), (third, 5)])


def test_chunks_of_a_version_come_with_every_replica(reader: Reader, version: int) -> None:
    """Also lost ones, with their state, and chunks that nobody holds."""
    both = [ReplicaInfo("node-1", "127.0.0.1:5001", "good"), ReplicaInfo("node-2", "127.0.0.1:5002", "good")]
    lost = [both[0], ReplicaInfo("node-2", "127.0.0.1:5002", "missing")]
    assert reader.chunk_infos(version) == [
        ChunkInfo(0, digest_of("a"), 10, 0, 10, both),
        ChunkInfo(1, digest_of("b"), 20, 0, 20, lost),
        ChunkInfo(2, digest_of("c"), 5, 0, 5, []),
    ]
    assert reader.chunk_infos(0) == []


def test_opening_gives_good_replicas_in_order(reader: Reader, version: int) -> None:
    """The whole file by default, by path or by id."""
    opened = reader.open_version("/f")
    assert opened == reader.open_version(version_id=version)
    assert (opened.version.id, opened.version.size, opened.version.digest) == (version, 35, digest_of("f"))
    assert [(extent.start, extent.node_ids) for extent in opened.extents] == [(0, (1, 2)), (10, (1,)), (30, ())]
    assert opened.extents[1] == ExtentReplicas(1, 10, digest_of("b"), 20, 0, 20, ((1, "good"),))


@pytest.mark.parametrize(
    ("offset", "length", "starts"),
    [
        (0, -1, [0, 10, 30]),
        (0, 35, [0, 10, 30]),
        (0, 1, [0]),
        (0, 10, [0]),
        (0, 11, [0, 10]),
        (9, 2, [0, 10]),
        (10, 1, [10]),
        (29, 1, [10]),
        (29, -1, [10, 30]),
        (30, 100, [30]),
        (34, -1, [30]),
        (35, -1, []),
        (1_000, 5, []),
        (5, 0, []),
    ],
)
def test_a_range_gives_the_extents_that_overlap_it(
    reader: Reader, version: int, offset: int, length: int, starts: list[int]
) -> None:
    """Exactly those, with their place in the file; by path and by id, which goes a shorter way for a whole file."""
    opened = reader.open_version("/f", offset=offset, length=length)
    assert opened == reader.open_version(version_id=version, offset=offset, length=length)
    assert opened.version.id == version
    assert [extent.start for extent in opened.extents] == starts


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -2)])
def test_a_senseless_range_is_refused(reader: Reader, version: int, offset: int, length: int) -> None:
    """Negative places do not count from the end."""
    with pytest.raises(UsageError, match="range"):
        reader.open_version(version_id=version, offset=offset, length=length)


def test_an_empty_file_opens_without_extents(reader: Reader, build: CatalogBuilder) -> None:
    """Nothing to fetch is no error."""
    version = build.file("empty")
    assert reader.open_version("/empty").extents == []
    assert reader.open_version(version_id=version, length=10).extents == []


def test_a_directory_does_not_open(reader: Reader, build: CatalogBuilder) -> None:
    """It is told what to do instead."""
    build.directory("d")
    with pytest.raises(WrongKindError, match="/d is a directory"):
        reader.open_version("/d")


def test_an_old_version_is_readable_until_it_is_collected(
    reader: Reader, build: CatalogBuilder, version: int, reader_clock: ManualClock
) -> None:
    """A long download outlives the file's replacement; the collector alone ends that."""
    build.execute("UPDATE versions SET removed_at = ? WHERE id = ?", reader_clock.wall_ms(), version)
    reader_clock.advance(1_000_000)
    assert reader.open_version(version_id=version).version.id == version
    build.execute("UPDATE versions SET removed_at = 0 WHERE id = ?", version)
    for length in (-1, 1_000):
        with pytest.raises(VersionGoneError, match=str(version)):
            reader.open_version(version_id=version, length=length)
        with pytest.raises(VersionGoneError, match="77"):
            reader.open_version(version_id=77, length=length)


@pytest.mark.parametrize("count", [0, 1, 15, 17, 300])
def test_known_chunks_are_found_in_any_number(reader: Reader, build: CatalogBuilder, count: int) -> None:
    """Whatever the batches, each known digest comes back once, unknown ones do not."""
    build.node(1)
    build.node(2)
    ids = {digest_of(str(number)): build.chunk(str(number), number, [1, 2]) for number in range(count)}
    asked = [*ids, digest_of("unknown"), *list(ids)[:3]]
    found = reader.known_chunks(asked)
    assert {digest: chunk.id for digest, chunk in found.items()} == ids
    assert all([replica.node_id for replica in chunk.replicas] == [1, 2] for chunk in found.values())


def test_a_known_chunk_without_replicas_is_known(reader: Reader, build: CatalogBuilder) -> None:
    """It is the plan that judges what a chunk without copies is worth."""
    chunk_id = build.chunk("lost", 3)
    assert reader.known_chunks([digest_of("lost")]) == {digest_of("lost"): (chunk_id, 3, "stored", [])}
