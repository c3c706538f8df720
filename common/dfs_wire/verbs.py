"""The one table of verbs: number, request, reply, bodies, who may call. Without a rule, no verb is served."""

from enum import Enum, auto

import msgspec

from dfs_wire import messages as m
from dfs_wire.limits import LIST_BODY_BYTES_MAX, RENEW_BODY_BYTES_MAX
from dfs_wire.messages import Header, Role


class Body(Enum):
    """What follows a header."""

    NONE = auto()
    #: msgpack of a list or struct, at most `LIST_BODY_BYTES_MAX`, with a checksum in the fixed header.
    LIST = auto()
    #: The raw bytes of a chunk.
    CHUNK = auto()


class Server(Enum):
    """Who answers a verb."""

    MASTER = auto()
    NODE = auto()
    BOTH = auto()


class Rule(msgspec.Struct, frozen=True):
    """One line of the table."""

    number: int
    request: type[Header]
    reply: type[Header]
    server: Server
    roles: frozenset[Role]
    body: Body = Body.NONE
    reply_body: Body = Body.NONE
    #: Of a list body.
    body_bytes_max: int = LIST_BODY_BYTES_MAX

    @property
    def name(self) -> str:
        """The verb's name in logs and documents."""
        return self.request.__name__


_USERS = frozenset({Role.CLIENT, Role.ADMIN})
_ADMIN = frozenset({Role.ADMIN})
_NODE = frozenset({Role.NODE})
_TICKET = frozenset({Role.TICKET})
_ANYBODY = frozenset(set(Role) - {Role.STRANGER})

# Numbers are never used again for something else: a retired verb keeps its line as a comment.
RULES: tuple[Rule, ...] = (
    Rule(1, m.Hello, m.HelloReply, Server.BOTH, frozenset({Role.STRANGER})),
    Rule(2, m.Ping, m.Done, Server.BOTH, _ANYBODY),
    # -- clients at the master
    Rule(10, m.Plan, m.PlanReply, Server.MASTER, _USERS, Body.LIST, Body.LIST),
    Rule(11, m.Commit, m.OutcomesReply, Server.MASTER, _USERS, Body.LIST, Body.LIST),
    Rule(12, m.Open, m.OpenReply, Server.MASTER, _USERS, reply_body=Body.LIST),
    Rule(13, m.Stat, m.StatReply, Server.MASTER, _USERS, reply_body=Body.LIST),
    Rule(14, m.List, m.ListReply, Server.MASTER, _USERS, reply_body=Body.LIST),
    Rule(15, m.MakeDirectories, m.OutcomesReply, Server.MASTER, _USERS, Body.LIST, Body.LIST),
    Rule(16, m.Remove, m.Done, Server.MASTER, _USERS),
    Rule(17, m.Rename, m.Done, Server.MASTER, _USERS),
    Rule(18, m.SetPolicy, m.Done, Server.MASTER, _USERS),
    Rule(19, m.DiskUsage, m.DiskUsageReply, Server.MASTER, _USERS, reply_body=Body.LIST),
    Rule(20, m.Space, m.SpaceReply, Server.MASTER, _USERS),
    Rule(21, m.ReportCopy, m.Done, Server.MASTER, _USERS),
    Rule(22, m.TakeTickets, m.TakeTicketsReply, Server.MASTER, _USERS, reply_body=Body.LIST),
    Rule(23, m.OpenMany, m.OpenManyReply, Server.MASTER, _USERS, Body.LIST, Body.LIST),
    Rule(24, m.StatMany, m.StatManyReply, Server.MASTER, _USERS, Body.LIST, Body.LIST),
    # -- ticket holders at a node
    Rule(30, m.PutChunk, m.PutChunkReply, Server.NODE, _TICKET, Body.CHUNK),
    Rule(31, m.GetChunk, m.GetChunkReply, Server.NODE, _TICKET, reply_body=Body.CHUNK),
    Rule(32, m.RenewReceipts, m.RenewReceiptsReply, Server.NODE, _TICKET, Body.LIST, Body.LIST, RENEW_BODY_BYTES_MAX),
    Rule(33, m.ProveJoin, m.ProveJoinReply, Server.NODE, _TICKET),
    # -- nodes at the master
    Rule(40, m.Register, m.RegisterReply, Server.MASTER, frozenset({Role.JOIN, Role.NODE})),
    Rule(41, m.Heartbeat, m.HeartbeatReply, Server.MASTER, _NODE, Body.LIST, Body.LIST),
    Rule(42, m.Inventory, m.InventoryReply, Server.MASTER, _NODE, Body.LIST, Body.LIST),
    # -- operators at the master
    Rule(50, m.Status, m.StatusReply, Server.MASTER, _ADMIN, reply_body=Body.LIST),
    Rule(51, m.DrainNode, m.Done, Server.MASTER, _ADMIN),
    Rule(52, m.DrainProgress, m.DrainProgressReply, Server.MASTER, _ADMIN),
    Rule(53, m.RemoveNode, m.Done, Server.MASTER, _ADMIN),
    Rule(54, m.RepairStatus, m.RepairStatusReply, Server.MASTER, _ADMIN),
    Rule(55, m.ForceRepair, m.ForceRepairReply, Server.MASTER, _ADMIN),
    Rule(60, m.SetMaintenance, m.SetMaintenanceReply, Server.MASTER, _ADMIN),
    Rule(62, m.PauseRebalance, m.Done, Server.MASTER, _ADMIN),
    Rule(59, m.Explain, m.ExplainReply, Server.MASTER, _ADMIN, reply_body=Body.LIST),
    Rule(56, m.SpaceDetail, m.SpaceDetailReply, Server.MASTER, _ADMIN, reply_body=Body.LIST),
    Rule(57, m.ListSettings, m.ListSettingsReply, Server.MASTER, _ADMIN, reply_body=Body.LIST),
    Rule(58, m.SetSetting, m.Done, Server.MASTER, _ADMIN),
    Rule(61, m.AcceptDatabase, m.AcceptDatabaseReply, Server.MASTER, _ADMIN),
    Rule(63, m.ReportFinding, m.Done, Server.MASTER, _ADMIN),
)

BY_NUMBER: dict[int, Rule] = {rule.number: rule for rule in RULES}
BY_REQUEST: dict[type[Header], Rule] = {rule.request: rule for rule in RULES}

if not len(BY_NUMBER) == len(BY_REQUEST) == len(RULES):
    raise ValueError("a verb's number or request stands twice in the table")
