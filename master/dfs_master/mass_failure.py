"""Many nodes that vanish at once are a cut cable or a lost room, not dead disks. Pure.

Copying everything that they hold would cost hours and disks for nothing, so repair waits for a person, or for them.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from dfs_master.membership import DEAD, LIVE, SUSPECT, KnownNode

#: Nodes that were last heard within this time of each other vanished at once.
AT_ONCE_SECONDS = 60.0
#: A part of all nodes that may vanish at once without being a mass failure.
SHARE = 0.25


@dataclass(frozen=True, slots=True)
class MassFailure:
    """Nodes that vanished together, and why that is too much to repair unasked."""

    node_ids: frozenset[int]
    reason: str


def mass_failures(nodes: Mapping[int, KnownNode], forced: Set[int] = frozenset()) -> list[MassFailure]:
    """Groups of absent nodes that nothing is repaired for. `forced`: those that an operator gave up."""
    absent = sorted(
        (node for node in nodes.values() if node.state != LIVE and _is_absent(node) and node.id not in forced),
        key=lambda node: (node.last_seen_at_ms, node.id),
    )
    found = []
    for group in _together(absent):
        reason = _reason(group, nodes)
        # While nobody of them is dead there is nothing to hold back: they may be back in a moment.
        if reason and any(node.state == DEAD for node in group):
            found.append(MassFailure(frozenset(node.id for node in group), reason))
    return found


def _is_absent(node: KnownNode) -> bool:
    """Silent, and nobody said that it would be."""
    return node.state == DEAD or (node.state == SUSPECT and not node.leaving and node.maintenance_until == 0)


def _together(absent: Iterable[KnownNode]) -> list[list[KnownNode]]:
    """Chains of nodes of which each vanished soon after the one before."""
    groups: list[list[KnownNode]] = []
    for node in absent:
        if groups and node.last_seen_at_ms - groups[-1][-1].last_seen_at_ms <= AT_ONCE_SECONDS * 1000:
            groups[-1].append(node)
        else:
            groups.append([node])
    return groups


def _reason(group: list[KnownNode], nodes: Mapping[int, KnownNode]) -> str:
    """Why a group is too many, or nothing."""
    if len(group) < 2:
        return ""
    if len(group) > len(nodes) * SHARE:
        return f"{len(group)} of {len(nodes)} nodes vanished at once"
    gone = {node.id for node in group}
    zones = {node.zone for node in nodes.values()}
    for zone in sorted({node.zone for node in group}):
        members = {node.id for node in nodes.values() if node.zone == zone}
        if len(zones) > 1 and len(members) > 1 and members <= gone:
            return f"all {len(members)} nodes of zone {zone or '(none)'} vanished at once"
    return ""
