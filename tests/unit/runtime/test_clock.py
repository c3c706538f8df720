"""Time, and the places where a process keeps its state."""

from pathlib import Path

import pytest

from dfs_runtime.clock import Deadline, ManualClock, SystemClock
from dfs_runtime.home import dfs_home


def test_the_systems_clock_goes_forward() -> None:
    """Monotonic seconds rise, wall milliseconds are of this century."""
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0.001)
    assert clock.monotonic() >= before + 0.001
    assert clock.wall_ms() > 1_600_000_000_000


def test_a_manual_clock_moves_when_told() -> None:
    """By `advance`, or by whoever sleeps on it; both readings together."""
    clock = ManualClock(monotonic=5.0, wall_ms=1_000)
    clock.sleep(1.5)
    clock.advance(0.5)
    assert (clock.monotonic(), clock.wall_ms()) == (7.0, 3_000)


def test_a_deadline_passes_once() -> None:
    """What remains falls to zero and stays there."""
    clock = ManualClock()
    deadline = Deadline(clock, 2.0)
    assert (deadline.remaining(), deadline.passed()) == (2.0, False)
    clock.advance(1.999)
    assert not deadline.passed()
    clock.advance(0.002)
    assert (deadline.remaining(), deadline.passed()) == (0.0, True)
    clock.advance(1e9)
    assert deadline.remaining() == 0.0


def test_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`DFS_HOME` with `~` filled in and in one spelling; else the platform's place for a user's data."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert dfs_home({"DFS_HOME": "/srv/dfs"}) == Path("/srv/dfs")
    assert dfs_home({"DFS_HOME": "~/state"}) == tmp_path / "state"
    assert dfs_home({"DFS_HOME": "relative"}) == tmp_path / "relative"
    (tmp_path / "link").symlink_to("state")
    assert dfs_home({"DFS_HOME": "link"}) == dfs_home({"DFS_HOME": "elsewhere/../link/."}) == tmp_path / "state"
    monkeypatch.setenv("DFS_HOME", "/other")
    assert dfs_home() == Path("/other")
    for nothing in ({}, {"DFS_HOME": ""}):
        assert dfs_home(nothing).name == "dfs"
