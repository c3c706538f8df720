"""How repair stands, in words: pure, from what the repairer knows and who is there."""

from collections.abc import Mapping
from datetime import UTC, datetime

from dfs_master.membership import SUSPECT, KnownNode, Timing
from dfs_master.repair_rules import Obstacle
from dfs_master.repairer import RepairView

IDLE, WORKING, WAITING, STOPPED = "idle", "working", "waiting", "stopped"

_STUCK = {
    Obstacle.NO_SOURCE: "{count} chunks have no copy that can be read; start the dead nodes",
    Obstacle.TOO_FEW_NODES: "{count} chunks wait: every node that is there has a copy already; start the dead nodes, "
    "or add one",
    Obstacle.NO_ROOM: "{count} chunks wait: no node has room for one more copy; add a node, or delete files",
}


def state_of(view: RepairView, nodes: Mapping[int, KnownNode], *, is_held: bool) -> str:
    """One word for it. `is_held`: nothing may be repaired now."""
    if view.failures or is_held:
        return STOPPED if view.failures else WAITING
    if view.under_way or view.chunks_left > sum(view.stuck.values()):
        return WORKING
    # Copies on a silent node do not count, and are not made anew before it is dead.
    silent = any(node.state == SUSPECT and not node.maintenance_until for node in nodes.values())
    return WAITING if view.chunks_left or silent else IDLE


def seconds_left(view: RepairView) -> int:
    """How long the rest takes at the rate of late; -1 where nobody knows."""
    if view.bytes_left == 0 and not view.counting:
        return 0
    if view.bytes_per_second <= 0 or view.counting:
        return -1
    return round(view.bytes_left / view.bytes_per_second)


def reasons(
    view: RepairView, nodes: Mapping[int, KnownNode], now: float, now_ms: int, timing: Timing, held_reason: str
) -> list[str]:
    """Why nothing is done, or not all, or nothing yet: sentences, the most important first."""
    found: list[str] = []
    if held_reason:
        found.append(held_reason)
    for failure in view.failures:
        names = ", ".join(nodes[each].name for each in sorted(failure.node_ids) if each in nodes)
        found.append(
            f"{failure.reason} ({names}), so nothing is copied because of them: start them, or give them up with "
            "`dfs repair --force`"
        )
    found += [_STUCK[obstacle].format(count=view.stuck[obstacle]) for obstacle in _STUCK if view.stuck.get(obstacle)]
    held = {node_id for failure in view.failures for node_id in failure.node_ids}
    for node in sorted(nodes.values(), key=lambda each: each.id):
        if node.id not in held:
            found += _silence(node, now, now_ms, timing)
    return found


def _silence(node: KnownNode, now: float, now_ms: int, timing: Timing) -> list[str]:
    """What is waited for at one node."""
    if node.maintenance_until > now:
        until = datetime.fromtimestamp((now_ms + (node.maintenance_until - now) * 1000) / 1000, UTC)
        where = "away" if node.state == SUSPECT else "there"
        return [
            f"{node.name} is in maintenance until {until:%Y-%m-%d %H:%M:%S} UTC and {where}; nothing is copied for it"
        ]
    if node.state == SUSPECT and node.heard:
        patience = timing.left_seconds if node.leaving else timing.dead_seconds
        left = max(0, round(node.heard_at + patience - now))
        said = "said that it stops" if node.leaving else "is silent"
        return [f"{node.name} {said}; if it is not back in {left} s, its copies are made anew"]
    if node.settling:
        left = max(0, round(node.settles_at - now))
        return [f"{node.name} comes and goes; it is relied on again when it stayed for {left} s more"]
    return []
