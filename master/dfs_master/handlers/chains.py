"""From nodes that were chosen to the hops of a write ticket."""

from collections.abc import Callable, Sequence

import msgspec

from dfs_master.cluster import Cluster
from dfs_master.membership import KnownNode
from dfs_wire import messages as m
from dfs_wire.service import Session

#: Key of the hop's node, cluster id, ticket, place of the hop, node ids of all hops -> MAC.
HopMac = Callable[[bytes, str, m.WriteTicket, int, Sequence[int]], bytes]


def signed_along(
    cluster: Cluster, session: Session, bare: m.WriteTicket, chosen: Sequence[KnownNode], mac: HopMac
) -> m.WriteTicket:
    """The ticket with one hop for each node, in that order, each with the MAC under its node's key.

    The client reaches the first hop by its own address set; nodes reach each other inside.
    """
    ids = [node.id for node in chosen]
    hops = [
        m.Hop(
            node.id,
            node.address_for(session.address_set) if place == 0 else node.address,
            mac(cluster.keys.of(node.id), cluster.cluster_id, bare, place, ids),
        )
        for place, node in enumerate(chosen)
    ]
    return msgspec.structs.replace(bare, hops=hops)
