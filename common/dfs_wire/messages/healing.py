"""What mends by itself, as operators see and steer it: repair, rebalance, maintenance."""

from dfs_wire.messages.base import Header


class RepairStatus(Header, frozen=True, kw_only=True):
    """How far is the repair, and what does it wait for?"""


class RepairStatusReply(Header, frozen=True, kw_only=True):
    """`state`: `idle` (nothing is missing), `working`, `waiting` (nothing can be done now), `stopped` (a person must
    decide). `reasons`: sentences, the most important first. `*_left` are of copies that are missing; with `counting`
    they still grow. `seconds_left` is -1 where nobody knows. The rebalance is `even`, `working`, `waiting`, `paused`
    or `off`.
    """

    state: str
    reasons: list[str] = []
    chunks_left: int = 0
    bytes_left: int = 0
    bytes_per_second: int = 0
    seconds_left: int = -1
    under_way: int = 0
    counting: bool = False
    rebalance: str = "even"
    rebalance_bytes_left: int = 0
    rebalance_bytes_per_second: int = 0
    rebalance_seconds_left: int = -1


class ForceRepair(Header, frozen=True, kw_only=True):
    """Repair what nodes held that vanished at once: the operator gives them up."""


class ForceRepairReply(Header, frozen=True, kw_only=True):
    """The names of the nodes that were given up; none where repair was not held back."""

    nodes: list[str] = []


class SetMaintenance(Header, frozen=True, kw_only=True):
    """Let a node be away for so many seconds (0: four hours) without repair, or, with `off`, end that."""

    node_id: int
    off: bool = False
    seconds: int = 0


class SetMaintenanceReply(Header, frozen=True, kw_only=True):
    """When it ends by itself; 0 where the node is in no maintenance."""

    until_ms: int = 0


class PauseRebalance(Header, frozen=True, kw_only=True):
    """Move no copies to even out how full nodes are, or, with `paused` false, go on."""

    paused: bool = True
