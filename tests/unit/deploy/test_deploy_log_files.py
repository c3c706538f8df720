"""Reading the ends of logs, and following them."""

import itertools
from pathlib import Path

import pytest

from dfs_deploy.log_files import Follower, follow, tail
from dfs_runtime.clock import ManualClock


@pytest.mark.parametrize("count", [0, 1, 3, 10, 5_000, 20_000])
def test_the_tail_is_the_last_lines(tmp_path: Path, count: int) -> None:
    """Over the border of the read size too."""
    lines = [f"line {n} {'x' * (n % 50)}" for n in range(10_000)]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    assert tail(tmp_path / "log", count) == (lines[-count:] if count else [])


def test_a_log_that_is_missing_or_empty_has_no_lines(tmp_path: Path) -> None:
    """Neither is an error."""
    assert tail(tmp_path / "none", 5) == []
    (tmp_path / "empty").touch()
    assert tail(tmp_path / "empty", 5) == []


def test_a_record_with_an_unusual_line_break_stays_one_line(tmp_path: Path) -> None:
    """Only the newline ends a record."""
    (tmp_path / "log").write_text('{"message": "a\u2028b"}\n', encoding="utf-8")
    assert tail(tmp_path / "log", 5) == ['{"message": "a\u2028b"}']


def test_a_follower_gives_whole_new_lines_only(tmp_path: Path) -> None:
    """What was there before is not new, and half a line is not yet one."""
    path = tmp_path / "log"
    path.write_text("old\n")
    follower = Follower(path)
    assert follower.new_lines() == []
    with path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert follower.new_lines() == ["one"]
        file.write("o\n")
    assert follower.new_lines() == ["two"]
    follower.close()


def test_a_follower_goes_over_a_rotation_without_losing_a_line(tmp_path: Path) -> None:
    """The rest of the old file first, then the new file from its start."""
    path = tmp_path / "log"
    path.write_text("")
    follower = Follower(path)
    with path.open("a") as file:
        file.write("last of the old\n")
    path.rename(tmp_path / "log.1")
    path.write_text("first of the new\n")
    assert follower.new_lines() == ["last of the old", "first of the new"]
    follower.close()


def test_a_follower_waits_for_a_log_that_comes_later(tmp_path: Path) -> None:
    """A role that never ran has none."""
    follower = Follower(tmp_path / "log")
    assert follower.new_lines() == []
    (tmp_path / "log").write_text("hello\n")
    assert follower.new_lines() == ["hello"]
    follower.close()


def test_following_several_files_labels_their_lines(tmp_path: Path) -> None:
    """Each line comes with the label of its file; nothing is missed between the call and the first look."""
    paths = {name: tmp_path / name for name in ("a", "b")}
    for path in paths.values():
        path.write_text("old\n")
    lines = follow(list(paths.items()), ManualClock())
    for name, path in paths.items():
        with path.open("a") as file:
            file.write(f"new {name}\n")
    assert list(itertools.islice(lines, 2)) == [("a", "new a"), ("b", "new b")]
    lines.close()  # type: ignore[attr-defined]
