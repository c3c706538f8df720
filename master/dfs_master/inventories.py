"""What a node has, compared with what is on record: pure for one page, and a book over all pages of all nodes.

Nothing is condemned by a list alone. Where page and catalog differ the node is asked to look at the chunk, and its
finding counts. Files that nobody knows of are `collecting.judge_file`'s to judge.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dfs_master.catalog.models import GOING_STATES, ReplicaState
from dfs_master.catalog.rows import ChunkRow, ReplicaRow
from dfs_master.collecting import Orphan, Verdict, judge_file
from dfs_wire.messages import InventoryAsk, InventoryChunk

#: Two readings of one clock, and what was on its way while the node looked, may differ by so much.
MARGIN_MS = 10_000
#: A copy that nobody knows of is asked about only when the order that made it must have been told long ago.
ADOPT_MS = 60_000

_GOING = frozenset(state.value for state in GOING_STATES)


class CopyOnRecord(NamedTuple):
    """A replica row of the node that sent the page, and its chunk's size. Times in milliseconds since 1970."""

    digest: bytes
    size: int
    generation: int
    state: str
    stored_at: int
    verified_at: int


@dataclass(frozen=True, slots=True)
class PageFindings:
    """What differs. `lost`, `damaged`: how many of `asks` are for copies that were thought good. `unknown`: files that
    no copy on record accounts for. `doubts`: every good copy on record that is not in the page as it should be, with
    its `verified_at`.
    """

    asks: list[InventoryAsk] = field(default_factory=list)
    unknown: list[InventoryChunk] = field(default_factory=list)
    lost: int = 0
    damaged: int = 0
    doubts: dict[bytes, int] = field(default_factory=dict)


def compare(records: Iterable[CopyOnRecord], page: Iterable[InventoryChunk], *, started_at_ms: int) -> PageFindings:
    """Compare one page with the node's rows of the same range.

    What was stored, or looked at by the node, after `started_at_ms` is newer than the page, which is not held against
    it. But where they differ about a good copy, it is looked at in any case: it may have been lost in a crash just now,
    or been called bad while its disk was away. A copy that is being deleted, or was, does not account for a file that
    is there.
    """
    present = {each.digest: each for each in page}
    asks: list[InventoryAsk] = []
    doubts: dict[bytes, int] = {}
    lost = damaged = 0
    for record in records:
        found = present.get(record.digest)
        if record.state in _GOING:
            if found is not None and record.state == ReplicaState.DELETING and found.generation <= record.generation:
                del present[record.digest]
            continue
        present.pop(record.digest, None)
        is_newer = max(record.stored_at, record.verified_at) > started_at_ms - MARGIN_MS
        if record.state != ReplicaState.GOOD:
            if found is not None and not (found.damage and is_newer):
                asks.append(InventoryAsk(record.digest))
        elif found is None or found.damage or found.size != record.size:
            asks.append(InventoryAsk(record.digest))
            doubts[record.digest] = record.verified_at
            lost += found is None and not is_newer
            damaged += found is not None and not is_newer
        elif found.generation > record.generation and not is_newer:
            asks.append(InventoryAsk(record.digest))
    return PageFindings(asks, list(present.values()), lost, damaged, doubts)


class KnownCopies(NamedTuple):
    """A chunk and all its replicas on record."""

    chunk: ChunkRow
    replicas: Sequence[ReplicaRow]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a page was made and by what it is judged: milliseconds of the master's time, and the setting.

    Where an older database was accepted, the age of an unknown file begins then at the earliest: before that, nobody
    could look whether it is needed.
    """

    started_at_ms: int
    accepted_at_ms: int
    orphan_seconds: float

    def age_seconds(self, chunk: InventoryChunk) -> float:
        """For how long a file has waited to be known."""
        since_ms = max(self.started_at_ms - chunk.age_ms, self.accepted_at_ms)
        return max(0, self.started_at_ms - since_ms) / 1000


def judge_unknown(
    unknown: Iterable[InventoryChunk],
    known: Mapping[bytes, KnownCopies],
    *,
    node_id: int,
    staying: frozenset[int],
    moment: Moment,
) -> tuple[list[InventoryAsk], list[Orphan]]:
    """Files that no copy on record accounts for: which the node should verify, because their chunk needs a copy, and
    which nobody needs. `staying` are the nodes whose copies count and stay.
    """
    asks: list[InventoryAsk] = []
    orphans: list[Orphan] = []
    for each in unknown:
        copies = known.get(each.digest)
        others = [] if copies is None else [row for row in copies.replicas if row.node_id != node_id]
        mine = None if copies is None else next((row for row in copies.replicas if row.node_id == node_id), None)
        verdict = judge_file(
            each.generation,
            moment.age_seconds(each),
            None if copies is None else copies.chunk,
            mine,
            staying=sum(row.state == ReplicaState.GOOD and row.node_id in staying for row in others),
            orphan_seconds=moment.orphan_seconds,
        )
        if verdict is Verdict.ADOPT and each.age_ms >= ADOPT_MS and not each.damage:
            asks.append(InventoryAsk(each.digest, adopt=True))
        elif verdict is Verdict.ORPHAN:
            orphans.append(Orphan(each.digest, each.size, each.generation))
    return asks, orphans


@dataclass(frozen=True, slots=True)
class InventorySums:
    """One inventory of one node. `unknown` files are orphans of any age; `ended_at_ms` 0 while pages are missing."""

    chunks: int = 0
    bytes: int = 0
    lost: int = 0
    damaged: int = 0
    unknown: int = 0
    unknown_bytes: int = 0
    ended_at_ms: int = 0


class Inventories:
    """The sums of each node's inventories in this master's term. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[int, InventorySums] = {}
        self._ended: dict[int, InventorySums] = {}

    def begin(self, node_id: int) -> None:
        """The first page of a new inventory: an older one that was never finished is forgotten."""
        with self._lock:
            self._under_way[node_id] = InventorySums()

    def add(self, node_id: int, page: Sequence[InventoryChunk], findings: PageFindings) -> None:
        """Take a page in."""
        with self._lock:
            before = self._under_way.get(node_id, InventorySums())
            self._under_way[node_id] = replace(
                before,
                chunks=before.chunks + len(page),
                bytes=before.bytes + sum(each.size for each in page),
                lost=before.lost + findings.lost,
                damaged=before.damaged + findings.damaged,
                unknown=before.unknown + len(findings.unknown),
                unknown_bytes=before.unknown_bytes + sum(each.size for each in findings.unknown),
            )

    def end(self, node_id: int, now_ms: int) -> tuple[InventorySums, InventorySums | None]:
        """The last page is in: the sums of this inventory, and those of the one before."""
        with self._lock:
            before = self._ended.get(node_id)
            sums = replace(self._under_way.pop(node_id, InventorySums()), ended_at_ms=now_ms)
            self._ended[node_id] = sums
            return sums, before

    def forget(self, node_id: int) -> None:
        """A node is no longer one of this cluster's."""
        with self._lock:
            self._under_way.pop(node_id, None)
            self._ended.pop(node_id, None)

    def of(self, node_id: int) -> InventorySums | None:
        """The last whole inventory of a node."""
        with self._lock:
            return self._ended.get(node_id)

    def totals(self) -> InventorySums:
        """The last whole inventories of all nodes, summed; `ended_at_ms` is the oldest one's."""
        with self._lock:
            ended = list(self._ended.values())
        return InventorySums(
            sum(each.chunks for each in ended),
            sum(each.bytes for each in ended),
            sum(each.lost for each in ended),
            sum(each.damaged for each in ended),
            sum(each.unknown for each in ended),
            sum(each.unknown_bytes for each in ended),
            min((each.ended_at_ms for each in ended), default=0),
        )
