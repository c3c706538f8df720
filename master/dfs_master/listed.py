"""Which copies a node answers for: those that it listed since it took up service.

A record says `good` however long its node was away, and registering proves the volume's identity, not its chunks. So a
copy is a reason to give up another only when the node's inventory of its present process is taken whole. Copies on
which page and record differed stay in doubt until the node has looked at them, which it is asked to do at once; what
was stored after the inventory was stored by the process that runs now.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from dfs_wire.limits import DIGEST_BYTES

#: With more copies in doubt a node answers for none until its next inventory: they are remembered in memory.
DOUBTS_MAX = 200_000
_LEAST, _GREATEST = bytes(DIGEST_BYTES), b"\xff" * DIGEST_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A whole inventory of a node's present process.

    `doubts`: copies on which it differed from the record, each with its `verified_at` as it was then. Whatever was
    learnt of the copy since has changed that.
    """

    doubts: Mapping[bytes, int] = field(default_factory=dict)

    def vouches(self, digest: bytes, verified_at: int) -> bool:
        """Whether the node answers for a copy that is on record as verified at that time."""
        return self.doubts.get(digest) != verified_at


@dataclass(slots=True)
class _UnderWay:
    registration: int
    covered_to: bytes
    doubts: dict[bytes, int]


class Listings:
    """Puts the pages of each node's inventory together. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[int, _UnderWay] = {}

    def take(
        self, node_id: int, registration: int, first: bytes, last: bytes, doubts: Mapping[bytes, int]
    ) -> Listed | None:
        """Take in a page from digest `first` to `last`; the whole inventory with its last page.

        Pages that do not follow on each other, or came under two registrations, make none: one may be of a process
        that is gone.
        """
        with self._lock:
            if first == _LEAST:
                listing = _UnderWay(registration, b"", {})
            else:
                listing = self._under_way.pop(node_id, _UnderWay(-1, b"", {}))
                if listing.registration != registration or not _follows(listing.covered_to, first):
                    return None
            listing.covered_to = last
            # One more than the most is enough to know that they are too many.
            listing.doubts.update(list(doubts.items())[: DOUBTS_MAX + 1 - len(listing.doubts)])
            if last != _GREATEST:
                self._under_way[node_id] = listing
                return None
        return Listed(listing.doubts) if len(listing.doubts) <= DOUBTS_MAX else None


def _follows(last: bytes, first: bytes) -> bool:
    return int.from_bytes(first, "big") == int.from_bytes(last, "big") + 1
