"""Has sparse packs written anew, a few at a time. See `compacting`."""

import logging
import threading
from dataclasses import dataclass, field

from dfs_master.catalog.collect_rows import SparsePack
from dfs_master.catalog.mutations.compacting import AddPack, MoveExtents
from dfs_master.cluster import Cluster
from dfs_master.compacting import EXTENTS_MAX, is_sparse, live_slices
from dfs_wire import messages as m
from dfs_wire.errors import DfsError

log = logging.getLogger(__name__)

#: Chunks that one look goes over, and packs that are under way at a time.
LOOK_CHUNKS = 1_000
PACKS_AT_ONCE = 16
#: A pack that is not done within this time is given up; the next round looks at it again.
PACK_SECONDS = 600.0
#: Between the end of a round over all chunks and the next one.
ROUND_SECONDS = 300.0


@dataclass(slots=True)
class _Pack:
    """A pack under way. `made` is the digest that the first node named; `until` is monotonic time."""

    slices: list[m.Slice]
    generation: int
    asked: frozenset[int]
    until: float
    made: bytes = b""
    done: set[int] = field(default_factory=set)


class Compactor:
    """`step` belongs to one thread; `heard` and `look_again` are safe to call from any."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._packs: dict[bytes, _Pack] = {}
        self._after = 0
        self._look_at = 0.0

    def look_again(self) -> None:
        """Versions were removed: begin a round soon."""
        self._look_at = 0.0

    def step(self) -> None:
        """Finish what has its copies, give up what takes too long, begin with others."""
        percent = self._cluster.settings.current.compact_percent
        now = self._cluster.clock.monotonic()
        with self._lock:
            self._packs = {digest: pack for digest, pack in self._packs.items() if pack.until > now}
            made = [(digest, pack) for digest, pack in self._packs.items() if pack.made]
            room = PACKS_AT_ONCE - len(self._packs)
        for digest, pack in made:
            self._move(digest, pack)
        if percent <= 0 or room <= 0 or now < self._look_at:
            return
        found, last = self._cluster.reader.sparse_packs(self._after, LOOK_CHUNKS, percent)
        for each in [pack for pack in found if pack.digest not in self._packs][:room]:
            if is_sparse(each.live_bytes, each.size, percent) and each.extents <= EXTENTS_MAX:
                self._begin(each, now)
                self._after = each.id
        if len(found) <= room:
            self._after = last
        if self._after == 0:
            self._look_at = now + ROUND_SECONDS

    def heard(self, node_id: int, findings: list[m.Finding]) -> None:
        """A node wrote a pack anew, or could not."""
        for finding in findings:
            if finding.kind is m.FindingKind.REPACKED:
                self._repacked(node_id, finding)

    # -- one pack ----------------------------------------------------------------------------------------------

    def _begin(self, found: SparsePack, now: float) -> None:
        """Order it from every node that holds a verified copy and is to stay."""
        cluster = self._cluster
        nodes = cluster.registry.nodes
        holders = frozenset(each for each in found.good if each in nodes and nodes[each].stays)
        if len(holders) < max(1, found.copies_wanted):
            return  # repair comes first
        slices = live_slices(cluster.reader.slices_of(found.id, EXTENTS_MAX))
        generation = cluster.generations.next()
        with self._lock:
            self._packs[found.digest] = _Pack(slices, generation, holders, now + PACK_SECONDS)
        order = m.Order(m.OrderKind.REPACK, found.digest, generation, found.size, slices=slices)
        for node_id in holders:
            cluster.registry.order(node_id, order)

    def _repacked(self, node_id: int, finding: m.Finding) -> None:
        with self._lock:
            pack = self._packs.get(finding.digest)
            if pack is None or node_id not in pack.asked or node_id in pack.done:
                return
            if finding.ordered != pack.generation:
                return  # it answers an order that was given up: other slices may be needed by now
            pack.done.add(node_id)
            size = sum(each.length for each in pack.slices)
            agrees = finding.made_size == size and pack.made in (b"", finding.made)
            if not finding.made or not agrees:
                del self._packs[finding.digest]
                log.warning("pack %s stays as it is: node %d: %s", finding.digest.hex(), node_id, finding.detail)
                return
            pack.made = finding.made
        keep_until_ms = self._cluster.clock.wall_ms() + int(PACK_SECONDS * 1000)
        add = AddPack(finding.digest, finding.made, size, node_id, finding.generation, keep_until_ms)
        self._submit(add, finding.digest)

    def _move(self, digest: bytes, pack: _Pack) -> None:
        """Put the new pack in the old one's place as soon as all who were asked agree."""
        if pack.done != pack.asked:
            return

        def moved(result: int | DfsError) -> None:
            if isinstance(result, DfsError) or result == 0:
                return  # copies are still missing, or a commit came between: until its time is over it is tried again
            with self._lock:
                self._packs.pop(digest, None)
            # Meanwhile more of its files may have gone: the new pack may be sparse already.
            self.look_again()
            log.info("pack %s was written anew for %d extents", digest.hex(), result)

        try:
            self._cluster.committer.submit(MoveExtents(digest, pack.made, pack.slices), moved)
        except DfsError as error:
            log.info("a new pack waits: %s", error)

    def _submit(self, mutation: AddPack, digest: bytes) -> None:
        def added(result: bool | DfsError) -> None:
            if result is not True:
                with self._lock:
                    self._packs.pop(digest, None)

        try:
            self._cluster.committer.submit(mutation, added)
        except DfsError as error:
            added(error)
