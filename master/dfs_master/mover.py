"""Moves copies off draining nodes: plans a round, orders copies through heartbeats, hears how they went."""

import threading
from dataclasses import replace

from dfs_master.cluster import Cluster
from dfs_master.moving import Move, plan_moves
from dfs_wire import messages as m
from dfs_wire.limits import TICKET_SECONDS
from dfs_wire.tickets import read_mac

#: An order that nobody confirmed within this time is given anew.
MOVE_SECONDS = 120.0
#: Chunks that one round looks at for each node.
ROUND_CHUNKS = 256


class Mover:
    """`step` belongs to one thread of its own; `heard` is safe to call from any."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._under_way: dict[tuple[int, bytes], Move] = {}
        #: Where the next round goes on, for each draining node.
        self._after: dict[int, int] = {}

    def step(self) -> None:
        """One round: order what draining nodes hold alone to be copied elsewhere."""
        cluster = self._cluster
        nodes = cluster.registry.nodes
        draining = [node.id for node in nodes.values() if node.draining]
        if not draining:
            return
        now = cluster.clock.monotonic()
        with self._lock:
            self._under_way = {key: move for key, move in self._under_way.items() if move.until > now}
            under_way = list(self._under_way.values())
        for node_id in draining:
            after = self._after.get(node_id, 0)
            candidates = cluster.reader.copies_to_move(node_id, after, ROUND_CHUNKS)
            moves = plan_moves(candidates, nodes, under_way, cluster.random)
            for move in moves:
                self._order(replace(move, until=now + MOVE_SECONDS))
            under_way += moves
            # At the end of the list the next round begins anew: what failed is looked at again.
            full = len(candidates) == ROUND_CHUNKS and len(moves) == len(candidates)
            self._after[node_id] = candidates[-1].chunk_id if full else 0

    def heard(self, node_id: int, findings: list[m.Finding]) -> None:
        """A node told of copies that it made, or could not make."""
        for finding in findings:
            if finding.kind not in (m.FindingKind.STORED, m.FindingKind.NOT_STORED):
                continue
            with self._lock:
                move = self._under_way.pop((node_id, finding.digest), None)
            if move is not None and finding.kind is m.FindingKind.NOT_STORED:
                # The source's copy may be the reason: its own node should look.
                self._cluster.registry.order(move.source, m.Order(m.OrderKind.VERIFY, finding.digest))

    def _order(self, move: Move) -> None:
        cluster = self._cluster
        source = cluster.registry.nodes[move.source]
        expires_at_ms = cluster.clock.wall_ms() + TICKET_SECONDS * 1000
        order = m.Order(
            m.OrderKind.COPY,
            move.digest,
            cluster.generations.next(),
            move.size,
            move.source,
            source.address,
            expires_at_ms,
            read_mac(cluster.keys.of(move.source), cluster.cluster_id, move.source, move.digest, expires_at_ms),
        )
        with self._lock:
            self._under_way[move.target, move.digest] = move
        cluster.registry.order(move.target, order)
