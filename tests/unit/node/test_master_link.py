"""The node's side of its master: joining, registering, heartbeats, orders, and when to give up."""

import threading
from pathlib import Path

import pytest
from tests.support.link_master import FakeMaster
from tests.support.nodes import JOIN_TOKEN, key_of
from tests.support.volumes import WrappedDisk, chunk_of, store
from tests.support.wire import hello_for, poll_for

from dfs_node.disk_volume import DiskVolume
from dfs_node.findings import FINDINGS_MAX, FINDINGS_PER_HEARTBEAT, FindingQueue
from dfs_node.heartbeat import HeartbeatThread
from dfs_node.identity import Claim, claim_volume, load_identity
from dfs_node.link_rules import (
    BACKOFF_SECONDS_MAX,
    GHOST_SECONDS,
    Heard,
    Obey,
    backoff_seconds,
    ends_the_process,
    judge_orders,
    next_beat_seconds,
)
from dfs_node.master_link import MasterLink, NodeCard
from dfs_node.master_time import MasterTime
from dfs_node.memory_volume import MemoryVolume
from dfs_node.orders import OrderRunner
from dfs_node.replicate import Replicator
from dfs_node.scrub import Scrubber
from dfs_node.scrub_rules import ScrubRules
from dfs_node.volume import Volume
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import (
    BadCredentialError,
    BusyError,
    ConflictError,
    ConnectFailedError,
    DfsError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
    VolumeFailedError,
    VolumeForeignError,
)
from dfs_wire.messages import (
    Finding,
    FindingKind,
    HeartbeatReply,
    Order,
    OrderKind,
    Role,
    VolumeState,
)
from dfs_wire.pool import ChannelPool
from dfs_wire.sockets import SocketDialer


class Setup:
    """A link over a fake master, stepped by hand."""

    def __init__(self, path: Path, volume: Volume | None = None, *, token: bytes | None = JOIN_TOKEN) -> None:
        self.clock = ManualClock()
        self.master = FakeMaster(self.clock)
        self.path = path
        self.volume = volume or MemoryVolume()
        self.findings = FindingQueue()
        self.time = MasterTime(self.clock)
        self.obeyed: list[Order] = []
        self.epochs_on_disk: list[int] = []
        self.restart(token)

    def restart(self, token: bytes | None = None, scrubber: Scrubber | None = None) -> None:
        """As a new process would begin."""
        self.identity = claim_volume(self.path, Claim(may_join=token is not None))
        self.link = MasterLink(
            card=NodeCard("node-1", "rack-1", "in:1", "out:1"),
            master_address="master:5000",
            join_token=token,
            software="test",
            dialer=self.master,
            identity=self.identity,
            volume=self.volume,
            findings=self.findings,
            orders=self,
            time=self.time,
            clock=self.clock,
            jitter=lambda: 1.0,
            scrubber=scrubber,
        )

    def take(self, orders: list[Order]) -> None:
        """`Orders`."""
        self.obeyed += orders
        kept = load_identity(self.path)
        assert kept is not None
        self.epochs_on_disk.append(kept.highest_epoch)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """A node that has not joined yet."""
    return Setup(tmp_path)


def test_a_first_join_keeps_what_the_master_gave(setup: Setup) -> None:
    """Token in, id and key out, durable before the node serves; the time is known after the first heartbeat."""
    assert setup.link.step() == 3.0
    assert setup.master.hellos[0].role is Role.JOIN
    register = setup.master.registers[0]
    assert (register.node_id, register.registration) == (0, 1)
    assert (register.name, register.zone, register.address, register.public_address) == (
        "node-1", "rack-1", "in:1", "out:1",
    )  # fmt: skip
    kept = load_identity(setup.path)
    assert kept is not None
    assert (kept.node_id, kept.node_key, kept.registration) == (7, key_of(7), 1)
    assert len(setup.master.beats) == 1
    assert setup.time.now_ms() == setup.clock.wall_ms()


def test_a_verified_volume_is_announced_once(tmp_path: Path) -> None:
    """The master that registers it knows then; a refused registration leaves the word for the next try."""
    for name in ("volume", "identity"):
        (tmp_path / name).mkdir()
    volume = DiskVolume(tmp_path / "volume", WrappedDisk())
    volume.health.fail("fsync: Input/output error")
    volume.health.clear()
    setup = Setup(tmp_path / "identity", volume)
    setup.master.refuse_register = UnavailableError("not now")
    setup.link.step()
    setup.master.refuse_register = None
    setup.link.step()
    setup.restart()
    setup.link.step()
    assert [register.volume_verified for register in setup.master.registers] == [True, True, False]


def test_the_number_is_durable_before_the_master_hears_it(setup: Setup) -> None:
    """A registration whose answer is lost still counts: the next one is higher."""
    setup.link.step()
    setup.restart()
    setup.master.refuse_register = UnavailableError("not now")
    setup.link.step()
    assert setup.master.registers[-1].registration == 2
    kept = load_identity(setup.path)
    assert kept is not None
    assert kept.registration == 2
    setup.master.refuse_register = None
    setup.link.step()
    assert setup.master.registers[-1].registration == 3


def test_a_first_join_whose_answer_was_lost_is_the_same_again(setup: Setup) -> None:
    """The master recognises it by its number, so that the name is not taken for ever."""
    setup.master.refuse_register = ConnectFailedError("the answer was lost")
    setup.link.step()
    setup.restart(JOIN_TOKEN)
    setup.master.refuse_register = None
    setup.link.step()
    assert [register.registration for register in setup.master.registers] == [1, 1]


def test_a_joined_node_needs_no_token(setup: Setup) -> None:
    """Its own key speaks for it from then on."""
    setup.link.step()
    setup.restart(token=None)
    setup.link.step()
    assert setup.master.hellos[-1].role is Role.NODE
    assert setup.master.registers[-1].node_id == 7


def test_an_unreachable_master_is_waited_for(setup: Setup) -> None:
    """Quick tries at first, then waits double up to three seconds; the node registers once the master is back."""
    setup.master.reachable = False
    waits = [setup.link.step() for _ in range(22)]
    assert waits == [0.2] * 16 + [0.4, 0.8, 1.6, 3.0, 3.0, 3.0]
    setup.master.reachable = True
    assert setup.link.step() == 3.0
    assert setup.link.connected


def test_a_broken_connection_means_a_new_registration(setup: Setup) -> None:
    """The open connection is what makes a node live: after a break it registers again, under a new number."""
    setup.link.step()
    setup.master.reachable = False
    setup.link.step()
    assert not setup.link.connected
    assert setup.master.channels[0].closed
    setup.master.reachable = True
    setup.link.step()
    assert [register.registration for register in setup.master.registers] == [1, 2]


@pytest.mark.parametrize(
    "error", [ConflictError("live elsewhere"), NotFoundError("no such node"), BadCredentialError("revoked")]
)
def test_a_refused_registration_ends_the_node(setup: Setup, error: DfsError) -> None:
    """Trying again cannot help, so the process ends with the master's sentence."""
    setup.master.refuse_register = error
    with pytest.raises(type(error), match=str(error)):
        setup.link.step()


def test_a_ghost_of_the_own_connection_is_waited_out(setup: Setup) -> None:
    """1. The connection breaks. 2. The master still thinks it live, and refuses. 3. The node tries on for a while,
    4. and gives up when that was no ghost.
    """
    setup.link.step()
    setup.master.reachable = False
    setup.link.step()
    setup.master.reachable = True
    setup.master.refuse_register = ConflictError("live elsewhere", passing=True)
    setup.link.step()
    setup.clock.advance(GHOST_SECONDS - 1)
    setup.link.step()
    setup.clock.advance(2)
    with pytest.raises(ConflictError):
        setup.link.step()


def test_a_foreign_master_is_refused(setup: Setup) -> None:
    """A volume of one cluster never serves another."""
    setup.link.step()
    setup.restart()
    setup.master.cluster_id = "cluster-2"
    with pytest.raises(VolumeForeignError):
        setup.link.step()
    assert len(setup.master.registers) == 1


def test_a_heartbeat_reply_that_is_not_signed_for_us_is_worth_nothing(setup: Setup) -> None:
    """No orders, no time, and the findings are told again."""
    setup.link.step()
    setup.clock.advance(100)
    finding = Finding(b"d" * 32, 1, FindingKind.MISSING)
    setup.findings.add(finding)
    setup.master.signs_with = key_of(8)
    setup.master.orders = [Order(OrderKind.VERIFY, b"d" * 32)]
    before = setup.time.now_ms()
    setup.link.step()
    assert setup.obeyed == []
    assert setup.time.now_ms() == before
    assert setup.findings.peek() == [finding]


def test_findings_are_told_until_the_master_heard_them(setup: Setup) -> None:
    """A finding leaves the queue only with an answered heartbeat."""
    setup.link.step()
    finding = Finding(b"d" * 32, 1, FindingKind.CORRUPT, "digest")
    setup.findings.add(finding)
    setup.master.refuse_beat = UnavailableError("not now")
    setup.link.step()
    assert len(setup.findings) == 1
    setup.master.refuse_beat = None
    setup.link.step()
    assert setup.master.findings == [finding]
    assert len(setup.findings) == 0


def test_a_higher_epoch_is_durable_before_its_orders(setup: Setup) -> None:
    """After a restart the node still refuses what is older."""
    setup.link.step()
    setup.master.epoch, setup.master.commit_seq = 5, 90
    setup.link.step()
    assert setup.epochs_on_disk == [1, 5]
    setup.restart()
    setup.link.step()
    assert (setup.master.registers[-1].highest_epoch, setup.master.registers[-1].highest_commit_seq) == (5, 90)


def test_orders_of_an_older_epoch_are_refused(setup: Setup) -> None:
    """A master that was replaced and does not know it is not obeyed; the highest epoch is reported to it."""
    setup.master.epoch = 5
    setup.link.step()
    setup.master.epoch = 4
    setup.master.orders = [Order(OrderKind.VERIFY, b"d" * 32)]
    setup.link.step()
    assert setup.obeyed == []
    setup.link.step()
    assert setup.master.beats[-1].highest_epoch == 5
    setup.master.epoch = 5
    setup.master.orders = [Order(OrderKind.VERIFY, b"d" * 32)]
    setup.link.step()
    assert len(setup.obeyed) == 1


def test_leaving_is_announced(setup: Setup) -> None:
    """The last heartbeat says that the stop is on purpose; without a connection nothing is said and nothing fails."""
    setup.link.step()
    setup.link.leave()
    assert [beat.leaving for beat in setup.master.beats] == [False, True]
    assert setup.master.channels[0].closed
    setup.link.leave()
    setup.restart()
    setup.link.step()
    setup.master.reachable = False
    setup.link.leave()
    assert not setup.link.connected


def test_the_state_of_the_volume_is_told(tmp_path: Path) -> None:
    """A failed volume is reported with registration and heartbeats."""
    volume = MemoryVolume()
    setup = Setup(tmp_path, volume)
    setup.link.step()
    volume.fail("fsync")
    setup.link.step()
    assert setup.master.beats[-1].volume_state is VolumeState.FAILED
    setup.restart()
    setup.link.step()
    assert setup.master.registers[-1].volume_state is VolumeState.FAILED


def test_an_identity_that_cannot_be_written_stops_nothing_else(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number cannot be made durable, so the master is not asked; the node tries again."""
    setup.link.step()
    setup.restart()

    def refuse() -> int:
        raise VolumeFailedError("the identity cannot be written")

    monkeypatch.setattr(setup.identity, "propose_registration", refuse)
    assert setup.link.step() < BACKOFF_SECONDS_MAX
    assert len(setup.master.registers) == 1


def test_an_order_to_verify_becomes_a_finding(tmp_path: Path) -> None:
    """The node looks itself, and its finding goes out with a heartbeat, good or bad."""
    volume = DiskVolume(tmp_path, WrappedDisk())
    data, digest = chunk_of(1_000)
    store(volume, data, generation=4)
    woken = threading.Event()
    findings = FindingQueue(woken.set)
    runner = OrderRunner(volume, findings, Replicator(volume, ChannelPool(SocketDialer(), hello_for)), threads=1)
    runner.take([Order(OrderKind.VERIFY, digest), Order(OrderKind.VERIFY, b"x" * 32)])
    poll_for(lambda: len(findings) == 2)
    assert woken.is_set()
    assert [(each.kind, each.generation) for each in findings.peek()] == [
        (FindingKind.GOOD, 4),
        (FindingKind.MISSING, 0),
    ]
    runner.stop()


def test_the_thread_registers_wakes_and_leaves(setup: Setup) -> None:
    """News are told at once, and stopping announces it."""
    wake = threading.Event()
    ended: list[BaseException] = []
    thread = HeartbeatThread(setup.link, ended.append, wake)
    thread.start()
    poll_for(lambda: len(setup.master.beats) == 1)
    setup.findings.add(Finding(b"d" * 32, 1, FindingKind.MISSING))
    wake.set()
    poll_for(lambda: len(setup.master.findings) == 1)
    thread.stop()
    assert setup.master.beats[-1].leaving
    assert ended == []


@pytest.mark.parametrize("error", [ConflictError("live elsewhere"), ZeroDivisionError("a fault of ours")])
def test_the_thread_ends_the_process(setup: Setup, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A refusal, or a fault of ours, is handed to whoever ends the process: a node without heartbeats is no node."""

    def fail() -> float:
        raise error

    monkeypatch.setattr(setup.link, "step", fail)
    ended: list[BaseException] = []
    thread = HeartbeatThread(setup.link, ended.append, threading.Event())
    thread.start()
    poll_for(lambda: ended == [error])
    thread.stop()


def test_backoff_spreads_and_is_bounded() -> None:
    """Jitter takes off up to half; a long absence does not make the wait longer than three seconds."""
    assert backoff_seconds(1, 0.0) == 0.1
    assert backoff_seconds(1, 1.0) == backoff_seconds(16, 1.0) == 0.2
    assert backoff_seconds(17, 1.0) == 0.4
    assert backoff_seconds(10_000, 1.0) == BACKOFF_SECONDS_MAX


def test_a_master_may_ask_for_the_next_heartbeat(setup: Setup) -> None:
    """Sooner than usual, for as long as it says so with each reply."""
    assert setup.link.step() == 3.0
    setup.master.again_seconds = 0.5
    assert setup.link.step() == 0.5
    setup.master.again_seconds = 0.0
    assert setup.link.step() == 3.0


@pytest.mark.parametrize(("asked", "seconds"), [(0, 3), (0.5, 0.5), (1e-9, 0.25), (-1, 3), (60, 3)])
def test_nobody_can_ask_for_a_storm_or_for_silence(asked: float, seconds: float) -> None:
    """What is asked is under no MAC."""
    assert next_beat_seconds(3.0, asked) == seconds


def test_what_ends_the_process() -> None:
    """Refusals do, trouble does not."""
    for final in (ConflictError("x"), BadCredentialError("x"), NotFoundError("x"), VolumeForeignError("x")):
        assert ends_the_process(final, 0.0)
    for passing in (ConnectFailedError("x"), BusyError("x"), ProtocolError("x"), VolumeFailedError("x")):
        assert not ends_the_process(passing, 0.0)
    assert not ends_the_process(ConflictError("x", passing=True), 1.0)
    assert ends_the_process(ConflictError("x", passing=True), 31.0)
    assert ends_the_process(ConflictError("x"), 1.0)
    assert ends_the_process(BadCredentialError("x"), 1.0)


def test_orders_are_fenced_by_epoch() -> None:
    """Equal: obey. Newer: make durable first. Older: refuse."""
    assert judge_orders(HeartbeatReply(epoch=3, commit_seq=0, time_ms=0), 3) is Obey.NOW
    assert judge_orders(HeartbeatReply(epoch=4, commit_seq=0, time_ms=0), 3) is Obey.AFTER_EPOCH
    assert judge_orders(HeartbeatReply(epoch=2, commit_seq=0, time_ms=0), 3) is Obey.REFUSE
    assert Heard(3, 10).and_now(2, 11) == Heard(3, 11)


def test_findings_are_bounded_and_newest_wins() -> None:
    """One finding a chunk, the newest; pages of a thousand; and a limit."""
    queue = FindingQueue()
    for number in range(FINDINGS_MAX + 5):
        queue.add(Finding(number.to_bytes(32, "big"), 1, FindingKind.MISSING))
    assert len(queue) == FINDINGS_MAX
    page = queue.peek()
    assert len(page) == FINDINGS_PER_HEARTBEAT
    newer = Finding(page[0].digest, 2, FindingKind.GOOD)
    queue.add(newer)
    queue.told(page)
    assert len(queue) == FINDINGS_MAX - FINDINGS_PER_HEARTBEAT + 1


def test_the_newest_metadata_is_remembered_over_restarts(setup: Setup) -> None:
    """At most a minute of it is forgotten by a crash, and nothing by a stop: so a restored backup is noticed."""
    setup.master.commit_seq = 10
    setup.link.step()
    setup.master.commit_seq = 500
    setup.clock.advance(3)
    setup.link.step()
    kept = load_identity(setup.path)
    assert kept is not None
    assert kept.highest_commit_seq == 10
    setup.clock.advance(60)
    setup.link.step()
    kept = load_identity(setup.path)
    assert kept is not None
    assert kept.highest_commit_seq == 500
    setup.master.commit_seq = 700
    setup.clock.advance(3)
    setup.link.step()
    setup.link.leave()
    setup.restart()
    setup.link.step()
    assert setup.master.registers[-1].highest_commit_seq == 700


def test_rules_of_the_master_are_followed_only_when_they_are_its_own(setup: Setup) -> None:
    """The scrub's pace comes with the heartbeats, signed."""
    scrubber = Scrubber(setup.volume, setup.findings, setup.clock)
    setup.restart(JOIN_TOKEN, scrubber)
    setup.link.step()
    assert scrubber.rules == ScrubRules()
    setup.master.rules = (7, 8_192, 9)
    setup.link.step()
    assert scrubber.rules == ScrubRules(7, 8_192)
    setup.master.rules = (1, 4_096, 9)
    setup.master.rules_signed_with = b"x" * 32
    setup.link.step()
    assert scrubber.rules == ScrubRules(7, 8_192)
    assert not setup.link.connected
