"""Where copies are and why, in plain words: pure, from what is on record, who is there, and what is under way.

Sentences are for people and may change; programs read `stat`, `status` and the views of the database.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from dfs_master.catalog.models import ReplicaState
from dfs_master.membership import DEAD, KnownNode, Timing
from dfs_master.repair_rules import Fate, Move, fate_of
from dfs_runtime.words import plural
from dfs_wire.limits import GIB, KIB, MIB

_UNITS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
#: Chunks that are told of one by one; beyond that only groups that lie alike.
GROUPS_MAX = 20


@dataclass(frozen=True, slots=True)
class ChunkSeen:
    """A chunk with (node id, state) of its replicas on record."""

    digest: bytes
    size: int
    wanted: int
    copies: tuple[tuple[int, str], ...]

    @property
    def good(self) -> frozenset[int]:
        """The nodes whose copy was verified last."""
        return frozenset(node for node, state in self.copies if state == ReplicaState.GOOD)


@dataclass(frozen=True, slots=True)
class Scenery:
    """What explanations are judged by. `held`: absent nodes that nothing is repaired for; `now` is monotonic time."""

    nodes: Mapping[int, KnownNode]
    timing: Timing
    now: float
    under_way: Sequence[Move] = ()
    held: Set[int] = frozenset()
    safe_mode: bool = False

    def name(self, node_id: int) -> str:
        """What people call a node."""
        node = self.nodes.get(node_id)
        return node.name if node is not None else f"node {node_id} (forgotten)"


def size_text(size: int) -> str:
    """A size for people."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def counting(chunk: ChunkSeen, scenery: Scenery) -> int:
    """Verified copies on nodes whose copies count now."""
    return sum(node in scenery.nodes and scenery.nodes[node].copies_count for node in chunk.good)


def survives(chunks: Iterable[ChunkSeen], scenery: Scenery) -> int:
    """How many nodes may be lost, whichever they are, with every chunk still readable. -1: not all are readable now."""
    return min((counting(chunk, scenery) for chunk in chunks), default=len(scenery.nodes)) - 1


def about_chunks(chunks: Sequence[ChunkSeen], scenery: Scenery) -> list[str]:
    """Where chunks are, those that lie alike together; what they survive; what is under way for them."""
    groups: dict[tuple[int, tuple[tuple[int, str], ...]], list[ChunkSeen]] = {}
    for chunk in chunks:
        groups.setdefault((chunk.wanted, chunk.copies), []).append(chunk)
    sentences: list[str] = []
    for (wanted, copies), alike in list(groups.items())[:GROUPS_MAX]:
        places = ", ".join(_place(node, state, scenery) for node, state in copies) or "nowhere"
        sentences.append(f"{_what(alike)}: {plural(wanted, 'copy')} wanted; {places}.")
        sentences += _lacking(alike[0], scenery)
    if len(groups) > GROUPS_MAX:
        sentences.append(f"{len(groups) - GROUPS_MAX} more groups of chunks lie elsewhere.")
    sentences += _spread(chunks, scenery)
    sentences.append(_survival(survives(chunks, scenery)))
    sentences += _under_way({chunk.digest for chunk in chunks}, scenery)
    return sentences


def about_node(node: KnownNode, chunks: int, size: int, needed: int, scenery: Scenery) -> list[str]:
    """A node: its state and why, what it holds, and what would lack a copy without it (`needed` chunks)."""
    holds = f"On record there: {plural(chunks, 'verified copy')}, {size_text(size)}."
    if needed:
        stop = f"{plural(needed, 'chunk')} would have too few copies without it: it is not safe to lose."
    else:
        stop = "Every chunk has enough copies on other nodes: it is safe to stop."
    moves = [move for move in scenery.under_way if node.id in (move.source, move.target)]
    taking = sum(move.target == node.id for move in moves)
    giving = len(moves) - taking
    moving = f"Under way: {plural(taking, 'copy')} to it, {plural(giving, 'copy')} from it."
    return [_state(node, scenery), holds, stop, moving]


def _what(chunks: Sequence[ChunkSeen]) -> str:
    if len(chunks) == 1:
        return f"Chunk {chunks[0].digest.hex()[:16]} ({size_text(chunks[0].size)})"
    return f"{len(chunks)} chunks ({size_text(sum(chunk.size for chunk in chunks))})"


def _place(node_id: int, state: str, scenery: Scenery) -> str:
    node = scenery.nodes.get(node_id)
    told = {ReplicaState.BAD: "a damaged copy", ReplicaState.MISSING: "a lost copy"}.get(
        ReplicaState(state), "a copy" if state == ReplicaState.GOOD else "a copy that is being deleted"
    )
    if node is None:
        return f"{told} on {scenery.name(node_id)}"
    zone = f", zone {node.zone}" if node.zone else ""
    return f"{told} on {node.name} ({node.state}{zone})"


def _lacking(chunk: ChunkSeen, scenery: Scenery) -> list[str]:
    """Why there are too few, and when something is done about it."""
    if counting(chunk, scenery) >= chunk.wanted:
        return []
    fates = {node_id: fate_of(scenery.nodes.get(node_id), scenery.held) for node_id in chunk.good}
    sentences = []
    for node_id, fate in fates.items():
        node = scenery.nodes.get(node_id)
        if fate is Fate.WAITS and node is not None:
            sentences.append(f"The copy on {node.name} does not count now: {_patience(node, scenery)}.")
        elif fate is Fate.GONE:
            sentences.append(f"The copy on {scenery.name(node_id)} no longer counts; another one is made.")
    if scenery.safe_mode:
        sentences.append("Nothing is repaired yet: the master has just started and waits for its nodes (safe mode).")
    return sentences


def _patience(node: KnownNode, scenery: Scenery) -> str:
    """What is waited for."""
    if node.id in scenery.held:
        return "many nodes vanished at once, so nothing is repaired until they are back, or `dfs repair --force`"
    if node.maintenance_until > scenery.now:
        return f"maintenance, for {node.maintenance_until - scenery.now:.0f} s more at the most"
    patience = scenery.timing.left_seconds if node.leaving else scenery.timing.dead_seconds
    left = node.heard_at + patience - scenery.now
    if node.state == DEAD or left <= 0:
        return "repair begins"
    return f"it is {node.state}; repair begins in {left:.0f} s unless it comes back"


def _spread(chunks: Sequence[ChunkSeen], scenery: Scenery) -> list[str]:
    """Why the copies are where they are."""
    if not chunks:
        return []
    zones = Counter(node.zone for node in scenery.nodes.values() if node.zone)
    first = "zones that hold no copy yet come first, then " if len(zones) > 1 else ""
    return [f"Each copy is on a node of its own; {first}nodes with more free space are likelier to be chosen."]


def _survival(count: int) -> str:
    if count < 0:
        return "It cannot be read in full now: a chunk has no verified copy on a node that is there."
    if count == 0:
        return "It can be read, and survives no further loss: a chunk has one verified copy left."
    return f"It survives the loss of any {plural(count, 'node')} at once."


def _under_way(digests: Set[bytes], scenery: Scenery) -> list[str]:
    moves = [move for move in scenery.under_way if move.digest in digests]
    if not moves:
        return ["Nothing is under way for it."]
    pairs = Counter((scenery.name(move.source), scenery.name(move.target)) for move in moves)
    return [f"Under way: {plural(count, 'copy')} from {giver} to {taker}." for (giver, taker), count in pairs.items()]


def _state(node: KnownNode, scenery: Scenery) -> str:
    zone = f" in zone {node.zone}" if node.zone else ""
    silent = "not heard since the master began"
    if node.heard:
        silent = f"heard {max(scenery.now - node.heard_at, 0):.0f} s ago"
    return f"{node.name}{zone} is {node.state}, {silent}; its volume is {node.volume_state}."
