"""Nodes that may have lost what is on record: whoever looks at many chunks at once leaves their copies out."""

from collections.abc import Iterable
from itertools import islice

from dfs_master.catalog.models import ReplicaState
from dfs_master.catalog.reader import Reader
from dfs_master.listed import Listed
from dfs_master.membership import KnownNode

#: Copies in doubt that are looked up at a time.
_PIECE = 1_024


def unsure_nodes(nodes: Iterable[KnownNode], reader: Reader) -> tuple[int, ...]:
    """Ids, in order, of the nodes without an inventory since they took up service, and of those that have not looked
    yet at a copy which it left in doubt.
    """
    return tuple(sorted(node.id for node in nodes if node.listed is None or _has_doubts(node.id, node.listed, reader)))


def _has_doubts(node_id: int, listed: Listed, reader: Reader) -> bool:
    left = iter(listed.doubts)
    while piece := list(islice(left, _PIECE)):
        for digest, known in reader.known_copies(piece).items():
            mine = next((row for row in known.replicas if row.node_id == node_id), None)
            if mine is not None and mine.state == ReplicaState.GOOD and not listed.vouches(digest, mine.verified_at):
                return True
    return False
