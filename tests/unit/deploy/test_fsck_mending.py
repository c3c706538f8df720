"""What `dfs fsck` tells a running master, and how long `--fix` waits."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from dfs_deploy.fsck.check import CheckResult
from dfs_deploy.fsck.compare import DamagedCopy, Findings, PoorChunk, UnknownCopy
from dfs_deploy.fsck.mending import look_for_orphans, tell, wait_until_mended
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import ConnectFailedError
from dfs_wire.messages import SettingItem

BAD = DamagedCopy("node-1", 7, "ab" * 32, "digest")
POOR = PoorChunk("ab" * 32, wanted=2, good=1, unseen=0, paths=("/a",))
LOST = PoorChunk("ab" * 32, wanted=2, good=0, unseen=0, paths=("/a",))


@dataclass
class FakeDfs:
    """Remembers what it was told."""

    told: list[tuple[Any, ...]] = field(default_factory=list)
    away: bool = False

    @property
    def admin(self) -> "FakeDfs":
        """Itself."""
        return self

    def report_finding(self, *arguments: object) -> None:
        """Remember."""
        if self.away:
            raise ConnectFailedError("nobody is there")
        self.told.append(arguments)

    def settings(self) -> list[SettingItem]:
        """The one that is asked for."""
        return [SettingItem("orphan_seconds", 100.0, 100.0, 0, 1000, "")]


def result(
    *poor: PoorChunk, damaged: tuple[DamagedCopy, ...] = (), unknown: tuple[UnknownCopy, ...] = ()
) -> CheckResult:
    """What a check found."""
    return CheckResult(Findings(damaged=list(damaged), poor=list(poor), unknown=list(unknown)))


def test_each_damaged_copy_is_told() -> None:
    """To the node that has it; without a master nobody is told."""
    dfs = FakeDfs()
    assert tell(dfs, result(POOR, damaged=(BAD,))) == 1  # type: ignore[arg-type]
    assert dfs.told == [(7, bytes.fromhex("ab" * 32), "digest")]
    assert tell(FakeDfs(away=True), result(damaged=(BAD,))) is None  # type: ignore[arg-type]


def test_only_old_unknown_files_are_looked_for() -> None:
    """And each node is asked once."""
    dfs = FakeDfs()
    unknown = tuple(
        UnknownCopy("n", node, digest * 64, 1, 1, at)
        for node, digest, at in ((1, "a", 10), (1, "b", 20), (2, "c", 900_000))
    )
    look_for_orphans(dfs, result(unknown=unknown), now_ms=950_000)  # type: ignore[arg-type]
    assert dfs.told == [(1,)]


def test_waiting_ends_when_all_is_mended() -> None:
    """Each look is reported, so that the master hears of what came to light since."""
    looks = [result(POOR, damaged=(BAD,)), result(POOR), result()]
    reported: list[CheckResult] = []
    clock = ManualClock()
    last = wait_until_mended(looks[0], iter(looks[1:]).__next__, clock, 600, reported.append)
    assert last is looks[2]
    assert reported == looks[1:]


@pytest.mark.parametrize("hopeless", [result(LOST, damaged=(BAD,)), result()])
def test_nothing_to_hope_for_is_not_waited_for(hopeless: CheckResult) -> None:
    """What is lost does not come back by waiting."""
    assert wait_until_mended(hopeless, hopeless_look, ManualClock(), 600, print) is hopeless


def hopeless_look() -> CheckResult:
    """Nobody should look again."""
    raise AssertionError("looked again")


def test_waiting_has_an_end() -> None:
    """When its time is over the last look counts."""
    clock = ManualClock()
    before = clock.monotonic()
    last = wait_until_mended(result(POOR), lambda: result(POOR), clock, 100, lambda _: None)
    assert last.findings.poor == [POOR]
    assert clock.monotonic() - before == pytest.approx(100, abs=1)
