"""The table of verbs, and the limits: the rules that both ends rely on."""

import inspect

import pytest

from dfs_wire import limits, verbs
from dfs_wire import messages as m
from dfs_wire.errors import NotAllowedError, ProtocolError
from dfs_wire.messages import Role
from dfs_wire.service import Session, authorise, check_handlers, find_rule
from dfs_wire.verbs import BY_NUMBER, RULES, Body, Rule, Server

#: Who may call what, written down a second time and by hand: a change of the table must be meant.
ALLOWED = {
    "Hello": {Role.STRANGER},
    "Ping": {Role.CLIENT, Role.ADMIN, Role.JOIN, Role.NODE, Role.TICKET},
    **{name: {Role.TICKET} for name in ("PutChunk", "GetChunk", "RenewReceipts", "ProveJoin")},
    "Inventory": {Role.NODE},
    **{name: {Role.ADMIN} for name in ("AcceptDatabase", "ReportFinding")},
    "Register": {Role.JOIN, Role.NODE},
    "Heartbeat": {Role.NODE},
    **{name: {Role.ADMIN} for name in ("RepairStatus", "ForceRepair", "SetMaintenance", "PauseRebalance")},
    **{name: {Role.ADMIN} for name in ("Status", "DrainNode", "DrainProgress", "RemoveNode")},
    **{name: {Role.ADMIN} for name in ("ListSettings", "SetSetting", "Explain", "SpaceDetail")},
}
USERS = {Role.CLIENT, Role.ADMIN}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("role", Role)
def test_every_verb_is_refused_unless_its_rule_allows_the_role(rule: Rule, role: Role) -> None:
    """Deny by default, for each verb and each role, a stranger included."""
    session = Session("peer", role=role)
    if role in ALLOWED.get(rule.name, USERS):
        authorise(session, rule)
    else:
        with pytest.raises(NotAllowedError):
            authorise(session, rule)


def test_a_number_is_served_only_where_it_belongs() -> None:
    """Master verbs at a node, node verbs at the master, and numbers without a rule are no verbs at all."""
    for number in range(300):
        rule = BY_NUMBER.get(number)
        for server in (Server.MASTER, Server.NODE):
            if rule is not None and rule.server in (server, Server.BOTH):
                assert find_rule(number, server) is rule
            else:
                with pytest.raises(ProtocolError):
                    find_rule(number, server)


def test_every_request_has_a_rule_and_a_reply() -> None:
    """No header is left over: each is a request, a reply, or the error."""
    headers = {kind for _, kind in inspect.getmembers(m, inspect.isclass) if issubclass(kind, m.Header)}
    used = {rule.request for rule in RULES} | {rule.reply for rule in RULES}
    assert headers - used == {m.Header, m.ErrorReply}


def test_chunk_bodies_are_for_nodes_only() -> None:
    """No chunk's bytes pass through the master."""
    for rule in RULES:
        if Body.CHUNK in (rule.body, rule.reply_body):
            assert rule.server is Server.NODE


def test_a_missing_or_unknown_handler_is_found_at_start() -> None:
    """A server with a verb too few or too many does not start."""
    wanted = {rule.request for rule in RULES if rule.server in (Server.NODE, Server.BOTH)}
    small = wanted - {m.Hello, m.PutChunk, m.GetChunk}
    check_handlers(small, Server.NODE, chunk_verbs=True)
    for wrong in (small - {m.Ping}, small | {m.Plan}, small | {m.PutChunk}):
        with pytest.raises(ValueError, match="handlers missing"):
            check_handlers(wrong, Server.NODE, chunk_verbs=True)


def test_limits_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relations are checked when the module is imported."""
    limits._check_relations()
    monkeypatch.setattr(limits, "RECEIPT_SECONDS", limits.ORPHAN_SECONDS + 1)
    with pytest.raises(ValueError, match="a receipt dies before its orphan"):
        limits._check_relations()


def test_limits_fit_each_other() -> None:
    """What must fit into a frame does: the largest plan, a full page, a ticket before a chunk."""
    assert limits.PLAN_CHUNKS_MAX * 64 < limits.LIST_BODY_BYTES_MAX
    assert limits.LIST_PAGE_ENTRIES_MAX * (limits.PATH_BYTES_MAX + 200) < limits.LIST_BODY_BYTES_MAX
    assert limits.CHUNK_BYTES_MAX > limits.EAGER_BODY_BYTES_MAX
    assert limits.COPIES_MAX * 200 < limits.HEADER_BYTES_MAX
    assert limits.HEARTBEAT_SECONDS * 3 <= limits.SUSPECT_SECONDS
    assert len(verbs.RULES) == len(verbs.BY_REQUEST)
