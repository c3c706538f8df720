"""Which copy goes where: pure, from what is on record, who is there, and what is under way."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from dfs_master.catalog.reader_moves import CopyToMove
from dfs_master.membership import KnownNode
from dfs_master.placement import choose
from dfs_wire.errors import DfsError

#: Orders that wait at a node or are carried out there; the node copies two at a time, and must not run dry between
#: two heartbeats.
ORDERS_PER_TARGET_MAX = 16


@dataclass(frozen=True, slots=True)
class Move:
    """A copy under way. `until` is monotonic time: after that the order counts as lost, and is given anew."""

    digest: bytes
    size: int
    source: int
    target: int
    until: float = 0.0


def plan_moves(
    candidates: Iterable[CopyToMove], nodes: Mapping[int, KnownNode], under_way: Iterable[Move], random: Random
) -> list[Move]:
    """New moves, one for each copy that a chunk lacks and nobody is making yet, as far as targets have room for them.

    The source is the reachable holder with the least to give out, the target as any new copy's.
    """
    making: Counter[bytes] = Counter(move.digest for move in under_way)
    giving: Counter[int] = Counter(move.source for move in under_way)
    taking: Counter[int] = Counter(move.target for move in under_way)
    targets: dict[bytes, set[int]] = {}
    for move in under_way:
        targets.setdefault(move.digest, set()).add(move.target)
    moves: list[Move] = []
    for chunk in candidates:
        holders = chunk.holders | targets.get(chunk.digest, set())
        sources = [node_id for node_id in chunk.good if node_id in nodes and nodes[node_id].reachable]
        for _ in range(chunk.copies_wanted - chunk.staying - making[chunk.digest]):
            busy = {node_id for node_id, count in taking.items() if count >= ORDERS_PER_TARGET_MAX}
            try:
                (target,) = choose(nodes.values(), 1, chunk.size, holders=holders, excluded=busy, random=random)
            except DfsError:
                break  # nobody can take it now; the next round looks again
            if not sources:
                break
            source = min(sources, key=lambda node_id: (giving[node_id], node_id))
            moves.append(Move(chunk.digest, chunk.size, source, target.id))
            giving[source] += 1
            taking[target.id] += 1
            holders = holders | {target.id}
    return moves
