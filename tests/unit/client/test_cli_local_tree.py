"""The walk over a local tree."""

import os
import socket
from pathlib import Path

import pytest

from dfs_client.local_errors import from_os_error
from dfs_client.local_tree import scan
from dfs_wire.errors import (
    AlreadyExistsError,
    DfsError,
    NoSpaceError,
    NotAllowedError,
    NotFoundError,
    UsageError,
    WrongKindError,
)


def test_files_and_directories_come_parents_first_with_time_and_mode(tmp_path: Path) -> None:
    """Empty ones too."""
    (tmp_path / "b/empty").mkdir(parents=True)
    (tmp_path / "b/file").write_bytes(b"12345")
    (tmp_path / "b/file").chmod(0o640)
    os.utime(tmp_path / "b/file", ns=(1, 1_600_000_000_123_456_789))
    (tmp_path / "a").write_bytes(b"")
    tree = scan(tmp_path)
    assert [item.relative for item in tree.directories] == ["", "b", "b/empty"]
    assert [(item.relative, item.size) for item in tree.files] == [("a", 0), ("b/file", 5)]
    assert (tree.files[1].mode, tree.files[1].mtime_ns) == (0o640, 1_600_000_000_123_456_789)


def test_links_sockets_and_pipes_are_skipped_and_named(tmp_path: Path) -> None:
    """Nothing is followed, so a circle of links does no harm."""
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        tree = scan(tmp_path)
    assert [(item.relative, item.what) for item in tree.skipped] == [
        ("gone", "symbolic link"),
        ("loop", "symbolic link"),
        ("pipe", "pipe"),
        ("socket", "socket"),
    ]
    assert not tree.files
    assert not tree.refused


def test_a_root_that_is_a_link_is_followed(tmp_path: Path) -> None:
    """Whoever names a link on the command line means what it points to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").touch()
    (tmp_path / "link").symlink_to("real")
    assert [item.relative for item in scan(tmp_path / "link").files] == ["file"]


def test_names_that_are_not_utf8_are_refused_one_by_one(tmp_path: Path) -> None:
    """The rest of the tree is still found."""
    (tmp_path / os.fsdecode(b"bad\xff")).touch()
    (tmp_path / os.fsdecode(b"dir\xfe")).mkdir()
    (tmp_path / "good").touch()
    tree = scan(tmp_path)
    assert [item.relative for item in tree.files] == ["good"]
    assert [refused.error.exit_code for refused in tree.refused] == [2, 2]
    assert all("not UTF-8" in refused.error.message for refused in tree.refused)


def test_a_directory_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk goes on beside it."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open/file").touch()
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("/closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tree = scan(tmp_path)
    assert [item.relative for item in tree.files] == ["open/file"]
    assert [(refused.relative, refused.error.exit_code) for refused in tree.refused] == [("closed", 6)]


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    """There is nothing to walk."""
    with pytest.raises(NotFoundError, match="does not exist"):
        scan(tmp_path / "absent")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (2, NotFoundError),
        (13, NotAllowedError),
        (17, AlreadyExistsError),
        (20, WrongKindError),
        (21, WrongKindError),
        (28, NoSpaceError),
        (36, UsageError),
        (5, DfsError),
    ],
)
def test_an_error_of_the_system_keeps_its_meaning(number: int, kind: type[DfsError]) -> None:
    """The sentence names the file."""
    error = from_os_error(OSError(number, os.strerror(number), "/some/file"))
    assert type(error) is kind
    assert error.message.startswith("/some/file ")
