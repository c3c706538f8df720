"""Who is there: a pure step from (nodes, time) to (nodes, changes). Threads and tables are elsewhere.

    live ──15 s silent──▶ suspect ──120 s silent──▶ dead
      ▲──────────────────────┴─────── heard again ────┘

`failed` (the volume had an I/O error), `draining` and `maintenance` are said, not observed: silence does not change
what a node was told, but it is shown as suspect or dead while it lasts. In maintenance nobody is dead until the time
that was given is over. A node that comes and goes is `settling` for a while after it came back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dfs_master.listed import Listed
from dfs_master.settings import Settings
from dfs_wire.limits import BUSY_HEARTBEAT_SECONDS, DEAD_SECONDS, HEARTBEAT_SECONDS, LEFT_SECONDS, SUSPECT_SECONDS
from dfs_wire.messages import AddressSet, VolumeState

LIVE = "live"
SUSPECT = "suspect"
DEAD = "dead"
DRAINING = "draining"
FAILED = "failed"
MAINTENANCE = "maintenance"

#: States of nodes that are there, whatever they may be used for.
PRESENT = frozenset({LIVE, DRAINING, MAINTENANCE, FAILED})

#: So many returns within `FLAP_DEADS` times the time to be dead make a node settle before it is relied on again: as
#: long as it takes to be dead, and twice as long for each return more, up to `SETTLE_DEADS_MAX` times that.
FLAP_RETURNS = 3
FLAP_DEADS = 10
SETTLE_DEADS_MAX = 8
#: A heartbeat costs the master 0.2 ms of processor time (docs/performance.md), so these cost it 0.04 of a core.
BUSY_BEATS_PER_SECOND = 200


@dataclass(frozen=True, slots=True)
class KnownNode:
    """One node as the master sees it now. `heard_at` is monotonic time, or when this master started."""

    id: int
    name: str
    address: str
    public_address: str
    zone: str = ""
    state: str = SUSPECT
    registration: int = 0
    capacity_bytes: int = 0
    used_bytes: int = 0
    free_bytes: int = 0
    filesystem_id: str = ""
    volume_state: VolumeState = VolumeState.OK
    draining: bool = False
    #: It said that it stops on purpose: no new data at once, but patience before it is dead.
    leaving: bool = False
    #: Until then (monotonic time) it may be away without being dead, and gets no new data; 0 is never.
    maintenance_until: float = 0.0
    #: It came and went several times lately: it gets new data only where nobody else can take it.
    settling: bool = False
    #: When it came back lately, in monotonic time, and until when it is settling.
    returns: tuple[float, ...] = ()
    settles_at: float = 0.0
    heard_at: float = 0.0
    #: Since this master started; before that nothing is known but the node's row.
    heard: bool = False
    last_seen_at_ms: int = 0
    registered_at_ms: int = 0
    #: When its last full pass of the scrub ended, 0 for never, and how far the one under way is.
    scrubbed_at_ms: int = 0
    scrub_permille: int = 0
    #: The last whole inventory of the process that runs now, None until it is taken.
    listed: Listed | None = None
    #: It is on its way out of the cluster: nothing that it says of a chunk counts any more.
    removing: bool = False

    @property
    def takes_data(self) -> bool:
        """Whether new chunks may go there."""
        return self.serves and self.volume_state is VolumeState.OK

    @property
    def serves(self) -> bool:
        """Whether it is there and its volume is sound; it may be full."""
        return self.state == LIVE and self.heard and self.volume_state is not VolumeState.FAILED

    @property
    def stays(self) -> bool:
        """Whether a verified copy there is one to rely on: the node serves, and it does not come and go."""
        # Written out: it is asked of every node in every step of repair.
        return self.state == LIVE and self.heard and not self.settling and self.volume_state is not VolumeState.FAILED

    def vouches(self, digest: bytes, verified_at: int) -> bool:
        """Whether the node answers for a copy on record since it took up service; before that it may have lost it."""
        return self.listed is not None and self.listed.vouches(digest, verified_at)

    @property
    def copies_count(self) -> bool:
        """Whether verified copies there count as copies that the policy asked for."""
        return self.state in (LIVE, DRAINING, MAINTENANCE) and self.volume_state is not VolumeState.FAILED

    @property
    def receipts_count(self) -> bool:
        """Whether a receipt of this node is believed: of one that is silent for a moment it is, it may have signed it
        just now; of one that is dead, was replaced or is being removed, the chunk is as lost as its other copies.
        """
        gone = self.removing or self.state == DEAD or self.volume_state is VolumeState.FAILED
        return self.registration > 0 and not gone

    @property
    def reachable(self) -> bool:
        """Whether a reader may try: a silent node may still answer."""
        return self.state != DEAD

    def address_for(self, which: AddressSet) -> str:
        """The address that a caller of this address set can reach."""
        return self.public_address if which is AddressSet.PUBLIC else self.address


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of silence."""

    suspect_seconds: float = SUSPECT_SECONDS
    dead_seconds: float = DEAD_SECONDS
    #: The same after an announced stop.
    left_seconds: float = LEFT_SECONDS


def timing_of(settings: Settings) -> Timing:
    """The seconds of silence that an operator's settings amount to."""
    return Timing(settings.suspect_seconds, settings.dead_seconds, settings.left_seconds)


@dataclass(frozen=True, slots=True)
class StateChange:
    """What the nodes' rows and the events must learn."""

    node: KnownNode
    before: str


def observed_state(node: KnownNode, now: float, timing: Timing) -> str:
    """The state that silence, the volume and the operator's word amount to."""
    silent = now - node.heard_at
    in_maintenance = node.maintenance_until > now
    if in_maintenance and (silent >= timing.suspect_seconds or node.leaving or not node.heard):
        return SUSPECT
    if silent >= (timing.left_seconds if node.leaving else timing.dead_seconds):
        return DEAD
    if silent >= timing.suspect_seconds or node.leaving or not node.heard:
        # A master that just started believes nobody to be dead, and nobody to be there.
        return DEAD if node.state == DEAD else SUSPECT
    if node.volume_state is VolumeState.FAILED:
        return FAILED
    if in_maintenance:
        return MAINTENANCE
    return DRAINING if node.draining else LIVE


def dies_soon(node: KnownNode, now: float, timing: Timing, seconds: float) -> bool:
    """Whether a silent node will be dead within so many seconds unless it is heard."""
    return node.state == SUSPECT and observed_state(node, now + seconds, timing) == DEAD


def came_back(node: KnownNode, now: float, timing: Timing) -> KnownNode:
    """The node after it was suspect or dead and is there again: it settles if that happened often lately."""
    since = now - FLAP_DEADS * timing.dead_seconds
    returns = (*(at for at in node.returns if at > since), now)
    too_many = len(returns) - FLAP_RETURNS
    if too_many < 0:
        return replace(node, returns=returns)
    seconds = timing.dead_seconds * min(2**too_many, SETTLE_DEADS_MAX)
    return replace(node, returns=returns, settles_at=now + seconds, settling=True)


def step(
    nodes: Mapping[int, KnownNode], now: float, timing: Timing, *, late_seconds: float = 0.0
) -> tuple[dict[int, KnownNode], list[StateChange]]:
    """Let time pass. `late_seconds` is by how much the master itself was late: nodes are not blamed for that."""
    after: dict[int, KnownNode] = {}
    changes: list[StateChange] = []
    for node in nodes.values():
        # Never into the future: what was heard while the master was late needs less forgiveness.
        forgiven = replace(node, heard_at=min(node.heard_at + late_seconds, now)) if late_seconds else node
        if forgiven.settling and now >= forgiven.settles_at:
            forgiven = replace(forgiven, settling=False)
        state = observed_state(forgiven, now, timing)
        if state in PRESENT and node.state not in PRESENT:
            forgiven = came_back(forgiven, now, timing)
        after[node.id] = replace(forgiven, state=state) if state != node.state else forgiven
        if state != node.state:
            changes.append(StateChange(after[node.id], node.state))
    return after, changes


def busy_beat_seconds(nodes: int) -> float:
    """How soon nodes should come for orders while some are likely, for a cluster of so many: all of them together
    never ask the master for more than `BUSY_BEATS_PER_SECOND`, unless they are so many that they do so anyway.
    """
    return min(HEARTBEAT_SECONDS, max(BUSY_HEARTBEAT_SECONDS, nodes / BUSY_BEATS_PER_SECOND))


def capacity(nodes: Iterable[KnownNode]) -> tuple[int, int, int]:
    """Capacity, used and free bytes over nodes that serve; volumes on one file system share it and count once."""
    total = used = free = 0
    seen: set[str] = set()
    for node in nodes:
        if not node.copies_count:
            continue
        used += node.used_bytes
        if node.filesystem_id and node.filesystem_id in seen:
            continue
        seen.add(node.filesystem_id)
        total += node.capacity_bytes
        free += node.free_bytes
    return total, used, free
