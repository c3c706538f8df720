"""Rebalance: while nothing lacks copies, evens out how full nodes are."""

from collections.abc import Callable
from dataclasses import dataclass

from dfs_master.catalog.mutations.records import SetSetting
from dfs_master.cluster import Cluster
from dfs_master.copy_desk import CopyDesk
from dfs_master.healing_rules import fullness
from dfs_master.pace import RateMeter, TokenBucket
from dfs_master.rebalance_rules import balance_of, plan_rebalance, planned
from dfs_master.repair_rules import Move, Traffic
from dfs_wire.errors import DfsError

#: The record of an operator's word; kept over restarts.
PAUSED_SETTING = "rebalance_paused"
#: Chunks that one step looks at.
PAGE_CHUNKS = 256
#: Copies that were made and whose surplus is not trimmed yet: no more than this, or the disks fill up on the way.
UNTRIMMED_MAX = 512
UNTRIMMED_SECONDS = 600.0
#: How often the trimming is looked at, and how long to rest where no chunk can be moved.
TRIMMED_SECONDS = 3.0
REST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RebalanceView:
    """How it stands: `even`, `working`, `waiting` (for repair, or for trimming), `paused` or `off`."""

    state: str = "even"
    bytes_left: int = 0
    bytes_per_second: float = 0.0

    @property
    def seconds_left(self) -> int:
        """At the rate of late; -1 where nobody knows."""
        if self.bytes_left == 0:
            return 0
        return round(self.bytes_left / self.bytes_per_second) if self.bytes_per_second > 0 else -1


class Rebalancer:
    """`step` belongs to one thread; `view` and `pause` may be used from any."""

    def __init__(self, cluster: Cluster, desk: CopyDesk) -> None:
        self._cluster = cluster
        self._desk = desk
        self._bucket, self._meter = TokenBucket(), RateMeter()
        self._paused: bool | None = None
        #: Moves whose surplus copy is not trimmed yet, by chunk, and since when.
        self._untrimmed: dict[int, tuple[Move, float]] = {}
        self._trimmed_at = 0.0
        self._cursor: dict[int, int] = {}
        self._moved_in_pass = False
        self._rests_until = 0.0
        self._view = RebalanceView()

    @property
    def view(self) -> RebalanceView:
        """How it stood after the last step."""
        return self._view

    def pause(self, paused: bool, deliver: Callable[[DfsError | None], None]) -> None:
        """Stop to move copies, or go on; `deliver` is called when that is on record."""

        def recorded(result: DfsError | None) -> None:
            if not isinstance(result, DfsError):
                self._paused = paused
                self._rests_until = 0.0
            deliver(result)

        self._cluster.committer.submit(SetSetting(PAUSED_SETTING, "1" if paused else "0"), recorded)

    def step(self, *, may_work: bool) -> None:
        """One round. `may_work`: nothing more important is to be done."""
        cluster = self._cluster
        now = cluster.clock.monotonic()
        if self._paused is None:
            self._paused = cluster.reader.setting(PAUSED_SETTING) == "1"
        self._take_done(now)
        self._look_at_trimming(now)
        under_way = self._desk.under_way()
        nodes = planned(cluster.registry.nodes, under_way, [move for move, _ in self._untrimmed.values()])
        balance = balance_of(nodes, cluster.settings.current.rebalance_percent)
        state = self._state(balance.bytes_left, may_work=may_work, now=now)
        if state == "working":
            self._meter.began(now)
            traffic = Traffic.of(under_way)
            rate = cluster.settings.current.repair_bytes_per_second
            self._bucket.fill(rate, now)
            # The fullest gives first, between equals the one that trimming would take from.
            donor = max(balance.donors, key=lambda each: (fullness(nodes[each]), each))
            if self._bucket.may(rate):
                chunks = cluster.reader.copies_of(self._page(donor, now))
                for move in plan_rebalance(donor, chunks, nodes, balance, traffic):
                    self._moved_in_pass = True
                    self._bucket.take(move.size)
                    self._desk.order(move)
                    if not self._bucket.may(rate):
                        break
        elif not any(move.rebalance for move in under_way):
            self._meter.idle()
        self._view = RebalanceView(state, balance.bytes_left, self._meter.per_second(now))

    def _state(self, bytes_left: int, *, may_work: bool, now: float) -> str:
        if self._cluster.settings.current.rebalance_percent <= 0:
            return "off"
        if bytes_left == 0:
            return "even"
        if self._paused:
            return "paused"
        if not may_work or now < self._rests_until or len(self._untrimmed) >= UNTRIMMED_MAX:
            return "waiting"
        return "working"

    def _page(self, donor: int, now: float) -> list[int]:
        """The next chunks of a donor. After a pass in which none could be moved it rests."""
        ids = self._cluster.reader.chunks_on_node(donor, self._cursor.get(donor, 0), PAGE_CHUNKS)
        self._cursor[donor] = ids[-1] if len(ids) == PAGE_CHUNKS else 0
        if len(ids) < PAGE_CHUNKS:
            if not self._moved_in_pass:
                self._rests_until = now + REST_SECONDS
            self._moved_in_pass = False
        return ids

    def _take_done(self, now: float) -> None:
        for done in self._desk.take_done(now, rebalance=True):
            if done.stored:
                self._meter.add(done.move.size, now)
                self._untrimmed[done.move.chunk_id] = (done.move, now)

    def _look_at_trimming(self, now: float) -> None:
        """Forget the moves whose surplus copy is gone, or that nobody will trim any more."""
        if not self._untrimmed or now < self._trimmed_at:
            return
        self._trimmed_at = now + TRIMMED_SECONDS
        found = {chunk.id: chunk for chunk in self._cluster.reader.copies_of(list(self._untrimmed))}
        for chunk_id, (move, since) in list(self._untrimmed.items()):
            chunk = found.get(chunk_id)
            if chunk is None or move.source not in chunk.good or now - since > UNTRIMMED_SECONDS:
                del self._untrimmed[chunk_id]
