"""Repair: finds chunks that lack copies, has them made, the riskiest first, and says how far it is.

It looks along two indices, a page at a time: chunks with fewer good copies than wanted (lost and bad copies, raised
policies), and the copies on nodes that are dead, failed or draining. What it finds is only a hint: each chunk is read
again before an order is given.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from dfs_master.catalog.models import LOST_STATES
from dfs_master.catalog.mutations.records import AddEvent
from dfs_master.catalog.reader_repair import ChunkCopies, ShortCursor
from dfs_master.cluster import Cluster
from dfs_master.copy_desk import CopyDesk
from dfs_master.mass_failure import MassFailure, mass_failures
from dfs_master.membership import KnownNode
from dfs_master.pace import RateMeter, TokenBucket
from dfs_master.repair_rules import Fate, Obstacle, Scene, fate_of, need_of, plan_chunk
from dfs_master.second_looks import SecondLooks
from dfs_master.worklist import Lacking, Worklist
from dfs_wire import messages as m

log = logging.getLogger(__name__)

#: Chunks that one look reads, and looks that one step does.
PAGE_CHUNKS = 1_000
PAGES_PER_STEP = 4
#: More chunks that lost a copy at a time are found by looking at everything.
LOST_MAX = 10_000
#: Chunks that one step orders copies of.
ROUND_CHUNKS = 512
#: A chunk that could not be helped is tried again after this time.
PARK_SECONDS = 10.0
#: How often a look begins anew: at short chunks, at nodes that drain (they may still get copies), at the others (a
#: chunk with a copy there counts that one on record, so it may lack another without being short). Each page that the
#: last look took makes it rarer.
SHORT_SECONDS = 2.0
DRAINING_SECONDS = 15.0
GONE_SECONDS = 60.0
PAGE_PAUSE_SECONDS = 0.2


@dataclass(slots=True)
class Look:
    """One walk along an index: where it is, and when the next one begins."""

    every_seconds: float
    cursor: ShortCursor = field(default_factory=ShortCursor)
    pages: int = 0
    next_at: float = 0.0
    whole: bool = False

    def is_due(self, now: float) -> bool:
        """Whether a page is to be read."""
        return now >= self.next_at

    def read(self, last: ShortCursor | None, now: float) -> None:
        """A page was read; `last` is None where it was the last one."""
        self.pages += 1
        if last is not None:
            self.cursor = last
            return
        self.next_at = now + self.every_seconds + PAGE_PAUSE_SECONDS * self.pages
        self.cursor, self.pages, self.whole = ShortCursor(), 0, True


@dataclass(frozen=True, slots=True)
class RepairView:
    """How repair stands, for people. Bytes are of copies that are missing."""

    chunks_left: int = 0
    bytes_left: int = 0
    bytes_per_second: float = 0.0
    under_way: int = 0
    #: The first look at everything is not over: the numbers still grow.
    counting: bool = False
    #: Chunks that nothing can be done for now, by reason.
    stuck: Mapping[Obstacle, int] = field(default_factory=dict)
    failures: tuple[MassFailure, ...] = ()


class Repairer:
    """`step` belongs to one thread; all else may be called from any."""

    def __init__(self, cluster: Cluster, desk: CopyDesk) -> None:
        self._cluster = cluster
        self._desk = desk
        self._work = Worklist()
        self._bucket, self._meter = TokenBucket(), RateMeter()
        self._short = Look(SHORT_SECONDS)
        self._gone: dict[int, Look] = {}
        #: The nodes as they were when this was looked at last: all of them, and what becomes of those that do not stay.
        self._known: frozenset[int] = frozenset()
        self._fates: dict[int, Fate] = {}
        self._stuck: dict[int, Obstacle] = {}
        self._second_looks = SecondLooks()
        self._held: frozenset[int] = frozenset()
        self._forced: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        #: Chunks that lost a copy just now, and whether a look at everything is due.
        self._lost: set[bytes] = set()
        self._look_again = False
        self._view = RepairView()

    @property
    def view(self) -> RepairView:
        """How repair stood after the last step."""
        return self._view

    @property
    def is_idle(self) -> bool:
        """Whether all was looked at, and nothing is left that can be done."""
        view = self._view
        return not view.counting and not view.under_way and view.chunks_left == sum(view.stuck.values())

    def heard(self, findings: Iterable[m.Finding]) -> None:
        """Copies went bad or missing: their chunks are looked at in the next step. From any thread."""
        lost = {each.digest for each in findings if each.kind in (m.FindingKind.CORRUPT, m.FindingKind.MISSING)}
        with self._lock:
            self._lost |= lost
            if len(self._lost) > LOST_MAX:
                self._lost.clear()
                self._look_again = True

    def look_again(self) -> None:
        """What chunks ask for has changed: look at everything now. From any thread."""
        with self._lock:
            self._look_again = True

    def force(self) -> list[str]:
        """An operator gives up the nodes that vanished at once; returns their names.

        That is not kept over a restart: what made the master start anew may bring the nodes back as well, so a person
        looks again. Repair waits then as it did before, and the status says for what.
        """
        nodes = self._cluster.registry.nodes
        given_up = frozenset(node_id for failure in self._view.failures for node_id in failure.node_ids)
        self._forced |= given_up
        # What the next step will find: whoever asks before it should not be told the old story.
        self._view = replace(self._view, failures=(), counting=bool(given_up) or self._view.counting)
        return [nodes[node_id].name for node_id in sorted(given_up) if node_id in nodes]

    def step(self) -> None:
        """One round: hear what ended, look a bit further, order what can be made now."""
        cluster = self._cluster
        now = cluster.clock.monotonic()
        nodes = cluster.registry.nodes
        self._take_done(now)
        if cluster.safe_mode.active:
            self._show(())
            return
        failures = self._mass_failures(nodes)
        self._notice(nodes, now)
        self._look(nodes, now)
        self._order(nodes, now)
        self._show(failures)

    # -- what ended --------------------------------------------------------------------------------------------

    def _take_done(self, now: float) -> None:
        for done in self._desk.take_done(now, rebalance=False):
            if done.stored:
                self._meter.add(done.move.size, now)
            # Whether it lacks more is judged when it is looked at again.
            self._work.give_back(done.move.chunk_id)

    # -- what is to be done ------------------------------------------------------------------------------------

    def _mass_failures(self, nodes: Mapping[int, KnownNode]) -> list[MassFailure]:
        """Who vanished at once; an event when that changes."""
        # Given up while they are away, not for ever.
        self._forced = frozenset(
            each for each in self._forced if each in nodes and fate_of(nodes[each]) is not Fate.STAYS
        )
        failures = mass_failures(nodes, self._forced)
        held = frozenset(node_id for failure in failures for node_id in failure.node_ids)
        if held != self._held:
            self._held = held
            for failure in failures:
                names = ", ".join(nodes[each].name for each in sorted(failure.node_ids))
                log.warning("repair is held back: %s (%s)", failure.reason, names)
                self._event("repair_held", names, failure.reason)
            if not failures:
                self._event("repair_goes_on", "repair", "no nodes are held back")
        return failures

    def _event(self, kind: str, subject: str, reason: str) -> None:
        self._cluster.committer.submit(AddEvent(kind, subject, {"reason": reason}), _ignore)

    def _notice(self, nodes: Mapping[int, KnownNode], now: float) -> None:
        """Begin to look at the copies of nodes that went; forget all where others came back."""
        # Most nodes are there and stay; only of the others there is something to keep.
        fates = {node.id: fate_of(node, self._held) for node in nodes.values() if node.draining or not node.stays}
        is_same = fates == self._fates and nodes.keys() == self._known
        if is_same and not (self._work.overflowed and len(self._work) == 0):
            return
        came_back = [each for each, fate in self._fates.items() if fate is Fate.GONE and fates.get(each) != fate]
        if came_back or self._work.overflowed:
            self._work.clear()
            self._stuck.clear()
            self._second_looks.clear()
            self._gone.clear()
            self._short = Look(SHORT_SECONDS)
        self._fates, self._known = fates, frozenset(nodes)
        gone = {each for each, fate in fates.items() if fate is Fate.GONE}
        self._gone = {each: look for each, look in self._gone.items() if each in gone}
        for each in gone:
            every = DRAINING_SECONDS if nodes[each].draining else GONE_SECONDS
            self._gone.setdefault(each, Look(every, next_at=now)).every_seconds = every
        # Somebody came or went: what could not be helped perhaps can be now.
        self._work.unpark(float("inf"))

    def _look(self, nodes: Mapping[int, KnownNode], now: float) -> None:
        """Read the next pages of what is due."""
        reader = self._cluster.reader
        with self._lock:
            lost, self._lost = self._lost, set()
            again, self._look_again = self._look_again, False
        if lost:
            self._judge([chunk.id for chunk in reader.known_chunks(list(lost)).values()], nodes)
        if again:
            for look in (self._short, *self._gone.values()):
                look.next_at = now
        pages = 0
        while pages < PAGES_PER_STEP and self._short.is_due(now):
            found = reader.short_chunks(self._short.cursor, PAGE_CHUNKS)
            self._short.read(found[-1] if len(found) == PAGE_CHUNKS else None, now)
            self._judge([each.id for each in found], nodes)
            pages += 1
        for node_id, look in self._gone.items():
            while pages < PAGES_PER_STEP and look.is_due(now):
                ids = reader.chunks_on_node(node_id, look.cursor.id, PAGE_CHUNKS)
                look.read(ShortCursor(id=ids[-1]) if len(ids) == PAGE_CHUNKS else None, now)
                self._judge(ids, nodes)
                pages += 1

    def _judge(self, chunk_ids: list[int], nodes: Mapping[int, KnownNode]) -> None:
        """Learn how chunks stand; copies under way count as missing until they are confirmed."""
        for chunk in self._cluster.reader.copies_of(chunk_ids):
            need = need_of(chunk, nodes, self._held)
            if need.lacking:
                self._work.put(chunk.id, Lacking(need.left, chunk.size, need.lacking))
            else:
                self._drop(chunk.id)

    # -- doing it ----------------------------------------------------------------------------------------------

    def _order(self, nodes: Mapping[int, KnownNode], now: float) -> None:
        """Order copies of the riskiest chunks, as far as nodes have room for orders and the rate allows."""
        self._work.unpark(now)
        rate = self._cluster.settings.current.repair_bytes_per_second
        self._bucket.fill(rate, now)
        if not self._work.waits or not self._bucket.may(rate):
            return
        # Which node gets a copy is nothing to guess at; the system's own randomness costs ten times as much.
        random = Random(self._cluster.random.getrandbits(64))  # noqa: S311 - no secret
        scene = Scene(nodes, random, self._held, self._desk.traffic(), self._desk.troubles(now))
        room = _room(scene)
        if room <= 0:
            return
        taken = self._work.take(room)
        try:
            self._order_copies(taken, scene, rate, now)
        except BaseException:
            # Nobody else knows that they were taken: they would wait for ever. What is under way is not ordered twice.
            self._give_back(taken)
            raise

    def _order_copies(self, taken: Sequence[int], scene: Scene, rate: float, now: float) -> None:
        """Order copies of the chunks that were taken; those that the rate does not allow wait on."""
        nodes = scene.nodes
        found = {chunk.id: chunk for chunk in self._cluster.reader.copies_of(taken)}
        for position, chunk_id in enumerate(taken):
            if not self._bucket.may(rate):
                self._give_back(taken[position:])
                return
            chunk = found.get(chunk_id)
            if chunk is None:
                self._drop(chunk_id)
                continue
            need = need_of(chunk, nodes, self._held)
            if not need.lacking:
                self._drop(chunk_id)
                continue
            self._work.put(chunk_id, Lacking(need.left, chunk.size, need.lacking))
            moves, obstacle = plan_chunk(chunk, scene, need)
            if obstacle is Obstacle.NO_SOURCE and self._second_looks.is_due(chunk_id, now):
                self._look_at_bad_copies(chunk, nodes)
            for move in moves:
                self._bucket.take(move.size)
                self._desk.order(move)
            self._settle(chunk_id, obstacle, ordered=bool(moves or scene.traffic.targets.get(chunk.digest)), now=now)

    def _look_at_bad_copies(self, chunk: ChunkCopies, nodes: Mapping[int, KnownNode]) -> None:
        """No other copy can be had now: perhaps one of these is well after all, as when its disk was away."""
        for node_id, state in chunk.copies:
            if state in LOST_STATES and node_id in nodes and nodes[node_id].reachable:
                self._cluster.registry.order(node_id, m.Order(m.OrderKind.VERIFY, chunk.digest))

    def _settle(self, chunk_id: int, obstacle: Obstacle | None, *, ordered: bool, now: float) -> None:
        """Where a chunk waits now: for its orders, for the next round, or for a while."""
        self._stuck.pop(chunk_id, None)
        if ordered:
            return  # it comes back when its order ended
        if obstacle in (None, Obstacle.BUSY):
            self._work.give_back(chunk_id)
        else:
            self._stuck[chunk_id] = obstacle
            self._work.park(chunk_id, now + PARK_SECONDS)

    def _give_back(self, chunk_ids: Iterable[int]) -> None:
        for chunk_id in chunk_ids:
            self._work.give_back(chunk_id)

    def _drop(self, chunk_id: int) -> None:
        self._work.drop(chunk_id)
        self._stuck.pop(chunk_id, None)
        self._second_looks.forget(chunk_id)

    # -- telling -----------------------------------------------------------------------------------------------

    def _show(self, failures: Iterable[MassFailure]) -> None:
        now = self._cluster.clock.monotonic()
        under_way = sum(not move.rebalance for move in self._desk.under_way())
        if len(self._work) > len(self._stuck) or under_way:
            self._meter.began(now)
        else:
            self._meter.idle()
        self._view = RepairView(
            chunks_left=len(self._work),
            bytes_left=self._work.bytes_left,
            bytes_per_second=self._meter.per_second(now),
            under_way=under_way,
            counting=self._work.overflowed or not all(look.whole for look in (self._short, *self._gone.values())),
            stuck=Counter(self._stuck.values()),
            failures=tuple(failures),
        )


def _room(scene: Scene) -> int:
    """How many orders the nodes may have now, as far as one round asks: in a large cluster a few nodes tell."""
    room = 0
    for node in scene.nodes.values():
        if node.serves:
            room += scene.traffic.room(node.id)
            if room >= ROUND_CHUNKS:
                return ROUND_CHUNKS
    return room


def _ignore(_result: object) -> None:
    """An event more or less."""
