"""Copies under way: ordered through heartbeats, confirmed by findings, given up when nobody answers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from dfs_master.cluster import Cluster
from dfs_master.repair_rules import ORDERS_PER_NODE_MAX, Move, Traffic, Troubles
from dfs_wire import messages as m
from dfs_wire.errors import BusyError, NoSpaceError, VolumeFailedError
from dfs_wire.limits import TICKET_SECONDS
from dfs_wire.tickets import read_mac

#: An order that nobody confirmed within this time is given anew.
MOVE_SECONDS = 120.0
#: A copy that could not be read, or a node that could not take one, is left alone for so long.
TROUBLE_SECONDS = 30.0

_TARGETS_FAULT = (NoSpaceError.code, VolumeFailedError.code, BusyError.code)


@dataclass(frozen=True, slots=True)
class Done:
    """A move that ended. `stored`: the copy was made, read back, and is on record."""

    move: Move
    stored: bool


class CopyDesk:
    """Safe to use from several threads. `wake` is called when a node has little left to do."""

    def __init__(self, cluster: Cluster, wake: Callable[[], None] = lambda: None) -> None:
        self._cluster = cluster
        self._wake = wake
        self._lock = threading.Lock()
        self._under_way: dict[tuple[int, bytes], Move] = {}
        #: What is under way, counted by node.
        self._traffic = Traffic()
        self._done: list[Done] = []
        self._bad_sources: dict[tuple[bytes, int], float] = {}
        self._bad_targets: dict[tuple[bytes, int], float] = {}

    def under_way(self) -> list[Move]:
        """Every copy that is ordered and not confirmed."""
        with self._lock:
            return list(self._under_way.values())

    def traffic(self) -> Traffic:
        """The same counted by node, for a plan to add to."""
        with self._lock:
            return self._traffic.copy()

    def troubles(self, now: float) -> Troubles:
        """What went wrong lately."""
        with self._lock:
            for known in (self._bad_sources, self._bad_targets):
                for key in [key for key, until in known.items() if until <= now]:
                    del known[key]
            return Troubles(frozenset(self._bad_sources), frozenset(self._bad_targets))

    def order(self, move: Move) -> None:
        """Have a copy made."""
        cluster = self._cluster
        source = cluster.registry.nodes[move.source]
        expires_at_ms = cluster.clock.wall_ms() + TICKET_SECONDS * 1000
        order = m.Order(
            kind=m.OrderKind.COPY,
            digest=move.digest,
            generation=cluster.generations.next(),
            size=move.size,
            source_node=move.source,
            source_address=source.address,
            expires_at_ms=expires_at_ms,
            mac=read_mac(cluster.keys.of(move.source), cluster.cluster_id, move.source, move.digest, expires_at_ms),
            last_copy=move.last_copy,
            streams=int(cluster.settings.current.repair_streams),
        )
        with self._lock:
            self._forget(move.target, move.digest)
            self._under_way[move.target, move.digest] = replace(move, until=cluster.clock.monotonic() + MOVE_SECONDS)
            self._traffic.add(move)
        cluster.registry.order(move.target, order)

    def heard(self, node_id: int, findings: list[m.Finding]) -> None:
        """A node told of copies that it made, or could not make."""
        ended = [each for each in findings if each.kind in (m.FindingKind.STORED, m.FindingKind.NOT_STORED)]
        for finding in ended:
            self._ended(node_id, finding)
        if ended and self._traffic.taking[node_id] <= ORDERS_PER_NODE_MAX // 2:
            self._wake()

    def take_done(self, now: float, *, rebalance: bool) -> list[Done]:
        """The moves of one kind that ended since the last call; those that nobody confirmed in time are among them."""
        with self._lock:
            lost = [move for move in self._under_way.values() if move.until <= now]
            for move in lost:
                self._forget(move.target, move.digest)
                self._done.append(Done(move, stored=False))
            done = [each for each in self._done if each.move.rebalance is rebalance]
            self._done = [each for each in self._done if each.move.rebalance is not rebalance]
        return done

    def _ended(self, node_id: int, finding: m.Finding) -> None:
        stored = finding.kind is m.FindingKind.STORED
        with self._lock:
            move = self._forget(node_id, finding.digest)
            if move is None:
                return
            self._done.append(Done(move, stored))
            if stored:
                return
            until = self._cluster.clock.monotonic() + TROUBLE_SECONDS
            targets_fault = finding.detail.partition(":")[0] in _TARGETS_FAULT
            if targets_fault:
                self._bad_targets[move.digest, node_id] = until
            else:
                self._bad_sources[move.digest, move.source] = until
        if not targets_fault:
            # The source's copy may be the reason: its own node should look, before anybody believes it.
            self._cluster.registry.order(move.source, m.Order(m.OrderKind.VERIFY, move.digest))

    def _forget(self, node_id: int, digest: bytes) -> Move | None:
        """It is not under way any more; the lock is held."""
        move = self._under_way.pop((node_id, digest), None)
        if move is not None:
            self._traffic.remove(move)
        return move
