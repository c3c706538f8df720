"""`Inventory`: one page of what a node has, compared with the catalog; the reply names what the node should look at."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dfs_master.catalog.mutations.collecting import CollectOrphans
from dfs_master.catalog.mutations.records import AddEvent
from dfs_master.cluster import Cluster
from dfs_master.collecting import Orphan
from dfs_master.fence import ACCEPTED_AT
from dfs_master.inventories import Moment, PageFindings, compare, judge_unknown
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import ConflictError, NotAllowedError, NotFoundError, TooLargeError, UsageError
from dfs_wire.limits import DIGEST_BYTES, INVENTORY_PAGE_CHUNKS_MAX
from dfs_wire.service import Session

_LEAST, _GREATEST = bytes(DIGEST_BYTES), b"\xff" * DIGEST_BYTES

#: Orphans that one transaction takes.
ORPHANS_PER_STEP = 500

log = logging.getLogger(__name__)


class InventoryHandlers:
    """Called on a worker: a page has thousands of rows. Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def inventory(self, session: Session, request: m.Inventory, body: bytes) -> Answer[m.InventoryReply]:
        """Compare one page.

        Raises:
            NotAllowedError: a node speaks for itself only.
            NotFoundError, ConflictError: it did not register, or another process did since.
            UsageError, TooLargeError: the page is not what it says.
        """
        cluster = self._cluster
        self._require_registered(session, request)
        page = decode(body, list[m.InventoryChunk])
        _check(request, page)
        reader = cluster.reader
        with reader.snapshot():
            moment = Moment(
                # A node's idea of the master's time may run ahead: it must not judge what it did not see.
                min(request.started_at_ms, cluster.clock.wall_ms()),
                int(reader.setting(ACCEPTED_AT) or 0),
                cluster.settings.current.orphan_seconds,
            )
            records = reader.copies_on_node(request.node_id, request.first, request.last)
            findings = compare(records, page, started_at_ms=moment.started_at_ms)
            known = reader.known_copies([each.digest for each in findings.unknown])
        adopted, orphans = judge_unknown(
            findings.unknown,
            known,
            node_id=request.node_id,
            staying=frozenset(node.id for node in cluster.registry.nodes.values() if node.stays),
            moment=moment,
        )
        self._collect(request.node_id, orphans)
        self._book(request, page, findings)
        return Answer(m.InventoryReply(), encode_list([*findings.asks, *adopted]))

    def _collect(self, node_id: int, orphans: list[Orphan]) -> None:
        """Hand over what nobody needs. In safe mode nothing goes; the next inventory finds it again."""
        cluster = self._cluster
        if cluster.safe_mode.active:
            return
        for part in _batched(orphans):
            cluster.committer.submit(CollectOrphans(node_id, cluster.generations.next(), part), lambda _: None)

    def _require_registered(self, session: Session, request: m.Inventory) -> None:
        known = self._cluster.registry.nodes.get(request.node_id)
        if request.node_id != session.node_id:
            raise NotAllowedError("a node speaks for itself only")
        if known is None or not known.heard:
            raise NotFoundError("this master does not know the node; register first")
        if known.registration != request.registration:
            raise ConflictError("another process registered as this node since; is its volume in use twice?")

    def _book(self, request: m.Inventory, page: list[m.InventoryChunk], findings: PageFindings) -> None:
        cluster = self._cluster
        if request.first == _LEAST:
            cluster.inventories.begin(request.node_id)
        cluster.inventories.add(request.node_id, page, findings)
        listed = cluster.listings.take(
            request.node_id, request.registration, request.first, request.last, findings.doubts
        )
        if listed is not None:
            cluster.registry.change(
                request.node_id,
                lambda node: replace(node, listed=listed) if node.registration == request.registration else node,
            )
        if request.last == _GREATEST:
            self._end(request.node_id, cluster.clock.wall_ms())

    def _end(self, node_id: int, now_ms: int) -> None:
        """The last page: an event where something is amiss that was not so before."""
        sums, before = self._cluster.inventories.end(node_id, now_ms)
        amiss = (sums.lost, sums.damaged, sums.unknown)
        if any(amiss) and (before is None or amiss != (before.lost, before.damaged, before.unknown)):
            name = self._cluster.registry.nodes[node_id].name
            detail = {
                "node_id": node_id,
                "chunks": sums.chunks,
                "lost": sums.lost,
                "damaged": sums.damaged,
                "unknown": sums.unknown,
                "unknown_bytes": sums.unknown_bytes,
            }
            log.info("the inventory of node %s differs from the catalog", name, extra=detail)
            self._cluster.committer.submit(AddEvent("inventory", name, detail), lambda _: None)


def _check(request: m.Inventory, page: list[m.InventoryChunk]) -> None:
    if not len(request.first) == len(request.last) == DIGEST_BYTES or request.first > request.last:
        raise UsageError("an inventory's page goes from one digest to another of the same length, or a greater one")
    if len(page) > INVENTORY_PAGE_CHUNKS_MAX:
        raise TooLargeError(f"a page of {len(page)} chunks is over the limit of {INVENTORY_PAGE_CHUNKS_MAX}")
    if not all(request.first <= each.digest <= request.last for each in page):
        raise UsageError("an inventory's page holds a chunk outside of its range")


def _batched(orphans: Sequence[Orphan]) -> Iterator[Sequence[Orphan]]:
    for at in range(0, len(orphans), ORPHANS_PER_STEP):
        yield orphans[at : at + ORPHANS_PER_STEP]
