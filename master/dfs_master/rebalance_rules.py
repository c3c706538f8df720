"""Which copies move so that nodes are about equally full: pure, from who is there, how full, and what is under way.

A copy is made first and confirmed; only then is the copy on the fuller node surplus, and trimmed like any other. So
no chunk has fewer copies on the way, and one place (`healing_rules`) decides which copy goes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dfs_master.catalog.models import ReplicaState
from dfs_master.catalog.reader_repair import ChunkCopies
from dfs_master.healing_rules import which_copy_goes
from dfs_master.membership import KnownNode
from dfs_master.placement import has_room
from dfs_master.repair_rules import Move, Traffic
from dfs_wire.messages import VolumeState


@dataclass(frozen=True, slots=True)
class Balance:
    """How uneven it is. Bytes above the even share by node, bytes below it by node, and how many must move."""

    donors: Mapping[int, int]
    takers: Mapping[int, int]
    bytes_left: int


EVEN = Balance({}, {}, 0)


def planned(nodes: Mapping[int, KnownNode], moves: Iterable[Move], surplus: Iterable[Move]) -> dict[int, KnownNode]:
    """The nodes as they will be when the moves under way ended, and surplus copies of those that ended are trimmed."""
    change: dict[int, int] = {}
    for move in moves:
        change[move.target] = change.get(move.target, 0) + move.size
        if move.rebalance:
            change[move.source] = change.get(move.source, 0) - move.size
    for move in surplus:
        change[move.source] = change.get(move.source, 0) - move.size
    after = dict(nodes)
    # In a large cluster most nodes stay as they are.
    for node_id in change.keys() & nodes.keys():
        node, more = nodes[node_id], change[node_id]
        after[node_id] = replace(
            node, used_bytes=max(0, node.used_bytes + more), free_bytes=node.free_bytes - max(0, more)
        )
    return after


def balance_of(nodes: Mapping[int, KnownNode], percent: float) -> Balance:
    """Who has too much and who too little. Even is where nobody differs from the whole by more than `percent`."""
    parts = [node for node in nodes.values() if _takes_part(node)]
    capacity = sum(node.capacity_bytes for node in parts)
    if len(parts) < 2 or percent <= 0 or capacity <= 0:
        return EVEN
    share = sum(node.used_bytes for node in parts) / capacity
    above = {node.id: node.used_bytes - round(share * node.capacity_bytes) for node in parts}
    band = {node.id: node.capacity_bytes * percent / 100 for node in parts}
    too_much = sum(max(0, above[each] - band[each]) for each in above)
    too_little = sum(max(0, -above[each] - band[each]) for each in above)
    left = round(max(too_much, too_little))
    if left == 0:
        return EVEN
    return Balance(
        {each: size for each, size in above.items() if size > 0},
        {each: -size for each, size in above.items() if size < 0},
        left,
    )


def _takes_part(node: KnownNode) -> bool:
    return node.stays and node.volume_state is not VolumeState.FAILED and node.capacity_bytes > 0


def plan_rebalance(
    donor: int, chunks: Iterable[ChunkCopies], nodes: Mapping[int, KnownNode], balance: Balance, traffic: Traffic
) -> list[Move]:
    """Moves of some of the donor's chunks to the nodes that lack most. `nodes` are as planned; each chunk has exactly
    its copies now, and the donor's is the one that will be surplus.
    """
    surplus = balance.donors.get(donor, 0)
    lacking = dict(balance.takers)
    moves: list[Move] = []
    for chunk in chunks:
        if not 0 < chunk.size <= surplus or chunk.digest in traffic.targets:
            continue
        if sum(nodes[each].stays for each in chunk.good if each in nodes) != chunk.copies_wanted:
            continue
        target = _taker(donor, chunk, nodes, lacking, traffic)
        if target is None:
            continue
        move = Move(chunk.id, chunk.digest, chunk.size, donor, target, rebalance=True)
        traffic.add(move)
        moves.append(move)
        surplus -= chunk.size
        lacking[target] -= chunk.size
    return moves


def _taker(
    donor: int, chunk: ChunkCopies, nodes: Mapping[int, KnownNode], lacking: Mapping[int, int], traffic: Traffic
) -> int | None:
    holders = {node_id for node_id, state in chunk.copies if state != ReplicaState.DELETED}
    for target in sorted(lacking, key=lambda each: (-lacking[each], each)):
        fits = lacking[target] >= chunk.size and target not in holders and not traffic.is_busy(target)
        if fits and has_room(nodes[target], chunk.size):
            with_it = {**nodes, target: replace(nodes[target], used_bytes=nodes[target].used_bytes + chunk.size)}
            if which_copy_goes(chunk.good | {target}, chunk.copies_wanted, with_it) == [donor]:
                return target
    return None
