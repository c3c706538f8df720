"""Where small files of a download stand on this machine: whole or not at all, and never over what is not theirs."""

import errno
import os
from pathlib import Path

import pytest
from tests.support.fake_cluster import FakeCluster
from tests.support.small_trees import fetch, files_of, make_files, put

from dfs_client.api import Dfs
from dfs_client.types import LocalPath
from dfs_wire.errors import (
    AlreadyExistsError,
    NoSpaceError,
    NotFoundError,
    WrongKindError,
)
from dfs_wire.messages import Entry, GetChunk, Header


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Dfs:
    """A client in one thread."""
    return cluster.connect()


def test_names_that_are_taken_are_refused_before_anything_is_fetched(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """Without force; the others come."""
    put(dfs, make_files(tmp_path / "source", [10, 10, 10]))
    (tmp_path / "back").mkdir()
    for name in ("0000", "0001", "0002"):
        (tmp_path / "back" / name).write_bytes(b"mine")
    entries = files_of(dfs)
    assert {type(result.error) for result in fetch(dfs, tmp_path / "back", entries)} == {AlreadyExistsError}
    assert cluster.sent(GetChunk) == []
    (tmp_path / "back/0001").unlink()
    kinds = [type(result.error) for result in fetch(dfs, tmp_path / "back", entries)]
    assert kinds == [AlreadyExistsError, type(None), AlreadyExistsError]
    assert (tmp_path / "back/0000").read_bytes() == b"mine"


def test_a_name_that_is_taken_meanwhile_is_not_replaced(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The last step takes the name only if it is free."""
    put(dfs, make_files(tmp_path / "source", [10, 10]))
    (tmp_path / "back").mkdir()

    def take(_address: str, request: Header) -> None:
        if isinstance(request, GetChunk):
            (tmp_path / "back/0000").write_bytes(b"mine")

    entries = files_of(dfs)
    cluster.hook = take
    results = fetch(dfs, tmp_path / "back", entries)
    assert [type(result.error) for result in results] == [AlreadyExistsError, type(None)]
    assert (tmp_path / "back/0000").read_bytes() == b"mine"
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["0000", "0001"]


def test_force_replaces_files_and_what_links_mean(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A link stays a link; a directory is not replaced."""
    pairs = make_files(tmp_path / "source", [10, 10, 10, 10])
    put(dfs, pairs)
    back = tmp_path / "back"
    (back / "0002").mkdir(parents=True)
    (back / "0000").write_bytes(b"old")
    (tmp_path / "meant").write_bytes(b"old")
    (back / "0001").symlink_to(tmp_path / "meant")
    results = fetch(dfs, back, files_of(dfs), force=True)
    assert [type(result.error) for result in results] == [type(None), type(None), WrongKindError, type(None)]
    assert (back / "0001").is_symlink()
    assert [path.read_bytes() for path in (back / "0000", tmp_path / "meant", back / "0003")] == [
        pairs[number][0].read_bytes() for number in (0, 1, 3)
    ]


def test_a_directory_that_cannot_be_written_is_each_files_error(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """There is no such directory for one of them; the others are written."""
    put(dfs, make_files(tmp_path / "source", [10, 10]))
    entries = files_of(dfs)
    wanted: list[tuple[Entry, LocalPath]] = [(entries[0], tmp_path / "none/0000"), (entries[1], str(tmp_path / "0001"))]
    results = list(dfs.download_many(wanted))
    assert [type(result.error) for result in results] == [NotFoundError, type(None)]
    assert results[1].target == str(tmp_path / "0001"), "as it was given"


def test_a_file_system_without_hard_links_will_do(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is looked at once more before the rename, and nothing temporary stays."""
    pairs = make_files(tmp_path / "source", [10, 10])
    put(dfs, pairs)
    (tmp_path / "back").mkdir()

    def refuse(source: str, target: object) -> None:
        if Path(str(target)).name == "0000":
            Path(str(target)).write_bytes(b"mine")
        raise OSError(errno.EOPNOTSUPP, "no links here", source)

    monkeypatch.setattr(os, "link", refuse)
    results = fetch(dfs, tmp_path / "back", files_of(dfs))
    assert [type(result.error) for result in results] == [AlreadyExistsError, type(None)]
    assert (tmp_path / "back/0000").read_bytes() == b"mine"
    assert (tmp_path / "back/0001").read_bytes() == pairs[1][0].read_bytes()
    assert len(list((tmp_path / "back").iterdir())) == 2


@pytest.mark.parametrize("step", ["write", "fchmod", "utime", "link"])
def test_a_full_disk_leaves_nothing_by_half(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever step fails, the file is an error with its own name, and no other name is left."""
    put(dfs, make_files(tmp_path / "source", [10]))

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    (result,) = fetch(dfs, tmp_path / "back", files_of(dfs))
    assert isinstance(result.error, NoSpaceError)
    assert str(tmp_path / "back/0000") in result.error.message
    assert list((tmp_path / "back").iterdir()) == []
