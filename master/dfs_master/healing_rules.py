"""Which copy of a chunk goes when it has more than it needs: pure, and the only place that decides it.

Trimming calls it on what is on record; the rebalancer plans only moves whose surplus copy this function would take,
so that a copy which was moved is not moved back.
"""

from collections import Counter
from collections.abc import Mapping, Set

from dfs_master.membership import KnownNode


def fullness(node: KnownNode) -> float:
    """Share of the volume that chunks fill, 0 to 1. A volume without a known size counts as full."""
    return node.used_bytes / node.capacity_bytes if node.capacity_bytes > 0 else 1.0


def which_copy_goes(good: Set[int], wanted: int, nodes: Mapping[int, KnownNode]) -> list[int]:
    """The nodes whose copy of a chunk is surplus, in the order in which to give them up; often none.

    `good` are the nodes with a verified copy on record, whatever became of them. Only copies on nodes that serve and
    are to stay are counted and given up, so `wanted` of those are left, and one at least. A zone's only copy goes
    last, then the fullest node's first; between equals the highest id, so that everybody decides alike.
    """
    staying = sorted(node_id for node_id in good if node_id in nodes and nodes[node_id].stays)
    going: list[int] = []
    while len(staying) > max(1, wanted):
        in_zone = Counter(nodes[node_id].zone for node_id in staying)
        worst = max(staying, key=lambda each: (in_zone[nodes[each].zone] > 1, fullness(nodes[each]), each))
        staying.remove(worst)
        going.append(worst)
    return going
