"""The collector: frees what nobody needs any more, a bounded step at a time. See `collecting` for the way of a byte."""

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from dfs_master.catalog.collect_rows import ToDelete
from dfs_master.catalog.mutations.base import Mutation
from dfs_master.catalog.mutations.collecting import CollectChunks, ForgetDeleted, RemoveVersions, Step, TrimCopies
from dfs_master.cluster import Cluster
from dfs_master.collecting import REMEMBER_SECONDS, copies_to_trim, lost_to_trim, version_grace_seconds
from dfs_master.compactor import Compactor
from dfs_wire import messages as m
from dfs_wire.errors import DfsError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Transactions of one kind in a round, about 20 ms each.
STEPS_PER_ROUND = 8
#: Deletes that a node has to do at a time, in the order of their chunks.
WINDOW = 1_000
#: A delete that was not confirmed within this time is ordered anew.
ORDER_SECONDS = 60.0
#: Chunks that one step looks at for copies too many, in all and on each node.
TRIM_CHUNKS = 500
#: How often confirmed deletions that are old enough are looked for.
FORGET_EVERY_SECONDS = 300.0


class _Ordered(NamedTuple):
    """A delete that a node was told to do. `until` is monotonic time; a node that registers anew is told again."""

    generation: int
    registration: int
    until: float


class Collector:
    """`step` belongs to one thread. What is under way is on record: a new process goes on where this one ended."""

    def __init__(self, cluster: Cluster, compactor: Compactor) -> None:
        self._cluster = cluster
        self._busy: set[str] = set()
        self._ordered: dict[int, dict[bytes, _Ordered]] = {}
        self._surplus_after = 0
        self._lost_after: dict[int, int] = {}
        self._forget_at = 0.0
        self._compactor = compactor

    def step(self) -> None:
        """One round of all that is due. Nothing while the master may be wrong about what is needed."""
        if self._cluster.safe_mode.active:
            return
        now_ms = self._cluster.clock.wall_ms()
        settings = self._cluster.settings.current
        nodes = self._cluster.registry.nodes.values()
        full = any(node.serves and node.volume_state is m.VolumeState.FULL for node in nodes)
        grace = version_grace_seconds(settings.version_grace_seconds, any_volume_full=full)
        self._work_off("versions", lambda: RemoveVersions(now_ms - int(grace * 1000)))
        before_ms = now_ms - int(settings.chunk_grace_seconds * 1000)
        self._work_off("chunks", lambda: CollectChunks(before_ms, self._cluster.generations.next()))
        self._trim()
        self._order_deletes()
        self._forget()
        self._compactor.step()

    # -- the catalog -------------------------------------------------------------------------------------------

    def _work_off(self, what: str, make: Callable[[], Mutation[Step]]) -> None:
        """Submit steps of one kind one after the other until one says that nothing more is left.

        Only so many a round, so that users' commits find the committer free most of the time.
        """
        if what in self._busy:
            return
        left = iter(range(STEPS_PER_ROUND - 1))

        def deliver(result: Step | DfsError) -> None:
            if isinstance(result, Step) and result.done and what == "versions":
                self._compactor.look_again()
            if isinstance(result, Step) and result.more and next(left, None) is not None:
                self._submit(what, make(), deliver)
                return
            self._busy.discard(what)
            if isinstance(result, DfsError):
                log.warning("collecting %s was refused: %s", what, result)

        self._busy.add(what)
        self._submit(what, make(), deliver)

    def _submit(self, what: str, mutation: Mutation[T], deliver: Callable[[T | DfsError], None]) -> None:
        try:
            self._cluster.committer.submit(mutation, deliver)
        except DfsError as error:
            self._busy.discard(what)
            log.info("collecting %s waits: %s", what, error)

    def _forget(self) -> None:
        """Deletions that no receipt can contradict any more."""
        now = self._cluster.clock.monotonic()
        if now < self._forget_at:
            return
        self._forget_at = now + FORGET_EVERY_SECONDS
        before_ms = self._cluster.clock.wall_ms() - REMEMBER_SECONDS * 1000
        for node_id in self._cluster.registry.nodes:
            self._work_off(f"deletions of node {node_id}", partial(ForgetDeleted, node_id, before_ms))

    # -- copies too many ---------------------------------------------------------------------------------------

    def _trim(self) -> None:
        """Surplus copies, and lost ones that others have replaced."""
        if "copies" in self._busy:
            return
        nodes = self._cluster.registry.nodes
        reader = self._cluster.reader
        surplus = reader.surplus_chunks(self._surplus_after, TRIM_CHUNKS)
        self._surplus_after = surplus[-1].id if len(surplus) == TRIM_CHUNKS else 0
        copies = copies_to_trim(surplus, nodes)
        for node_id in nodes:
            lost = reader.lost_copies(node_id, self._lost_after.get(node_id, 0), TRIM_CHUNKS)
            self._lost_after[node_id] = lost[-1].id if len(lost) == TRIM_CHUNKS else 0
            copies += lost_to_trim(node_id, lost, nodes)
        if copies:
            self._busy.add("copies")
            self._submit("copies", TrimCopies(copies, self._cluster.generations.next()), self._trimmed)

    def _trimmed(self, result: int | DfsError) -> None:
        self._busy.discard("copies")
        if isinstance(result, DfsError):
            log.warning("giving up copies was refused: %s", result)
        elif result:
            log.info("%d copies that are not needed go", result)

    # -- orders ------------------------------------------------------------------------------------------------

    def _order_deletes(self) -> None:
        """Tell nodes that are there what is on record for them, until they confirm it."""
        registry = self._cluster.registry
        now = self._cluster.clock.monotonic()
        for node in registry.nodes.values():
            if not node.heard or not node.reachable:
                self._ordered.pop(node.id, None)
                continue
            before = self._ordered.get(node.id, {})
            ordered: dict[bytes, _Ordered] = {}
            for due in self._cluster.reader.copies_to_delete(node.id, WINDOW):
                known = before.get(due.digest)
                if known is None or known[:2] != (due.generation, node.registration) or known.until <= now:
                    known = _Ordered(due.generation, node.registration, now + ORDER_SECONDS)
                    registry.order(node.id, _delete(due))
                ordered[due.digest] = known
            self._ordered[node.id] = ordered


def _delete(due: ToDelete) -> m.Order:
    return m.Order(m.OrderKind.DELETE, due.digest, due.generation, due.size)
