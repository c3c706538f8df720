"""Which copy is made where: pure, from what is on record, who is there, and what is under way.

A copy **stays** (verified, on a node that serves and is to stay), **waits** (its node is silent, in maintenance, or
settling: it may be back before a copy could be made), or is **gone** (its node is dead, failed or draining).
Repair makes the copies that are wanted and neither stay nor wait.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

from dfs_master.catalog.models import LOST_STATES, ReplicaState
from dfs_master.catalog.reader_repair import ChunkCopies
from dfs_master.membership import DEAD, FAILED, PRESENT, KnownNode
from dfs_master.placement import Crowd, choose, has_room_for_repair
from dfs_wire.errors import NoSpaceError, TooFewNodesError
from dfs_wire.limits import MIB
from dfs_wire.messages import VolumeState

#: Orders that wait at a node or are carried out there: enough to be busy until its next heartbeat.
ORDERS_PER_NODE_MAX = 64
ORDER_BYTES_PER_NODE_MAX = 128 * MIB
#: Of more nodes than this, one is drawn instead of chosen.
CROWD_NODES = 16


class Fate(Enum):
    """What becomes of the copies on a node."""

    STAYS = auto()
    WAITS = auto()
    GONE = auto()


def fate_of(node: KnownNode | None, held: Set[int] = frozenset()) -> Fate:
    """What the copies on a node count for in repair. `held`: absent nodes that nothing is repaired for."""
    if node is None or node.draining or node.volume_state is VolumeState.FAILED or node.state == FAILED:
        return Fate.GONE
    if node.state == DEAD:
        return Fate.WAITS if node.id in held else Fate.GONE
    return Fate.STAYS if node.stays else Fate.WAITS


@dataclass(frozen=True, slots=True)
class Move:
    """A copy under way. `until` is monotonic time: after that the order counts as lost, and is given anew."""

    chunk_id: int
    digest: bytes
    size: int
    source: int
    target: int
    #: The chunk has one verified copy left, or none that can be reached.
    last_copy: bool = False
    #: Nothing is missing: it evens out how full nodes are.
    rebalance: bool = False
    until: float = 0.0


class Obstacle(Enum):
    """Why a chunk gets no copy now."""

    #: Its nodes have as many orders as they take; the next round goes on.
    BUSY = auto()
    #: There are nodes, but they are full.
    NO_ROOM = auto()
    #: Each node that is there has a copy already.
    TOO_FEW_NODES = auto()
    #: No copy of it can be read.
    NO_SOURCE = auto()


@dataclass(frozen=True, slots=True)
class Need:
    """How a chunk stands: copies that nobody has, and verified ones on nodes that are there."""

    lacking: int
    left: int


def need_of(chunk: ChunkCopies, nodes: Mapping[int, KnownNode], held: Set[int]) -> Need:
    """What a chunk lacks, without regard to what is under way."""
    kept = left = 0
    for node_id in chunk.good:
        node = nodes.get(node_id)
        kept += fate_of(node, held) is not Fate.GONE
        left += node is not None and node.state in PRESENT
    return Need(max(0, chunk.copies_wanted - kept), left)


@dataclass(slots=True)
class Traffic:
    """What is under way, counted by node. A plan adds to it."""

    taking: Counter[int] = field(default_factory=Counter)
    taking_bytes: Counter[int] = field(default_factory=Counter)
    giving: Counter[int] = field(default_factory=Counter)
    targets: dict[bytes, frozenset[int]] = field(default_factory=dict)
    #: The nodes that have as many orders as they may have.
    busy: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, moves: Iterable[Move]) -> "Traffic":
        """The traffic of moves under way."""
        traffic = cls()
        for move in moves:
            traffic.add(move)
        return traffic

    def copy(self) -> "Traffic":
        """One of its own: for a plan, which may end otherwise."""
        return Traffic(
            self.taking.copy(), self.taking_bytes.copy(), self.giving.copy(), self.targets.copy(), self.busy.copy()
        )

    def add(self, move: Move) -> None:
        """One move more."""
        self.targets[move.digest] = self.targets.get(move.digest, frozenset()) | {move.target}
        self._count(move, 1)

    def remove(self, move: Move) -> None:
        """A move that was added ended."""
        left = self.targets[move.digest] - {move.target}
        if left:
            self.targets[move.digest] = left
        else:
            del self.targets[move.digest]
        self._count(move, -1)

    def _count(self, move: Move, change: int) -> None:
        target = move.target
        self.taking[target] += change
        self.taking_bytes[target] += move.size * change
        self.giving[move.source] += change
        if self.taking[target] >= ORDERS_PER_NODE_MAX or self.taking_bytes[target] >= ORDER_BYTES_PER_NODE_MAX:
            self.busy.add(target)
        else:
            self.busy.discard(target)

    def is_busy(self, node_id: int) -> bool:
        """Whether a node has as many orders as it may have."""
        return node_id in self.busy

    def room(self, node_id: int) -> int:
        """How many orders more a node may have."""
        return 0 if self.is_busy(node_id) else ORDERS_PER_NODE_MAX - self.taking[node_id]


@dataclass(frozen=True, slots=True)
class Troubles:
    """What went wrong lately: (digest, source) of copies that could not be read, (digest, target) that took none."""

    sources: Set[tuple[bytes, int]] = frozenset()
    targets: Set[tuple[bytes, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Scene:
    """What one round plans by: who is there, whom nothing is repaired for, what is under way, what went wrong."""

    nodes: Mapping[int, KnownNode]
    random: Random
    held: Set[int] = frozenset()
    traffic: Traffic = field(default_factory=Traffic)
    troubles: Troubles = field(default_factory=Troubles)
    #: All nodes, where there are many.
    crowd: Crowd | None = field(init=False)

    def __post_init__(self) -> None:
        crowd = Crowd(self.nodes.values(), self.random) if len(self.nodes) > CROWD_NODES else None
        object.__setattr__(self, "crowd", crowd)

    def choose(self, size: int, holders: Set[int], barred: Callable[[int], bool]) -> int | Obstacle:
        """A node for one copy more. In a large cluster one is drawn, so that a chunk does not cost by its nodes.

        `holders` have a copy; those of them that are not `barred` are none to choose either.
        """
        if self.crowd is not None:

            def may(node: KnownNode) -> bool:
                return has_room_for_repair(node, size) and node.id not in holders and not barred(node.id)

            zones = {self.nodes[each].zone for each in holders if each in self.nodes}
            drawn = self.crowd.draw(zones, may)
            if drawn is not None:
                return drawn.id
        return self._choose(self.nodes.values(), size, holders, barred)

    def _choose(
        self, nodes: Iterable[KnownNode], size: int, holders: Set[int], barred: Callable[[int], bool]
    ) -> int | Obstacle:
        among = [each for each in nodes if each.id in holders or not barred(each.id)]
        try:
            (target,) = choose(
                among,
                1,
                size,
                holders=holders,
                excluded=frozenset(),
                random=self.random,
                room=has_room_for_repair,
            )
        except NoSpaceError:
            return Obstacle.NO_ROOM
        except TooFewNodesError:
            return Obstacle.TOO_FEW_NODES
        return target.id


def plan_chunk(chunk: ChunkCopies, scene: Scene, need: Need | None = None) -> tuple[list[Move], Obstacle | None]:
    """Moves for the copies that one chunk lacks, and why they are fewer than it lacks.

    `need` is what it lacks without regard to what is under way, where the caller knows that already.
    """
    need = need or need_of(chunk, scene.nodes, scene.held)
    targets = scene.traffic.targets.get(chunk.digest)
    moves: list[Move] = []
    for _ in range(need.lacking - (len(targets - chunk.good) if targets else 0)):
        source = source_for(chunk, scene)
        if source is None:
            return moves, Obstacle.NO_SOURCE
        target = _target(chunk, scene)
        if isinstance(target, Obstacle):
            return moves, target
        move = Move(chunk.id, chunk.digest, chunk.size, source, target, last_copy=need.left <= 1)
        scene.traffic.add(move)
        moves.append(move)
    return moves, None


def source_for(chunk: ChunkCopies, scene: Scene) -> int | None:
    """The reachable holder to copy from: one without trouble lately, that is there, with the least to give out."""
    nodes = scene.nodes
    reachable = [node_id for node_id in chunk.good if node_id in nodes and nodes[node_id].reachable]

    def badness(node_id: int) -> tuple[bool, bool, bool, int, int]:
        node = nodes[node_id]
        return (
            (chunk.digest, node_id) in scene.troubles.sources,
            node.state not in PRESENT,
            node.volume_state is VolumeState.FAILED,
            scene.traffic.giving[node_id],
            node_id,
        )

    return min(reachable, key=badness, default=None)


def _target(chunk: ChunkCopies, scene: Scene) -> int | Obstacle:
    """The node for a new copy: one whose own copy went bad writes that anew, else as any new copy's."""
    nodes, traffic, refused = scene.nodes, scene.traffic, scene.troubles.targets
    taking = traffic.targets.get(chunk.digest, frozenset())
    good = chunk.good

    def is_unable(node_id: int) -> bool:
        return node_id in traffic.busy or (chunk.digest, node_id) in refused

    for node_id, state in chunk.copies:
        node = nodes.get(node_id)
        may = state in LOST_STATES and node is not None and not node.draining and has_room_for_repair(node, chunk.size)
        if may and node_id not in taking and not is_unable(node_id):
            return node_id
    # Copies that are gone keep their nodes out, and do not count for the spread over zones.
    holders = {each for each in good if fate_of(nodes.get(each), scene.held) is not Fate.GONE} | taking
    # Where a file was deleted a new one may come: its generation is above that of the delete.
    going = {node_id for node_id, state in chunk.copies if state == ReplicaState.DELETING} | good
    found = scene.choose(chunk.size, holders, lambda each: each in going or is_unable(each))
    if found is Obstacle.TOO_FEW_NODES:
        idle = (node.id for node in nodes.values() if node.serves and node.id not in going and node.id not in taking)
        return Obstacle.BUSY if any(is_unable(each) for each in idle) else found
    return found
