"""Files that no commit could carry are refused before they are sent."""

import io
import os
from pathlib import Path

import pytest
from tests.support.fake_cluster import FakeCluster

from dfs_client import commit_room
from dfs_client.commit_room import EXTENT_BYTES, RECEIPT_BYTES, ROOM_BYTES, size_max
from dfs_wire.codec import encode_list
from dfs_wire.errors import TooLargeError
from dfs_wire.limits import CHUNK_BYTES_MAX, EXTENTS_MAX, LIST_BODY_BYTES_MAX, MIB
from dfs_wire.messages import CommitBody, Extent, FileCommit, PutChunk, Receipt


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Three nodes, two copies, and room for the commit of 5 new chunks."""
    monkeypatch.setattr(commit_room, "ROOM_BYTES", 5 * (EXTENT_BYTES + 2 * RECEIPT_BYTES))
    return FakeCluster()


def make_file(tmp_path: Path, chunks: int, holes: int = 0) -> Path:
    """So many chunks of 8 MiB that differ, behind so many that are holes."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.seek(holes * 8 * MIB)
        for _ in range(chunks):
            file.write(os.urandom(8 * MIB))
    return path


@pytest.mark.parametrize("copies", [1, 2, 3, 16])
def test_the_largest_commit_fits_a_list_body(copies: int) -> None:
    """With every number as long as it gets."""
    chunks = ROOM_BYTES // (EXTENT_BYTES + copies * RECEIPT_BYTES)
    receipt = Receipt(
        node_id=60_000,
        digest=b"d" * 32,
        size=CHUNK_BYTES_MAX,
        generation=1 << 45,
        stored_at_ms=1 << 41,
        expires_at_ms=1 << 41,
        mac=b"m" * 32,
    )
    extents = [Extent(b"d" * 32, CHUNK_BYTES_MAX, 0, CHUNK_BYTES_MAX)] * chunks
    commit = FileCommit("/" + "p" * 4_094, 0, 1 << 60, b"d" * 32, 1 << 62, 0o644, extents)
    body = encode_list(CommitBody([commit], [receipt] * (copies * chunks)))
    assert 0.95 * LIST_BODY_BYTES_MAX < len(body) <= LIST_BODY_BYTES_MAX
    assert size_max(copies) == min(chunks, EXTENTS_MAX) * CHUNK_BYTES_MAX


def test_a_file_that_fits_goes(cluster: FakeCluster, tmp_path: Path) -> None:
    """Up to the last chunk."""
    cluster.connect().upload(make_file(tmp_path, 5), "/file")
    assert cluster.files


def test_a_file_that_does_not_fit_is_refused_before_its_first_byte(cluster: FakeCluster, tmp_path: Path) -> None:
    """The sentence names the copies and the most."""
    with pytest.raises(TooLargeError, match="/file is too large for one file: at 2 copies 0 GiB is about the most"):
        cluster.connect().upload(make_file(tmp_path, 6), "/file")
    assert cluster.sent(PutChunk) == []


def test_a_stream_is_refused_when_it_passes_the_most(cluster: FakeCluster) -> None:
    """Nobody knows its size before."""
    with pytest.raises(TooLargeError):
        cluster.connect().upload(io.BytesIO(os.urandom(9 * 8 * MIB)), "/file")
    assert 0 < len(cluster.sent(PutChunk)) <= 5
    assert not cluster.files


def test_holes_and_what_is_known_need_no_room(cluster: FakeCluster, tmp_path: Path) -> None:
    """Equal chunks have their receipts once, stored ones none."""
    dfs = cluster.connect()
    source = make_file(tmp_path, 3, holes=6)
    dfs.upload(source, "/holes")
    dfs.upload(source, "/again")
    with source.open("ab") as file:
        file.write(os.urandom(8 * MIB))
    assert dfs.upload(source, "/longer").bytes_sent == 8 * MIB
