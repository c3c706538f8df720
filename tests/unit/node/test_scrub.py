"""The scrub: finds what nobody reads, goes on after a restart, keeps its pace, lets users go first."""

from pathlib import Path

import msgspec
import pytest
from tests.support.chunk_surgery import DAMAGES
from tests.support.volumes import chunk_of, store

from dfs_node.disk_volume import DiskVolume
from dfs_node.findings import FindingQueue
from dfs_node.memory_volume import MemoryVolume
from dfs_node.scrub import LOOK_SECONDS, SAVE_SECONDS, YIELD_SECONDS_MAX, Scrubber, ScrubFile
from dfs_node.scrub_rules import CHUNK_COST_BYTES, ScrubRules, ScrubState, is_due, pause_seconds, trickle
from dfs_node.volume import Volume
from dfs_node.volume_directory import chunk_path
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import BusyError, VolumeFailedError
from dfs_wire.limits import MIB
from dfs_wire.messages import Finding, FindingKind

FAST = ScrubRules(seconds=3_600, bytes_per_second=1 << 30)


class Counting(MemoryVolume):
    """Notes which chunks were read whole."""

    def __init__(self) -> None:
        super().__init__()
        self.verified: list[bytes] = []

    def verify(self, digest: bytes) -> Finding:
        self.verified.append(digest)
        return super().verify(digest)


def scrubber_of(volume: Volume, clock: ManualClock, file: ScrubFile | None = None) -> tuple[Scrubber, FindingQueue]:
    """A scrubber that hurries."""
    findings = FindingQueue()
    scrubber = Scrubber(volume, findings, clock, file)
    scrubber.follow(FAST)
    scrubber.start_pass()
    return scrubber, findings


def run_pass(scrubber: Scrubber, clock: ManualClock, most: int = 5_000) -> None:
    """Until the pass ends."""
    before = scrubber.state.ended_at_ms
    for _ in range(most):
        clock.advance(scrubber.step() + 0.01)
        if scrubber.state.ended_at_ms > before:
            return
    pytest.fail("the pass did not end")


def test_all_chunks_in_the_order_of_their_digests() -> None:
    """Each is read once in a pass, then the scrub waits for the next."""
    volume, clock = Counting(), ManualClock()
    digests = sorted(store(volume, chunk_of(5_000, seed)[0]).digest for seed in range(40))
    scrubber, findings = scrubber_of(volume, clock)
    run_pass(scrubber, clock)
    assert volume.verified == digests
    assert (scrubber.state.chunks, scrubber.state.bytes, scrubber.state.bad) == (40, 200_000, 0)
    assert not len(findings)
    assert scrubber.step() == LOOK_SECONDS
    clock.advance(3_600)
    run_pass(scrubber, clock)
    assert len(volume.verified) == 80


@pytest.mark.parametrize("damage", sorted(set(DAMAGES) - {"deleted"}))
def test_what_is_damaged_is_found_and_told(tmp_path: Path, damage: str) -> None:
    """Whatever happened to the file, and nothing is said of the others. A lost file is the inventory's to find."""
    volume, clock = DiskVolume(tmp_path), ManualClock()
    stored = [store(volume, chunk_of(150_000, seed)[0]).digest for seed in range(6)]
    victim, other = stored[2], stored[4]
    DAMAGES[damage](chunk_path(tmp_path, victim), chunk_path(tmp_path, other))
    scrubber, findings = scrubber_of(volume, clock, ScrubFile(tmp_path))
    run_pass(scrubber, clock)
    assert [(each.digest, each.kind) for each in findings.peek()] == [(victim, FindingKind.CORRUPT)]
    assert scrubber.state.bad == 1


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """The place is on the volume; a file that cannot be read costs a pass from the beginning, nothing else."""
    volume, clock = Counting(), ManualClock()
    for seed in range(30):
        store(volume, chunk_of(1_000, seed)[0])
    scrubber, _ = scrubber_of(volume, clock, ScrubFile(tmp_path))
    while len(volume.verified) < 12:
        clock.advance(scrubber.step() + 0.01)
    scrubber.save()
    again = Scrubber(volume, FindingQueue(), clock, ScrubFile(tmp_path))
    assert 0 < again.state.permille < 1000
    again.follow(FAST)
    run_pass(again, clock)
    assert len(volume.verified) == 30
    assert len(set(volume.verified)) == 30
    (tmp_path / "scrub").write_bytes(b"{nonsense")
    assert ScrubFile(tmp_path).load() == ScrubState()


def test_a_crash_repeats_little(tmp_path: Path) -> None:
    """The place is written down every few seconds, not only at the end."""
    volume, clock = Counting(), ManualClock()
    for seed in range(30):
        store(volume, chunk_of(1_000, seed)[0])
    scrubber, _ = scrubber_of(volume, clock, ScrubFile(tmp_path))
    while len(volume.verified) < 15:
        clock.advance(scrubber.step() + SAVE_SECONDS + 1)
    assert ScrubFile(tmp_path).load().after == volume.verified[-1]


def test_the_pace_is_kept() -> None:
    """The rules' bytes a second bound even a pass that an operator hurries."""
    volume, clock = Counting(), ManualClock()
    for seed in range(20):
        store(volume, chunk_of(MIB, seed)[0])
    scrubber, _ = scrubber_of(volume, clock)
    scrubber.follow(ScrubRules(3_600, MIB))
    began = clock.monotonic()
    run_pass(scrubber, clock)
    cost = 20 * (MIB + CHUNK_COST_BYTES)
    # The last chunk is not waited for behind it.
    assert clock.monotonic() - began >= (cost - 2 * MIB - CHUNK_COST_BYTES) / MIB


def test_users_come_first_but_not_for_ever() -> None:
    """While bytes move for users a chunk waits, for two seconds at most."""
    volume, clock = Counting(), ManualClock()
    for seed in range(5):
        store(volume, chunk_of(1_000, seed)[0])
    busy = True
    scrubber = Scrubber(volume, FindingQueue(), clock, traffic=lambda: busy)
    scrubber.follow(FAST)
    scrubber.start_pass()
    began = clock.monotonic()
    while not volume.verified:
        clock.advance(max(0.01, scrubber.step()))
    assert clock.monotonic() - began >= YIELD_SECONDS_MAX
    busy = False
    began = clock.monotonic()
    run_pass(scrubber, clock)
    assert clock.monotonic() - began < 1.0


def test_a_deleted_chunk_is_no_finding() -> None:
    """What went away between the list and the look was deleted; what is lost is the inventory's to find."""
    volume, clock = Counting(), ManualClock()
    digests = sorted(store(volume, chunk_of(1_000, seed)[0]).digest for seed in range(300))
    scrubber, findings = scrubber_of(volume, clock)
    while not volume.verified:
        clock.advance(scrubber.step() + 0.01)
    for digest in digests[1:]:
        volume.lose(digest)
    run_pass(scrubber, clock)
    assert not len(findings)


def test_a_failed_volume_is_left_alone() -> None:
    """Nothing on it counts, and reading a dying disk helps nobody."""
    volume, clock = Counting(), ManualClock()
    store(volume, chunk_of(1_000)[0])
    scrubber, _ = scrubber_of(volume, clock)
    volume.fail("an I/O error")
    for _ in range(10):
        clock.advance(scrubber.step())
    assert not volume.verified


def test_a_trickle_that_ends_in_time() -> None:
    """A quiet pass reads as slowly as it may; a late one hurries; the rules bound both."""
    rules = ScrubRules(seconds=1_000, bytes_per_second=10 * MIB)
    fresh = ScrubState(under_way=True, started_at_ms=0)
    assert 0.9 * MIB < trickle(fresh, rules, 900 * MIB, 0) < 1.1 * MIB
    assert trickle(fresh, rules, 900 * MIB, 900_000) > 10 * MIB
    half = msgspec.structs.replace(fresh, after=b"\x80" + bytes(31))
    assert half.permille == 500
    assert 0.9 * MIB < trickle(half, rules, 900 * MIB, 450_000) < 1.1 * MIB
    assert pause_seconds(MIB, 100 * MIB, rules) == (MIB + CHUNK_COST_BYTES) / (10 * MIB)
    assert pause_seconds(MIB, MIB, rules) == 1.0


@pytest.mark.parametrize("size", [4_096, 100_000, MIB])
def test_a_volume_of_any_grain_is_read_within_its_time(size: int) -> None:
    """Many small chunks take no longer than a few large ones, where the bound leaves room for it."""
    volume, clock = Counting(), ManualClock()
    for seed in range(60):
        store(volume, chunk_of(size, seed)[0])
    scrubber = Scrubber(volume, FindingQueue(), clock)
    scrubber.follow(ScrubRules(seconds=1_000, bytes_per_second=10 * MIB))
    began = clock.monotonic()
    while not scrubber.state.ended_at_ms:
        clock.advance(max(0.001, scrubber.step()))
    assert 100 < clock.monotonic() - began < 1_000
    assert len(volume.verified) == 60


def test_when_the_next_pass_begins() -> None:
    """A pass each period; a clock that was set back does not put it off."""
    rules = ScrubRules(seconds=10)
    assert is_due(ScrubState(), rules, 1_700_000_000_000)
    ended = ScrubState(started_at_ms=1_000_000, ended_at_ms=1_002_000)
    assert not is_due(ended, rules, 1_009_999)
    assert is_due(ended, rules, 1_010_000)
    assert is_due(ended, rules, 900_000)


def test_a_directory_that_cannot_be_listed_is_not_passed_over() -> None:
    """Out of descriptors, say: the pass waits there, and leaves out nothing."""
    volume, clock = Counting(), ManualClock()
    digests = sorted(store(volume, chunk_of(5_000, seed)[0]).digest for seed in range(40))
    names, refusals = volume.names, [BusyError("out of descriptors"), VolumeFailedError("an I/O error")]

    def sometimes(prefix: int) -> list[tuple[bytes, int]]:
        if refusals and prefix == digests[7][0]:
            raise refusals.pop()
        return names(prefix)

    volume.names = sometimes  # type: ignore[method-assign]
    scrubber, _ = scrubber_of(volume, clock)
    run_pass(scrubber, clock)
    assert refusals == []
    assert volume.verified == digests


def test_a_chunk_that_cannot_be_looked_at_is_not_passed_over() -> None:
    """Out of descriptors nothing is found out about it: the pass waits, and begins with it again."""
    volume, clock = Counting(), ManualClock()
    digests = sorted(store(volume, chunk_of(5_000, seed)[0]).digest for seed in range(10))
    verify, refusals = volume.verify, [BusyError("out of descriptors")]

    def sometimes(digest: bytes) -> Finding:
        if refusals and digest == digests[4]:
            raise refusals.pop()
        return verify(digest)

    volume.verify = sometimes  # type: ignore[method-assign]
    scrubber, findings = scrubber_of(volume, clock)
    run_pass(scrubber, clock)
    assert volume.verified == digests
    assert len(findings) == 0
