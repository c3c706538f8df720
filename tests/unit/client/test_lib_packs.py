"""Packs: small files that share a chunk, from the upload to every way of reading them."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.fake_cluster import FakeCluster
from tests.support.small_trees import fetch, files_of, make_files, put

from dfs_client.api import Dfs
from dfs_client.buffers import BUFFER_BYTES_MAX, BufferPool
from dfs_client.executors import ThreadExecutor
from dfs_client.packing import PACK_BYTES_MAX, PACK_FILES_MAX, SMALL_BYTES_MAX
from dfs_client.spans import GAP_BYTES_MAX, spans_of
from dfs_wire.errors import (
    BusyError,
    ConnectFailedError,
    CorruptError,
    DfsError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from dfs_wire.limits import MIB, TICKET_SECONDS
from dfs_wire.messages import Commit, Extent, FileCommit, GetChunk, Header, Open, OpenMany, Plan, PutChunk


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Dfs:
    """A client in one thread."""
    return cluster.connect()


def only_digest(cluster: FakeCluster) -> bytes:
    """The one chunk that is stored."""
    (digest,) = cluster.replicas
    return digest


# -- making packs ----------------------------------------------------------------------------------------------


def test_a_pack_is_filled_to_its_last_byte(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Eight files of the largest size that is small fill one; the next file begins another."""
    put(dfs, make_files(tmp_path, [SMALL_BYTES_MAX] * (PACK_BYTES_MAX // SMALL_BYTES_MAX) + [1, 0]))
    assert sorted(len(data) for data in cluster.stored.values()) == [1, PACK_BYTES_MAX]
    assert len(cluster.sent(Commit)) == 2


def test_slices_lie_one_after_the_other(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Each file has one extent, the pack has no gap, equal files share a slice."""
    pairs = make_files(tmp_path, [5, 0, 7, 3, 7])
    pairs[4][0].write_bytes(pairs[2][0].read_bytes())
    put(dfs, pairs)
    found = [cluster.versions[cluster.files[path]].extents for _, path in pairs]
    places = [[(extent.chunk_size, extent.offset, extent.length) for extent in extents] for extents in found]
    assert places == [[(15, 0, 5)], [], [(15, 5, 7)], [(15, 12, 3)], [(15, 5, 7)]]


def test_a_lone_file_is_a_chunk_of_its_own_content(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """So it is found again, and not sent, whichever way it is uploaded next."""
    ((source, path),) = make_files(tmp_path, [100])
    put(dfs, [(source, path)])
    assert dfs.upload(source, "/other").bytes_sent == 0


def test_the_same_tree_again_makes_the_same_packs(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """What is stored is not sent a second time."""
    pairs = make_files(tmp_path, [10] * (PACK_FILES_MAX + 5))
    put(dfs, pairs)
    again = list(dfs.upload_many((source, f"/again{path}") for source, path in pairs))
    assert sum(result.uploaded.bytes_sent for result in again if result.uploaded) == 0
    assert len(cluster.sent(PutChunk)) == 2


def test_an_upload_that_was_cut_off_sends_no_pack_twice(cluster: FakeCluster, tmp_path: Path) -> None:
    """The receipts of its packs were kept."""
    pairs = make_files(tmp_path / "source", [10] * (PACK_FILES_MAX + 5))
    cluster.fail(Commit, NotAllowedError("the power went out"), times=99)
    with cluster.connect(receipts_home=tmp_path / "receipts") as dfs:
        assert not any(result.ok for result in dfs.upload_many(pairs))
    cluster.faults.clear()
    puts = len(cluster.sent(PutChunk))
    with cluster.connect(receipts_home=tmp_path / "receipts") as dfs:
        put(dfs, pairs)
    assert len(cluster.sent(PutChunk)) == puts + 1, "the first pack was sent, the second never"


def test_a_policy_that_asks_for_more_is_learnt_from_one_refusal(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The pack gets its further copy once, not once a file; the next pack is planned under that policy at once."""
    cluster.policies["/tree/safe"] = 3
    pairs = make_files(tmp_path, [10] * (2 * PACK_FILES_MAX))
    pairs = [(source, f"/tree/safe/{number}" if number % 2 else path) for number, (source, path) in enumerate(pairs)]
    put(dfs, pairs)
    assert all(len(nodes) == 3 for nodes in cluster.replicas.values())
    assert [len(request.ticket.hops) for request in cluster.sent(PutChunk)] == [2, 1, 3]
    assert (len(cluster.sent(Plan)), len(cluster.sent(Commit))) == (3, 3)


def test_a_copy_that_is_missing_at_the_last_moment_is_made_of_the_pack(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """The plan said that the pack is stored, the commit knows better; the files are not read again."""
    pairs = make_files(tmp_path, [10, 20, 30])
    put(dfs, pairs)
    digest = only_digest(cluster)
    cluster.wrong_hints.add(digest)
    cluster.replicas[digest].clear()
    for node in cluster.nodes.values():
        node.chunks.clear()

    def change_the_files(_address: str, request: Header) -> None:
        if isinstance(request, Commit):
            for source, _ in pairs:
                source.write_bytes(b"other bytes by now")

    expected = [source.read_bytes() for source, _ in pairs]
    cluster.hook = change_the_files
    put(dfs, [(source, f"/again{path}") for source, path in pairs])
    assert [cluster.content(f"/again{path}") for _, path in pairs] == expected


def test_a_pack_that_no_node_takes_ends_its_files(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Each has the error; empty files of the group need no node and no pack."""
    cluster.fail(PutChunk, ConnectFailedError("gone"), times=99)
    results = list(dfs.upload_many(make_files(tmp_path, [10, 0, 10])))
    assert [type(result.error) for result in results] == [UnavailableError] * 3
    assert cluster.files == {}


def test_bytes_under_way_stay_within_the_bound(cluster: FakeCluster, tmp_path: Path) -> None:
    """However slow the nodes are, and though the packs are kept until their commits."""
    most = 0
    with cluster.connect(executor=ThreadExecutor(8)) as dfs:
        buffers = dfs._parts().buffers

        def look(_address: str, request: Header) -> None:
            nonlocal most
            most = max(most, buffers._lent)

        cluster.hook = look
        put(dfs, make_files(tmp_path, [SMALL_BYTES_MAX - number for number in range(40)]))
        assert 0 < most <= BUFFER_BYTES_MAX
        assert buffers._lent == 0


def test_a_full_pool_does_not_stop_two_uploads(cluster: FakeCluster, tmp_path: Path) -> None:
    """Each gives its packs back by itself: neither waits for what the other holds."""
    pairs = make_files(tmp_path, [MIB - number for number in range(20)])
    with cluster.connect(executor=ThreadExecutor(2)) as dfs:
        dfs._engine = replace(dfs._parts(), buffers=BufferPool(PACK_BYTES_MAX))
        first = dfs.upload_many(pairs)
        second = dfs.upload_many((source, f"/second{path}") for source, path in pairs)
        assert all(mine.ok and other.ok for mine, other in zip(first, second, strict=True))


# -- reading them ----------------------------------------------------------------------------------------------


def test_a_pack_is_fetched_once(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Two packs, two gets, one open; content, time and mode are back, and nothing else is left behind."""
    pairs = make_files(tmp_path / "source", [10] * PACK_FILES_MAX + [0, 10, 3000])
    pairs[1][0].chmod(0o640)
    put(dfs, pairs)
    results = fetch(dfs, tmp_path / "back", files_of(dfs))
    assert all(result.ok for result in results)
    assert (len(cluster.sent(GetChunk)), len(cluster.sent(OpenMany)), len(cluster.sent(Open))) == (2, 1, 0)
    for source, _ in pairs:
        back = tmp_path / "back" / source.name
        assert back.read_bytes() == source.read_bytes()
        assert (back.stat().st_mtime_ns, back.stat().st_mode) == (source.stat().st_mtime_ns, source.stat().st_mode)
    assert len(list((tmp_path / "back").iterdir())) == len(pairs)


def test_a_part_of_a_pack_is_fetched_by_ranges(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Two files far apart are two ranges of whole blocks, each verified by its CRCs."""
    pairs = make_files(tmp_path / "source", [100_000] * 40)
    put(dfs, pairs)
    entries = files_of(dfs)
    assert all(result.ok for result in fetch(dfs, tmp_path / "back", [entries[3], entries[4], entries[30]]))
    assert [(get.offset, get.length) for get in cluster.sent(GetChunk)] == [(300_000, 200_000), (3_000_000, 100_000)]
    for number in (3, 4, 30):
        assert (tmp_path / "back" / f"{number:04}").read_bytes() == pairs[number][0].read_bytes()


def test_packs_that_were_made_in_another_order_are_fetched_once_a_batch(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """Files of one directory lie all over the packs: the list's order costs no request a file."""
    pairs = make_files(tmp_path / "source", [10] * (3 * PACK_FILES_MAX))
    pairs = [(source, f"/tree/{number % 7}-{number:04}") for number, (source, _) in enumerate(pairs)]
    put(dfs, pairs)
    results = fetch(dfs, tmp_path / "back", files_of(dfs))
    assert all(result.ok for result in results)
    assert (len(cluster.sent(OpenMany)), len(cluster.sent(GetChunk))) == (2, 2 * 3)
    assert all((tmp_path / "back" / path[6:]).read_bytes() == source.read_bytes() for source, path in pairs)


def test_a_packed_file_reads_like_any_other(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Alone, as a stream, and by seeking: only its own blocks are fetched."""
    pairs = make_files(tmp_path / "source", [200_000] * 20)
    put(dfs, pairs)
    source, path = pairs[7]
    dfs.download(path, tmp_path / "alone")
    assert (tmp_path / "alone").read_bytes() == source.read_bytes()
    with dfs.open(path) as file:
        for place in (0, 150_000, 70_000, 199_999):
            file.seek(place)
            assert file.read(10) == source.read_bytes()[place : place + 10]
    assert all(get.offset >= 1_400_000 and get.offset + get.length <= 1_600_000 for get in cluster.sent(GetChunk))


def test_removing_some_files_of_a_pack_leaves_the_others(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The pack stays as long as anything in it is wanted."""
    pairs = make_files(tmp_path / "source", [1000] * 6)
    put(dfs, pairs)
    removed = [path for _, path in pairs[::2]]
    gone = list(dfs.remove_many([*removed, "/none"]))
    assert gone[:-1] == [(path, None) for path in removed]
    assert isinstance(gone[-1][1], NotFoundError)
    results = fetch(dfs, tmp_path / "back", files_of(dfs))
    assert [result.path for result in results] == [path for _, path in pairs[1::2]]
    assert all((tmp_path / "back" / source.name).read_bytes() == source.read_bytes() for source, _ in pairs[1::2])


def test_a_bad_copy_of_a_pack_is_passed_over_and_reported(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Its files come from the other copy; a range of it is judged by its blocks."""
    pairs = make_files(tmp_path / "source", [100_000] * 40)
    put(dfs, pairs)
    digest = only_digest(cluster)
    first = min(cluster.replicas[digest])
    cluster.spoil(first, digest, 310_000)
    entries = files_of(dfs)
    assert all(result.ok for result in fetch(dfs, tmp_path / "all", entries))
    assert all(result.ok for result in fetch(dfs, tmp_path / "one", [entries[3]]))
    assert [report.ticket.node_id for report in cluster.reports] == [first, first]
    assert all((tmp_path / "all" / source.name).read_bytes() == source.read_bytes() for source, _ in pairs)


def test_a_lost_pack_ends_only_its_own_files(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Every copy is bad: its files are errors, those of the next pack are there, no file by half."""
    put(dfs, make_files(tmp_path / "source", [10] * (PACK_FILES_MAX + 3)))
    digest = cluster.versions[cluster.files["/tree/0000"]].extents[0].digest
    for node_id in cluster.replicas[digest]:
        cluster.spoil(node_id, digest)
    results = fetch(dfs, tmp_path / "back", files_of(dfs))
    assert [type(result.error) for result in results] == [CorruptError] * PACK_FILES_MAX + [type(None)] * 3
    assert len(list((tmp_path / "back").iterdir())) == 3


def test_a_catalog_that_mixes_slices_up_is_found_out(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The pack's digest says nothing about what lies where; each file's own does."""
    put(dfs, make_files(tmp_path / "source", [10, 10, 10]))
    version = cluster.files["/tree/0001"]
    found = cluster.versions[version]
    (extent,) = found.extents
    wrong = [Extent(extent.digest, extent.chunk_size, 0, extent.length)]
    cluster.versions[version] = FileCommit(
        found.path, found.expect, found.size, found.digest, found.mtime_ns, found.mode, wrong
    )
    results = fetch(dfs, tmp_path / "back", files_of(dfs))
    assert [type(result.error) for result in results] == [type(None), CorruptError, type(None)]
    assert not (tmp_path / "back/0001").exists()


# -- trouble on the way ----------------------------------------------------------------------------------------


def test_the_version_that_was_listed_is_the_one_that_comes(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A file that is replaced after the list comes as listed; once that is gone, as it is now."""
    pairs = make_files(tmp_path / "source", [10, 10])
    put(dfs, pairs)
    old, entries = pairs[0][0].read_bytes(), files_of(dfs)
    pairs[0][0].write_bytes(b"new")
    dfs.upload(*pairs[0])
    fetch(dfs, tmp_path / "before", entries)
    assert (tmp_path / "before/0000").read_bytes() == old
    cluster.gone.add(entries[0].version)
    assert all(result.ok for result in fetch(dfs, tmp_path / "after", entries))
    assert (tmp_path / "after/0000").read_bytes() == b"new"
    assert (tmp_path / "after/0001").read_bytes() == pairs[1][0].read_bytes()


def test_tickets_that_end_on_the_way_are_renewed(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Between the open and the get the clock jumps over their end."""
    put(dfs, make_files(tmp_path / "source", [10, 10]))
    jumped: list[bool] = []

    def jump(_address: str, request: Header) -> None:
        if isinstance(request, GetChunk) and not jumped:
            jumped.append(True)
            cluster.clock.advance(TICKET_SECONDS + 1)

    entries = files_of(dfs)
    cluster.hook = jump
    assert all(result.ok for result in fetch(dfs, tmp_path / "back", entries))
    assert len(cluster.sent(OpenMany)) == 2


def test_files_that_moved_to_another_pack_are_found_there(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The caller paused for so long that the pack was rewritten and its tickets ended: the files are elsewhere."""
    pairs = make_files(tmp_path / "source", [10, 10])
    put(dfs, pairs)
    digest = only_digest(cluster)
    entries = files_of(dfs)
    moved = {path: dfs.upload(source, f"/moved{path}").version for source, path in pairs}

    def rewrite(_address: str, request: Header) -> None:
        if isinstance(request, GetChunk) and request.ticket.digest == digest:
            cluster.clock.advance(TICKET_SECONDS + 1)
            for _, path in pairs:
                cluster.versions[cluster.files[path]] = cluster.versions[moved[path]]
            cluster.replicas.pop(digest, None)

    cluster.hook = rewrite
    assert all(result.ok for result in fetch(dfs, tmp_path / "back", entries))
    assert all((tmp_path / "back" / source.name).read_bytes() == source.read_bytes() for source, _ in pairs)


def test_a_master_that_is_away_is_asked_once(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Patience is spent on one batch, not on each; every file has its result."""
    put(dfs, make_files(tmp_path / "source", [10, 10]))
    entries = files_of(dfs) * 1_200
    cluster.fail(OpenMany, ConnectFailedError("gone"), times=10_000)
    wanted = [(entry, tmp_path / f"back-{number}") for number, entry in enumerate(entries)]
    begun = cluster.clock.monotonic()
    results = list(dfs.download_many(wanted))
    assert {type(result.error) for result in results} == {ConnectFailedError}
    assert cluster.clock.monotonic() - begun < 70, "the first two batches were asked for together"


def test_a_caller_may_stop_early(cluster: FakeCluster, tmp_path: Path) -> None:
    """Closing the iterator gives all buffers back."""
    with cluster.connect(executor=ThreadExecutor(4)) as dfs:
        put(dfs, make_files(tmp_path / "source", [10] * (3 * PACK_FILES_MAX)))
        wanted = [(entry, tmp_path / f"back-{number}") for number, entry in enumerate(files_of(dfs))]
        results = dfs.download_many(wanted)
        assert next(results).ok
        results.close()  # type: ignore[attr-defined]
        assert dfs._parts().buffers._lent == 0


# -- any tree --------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_any_files_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Whatever their sizes, with lost requests and replies, busy and absent nodes, and copies that rot."""
    randomness = random.Random(seed)
    directory = tmp_path_factory.mktemp("any")
    cluster = FakeCluster()
    sizes = [randomness.choice([0, 1, 10, 4_096, 65_536, 70_000, 300_000, MIB, MIB + 1]) for _ in range(25)]
    pairs = make_files(directory / "source", sizes)
    for request in (Plan, PutChunk, Commit, OpenMany, GetChunk):
        for _ in range(randomness.randrange(3)):
            error: DfsError = randomness.choice([ConnectFailedError("gone"), BusyError("busy")])
            lost_reply = randomness.random() < 0.3 and request is not GetChunk
            cluster.fail(request, error, after=lost_reply and not isinstance(error, BusyError))
    executor = ThreadExecutor(4) if randomness.random() < 0.3 else None
    with cluster.connect(executor=executor) as dfs:
        put(dfs, pairs)
        for digest in randomness.sample(sorted(cluster.replicas), min(2, len(cluster.replicas))):
            cluster.spoil(min(cluster.replicas[digest]), digest, randomness.randrange(len(cluster.stored[digest])))
        entries = files_of(dfs)
        wanted = randomness.sample(entries, randomness.randrange(1, len(entries)))
        assert [result.error for result in fetch(dfs, directory / "back", wanted)] == [None] * len(wanted)
        assert dfs._parts().buffers._lent == 0
    for entry in wanted:
        name = entry.path.rpartition("/")[2]
        assert (directory / "back" / name).read_bytes() == (directory / "source" / name).read_bytes()


@given(
    slices=st.lists(st.tuples(st.integers(0, 8 * MIB - 1), st.integers(1, MIB)), min_size=1, max_size=30),
)
def test_spans_hold_every_slice_once(slices: list[tuple[int, int]]) -> None:
    """In order, apart by more than the gap, one after the other in the buffer; or the whole chunk."""
    size = 8 * MIB
    inside = [(offset, min(length, size - offset)) for offset, length in slices]
    spans = spans_of(inside, size)
    assert all(
        any(span.offset <= offset and offset + length <= span.offset + span.length for span in spans)
        for offset, length in inside
    )
    assert all(former.offset + former.length + GAP_BYTES_MAX < latter.offset for former, latter in pairwise(spans))
    assert [span.at for span in spans] == [sum(span.length for span in spans[:number]) for number in range(len(spans))]
    assert spans[-1].offset + spans[-1].length <= size
