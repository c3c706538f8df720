"""Whether this master's database is older than what its own nodes have seen: a backup that was restored under them.

Every node remembers the highest epoch and commit_seq that a master ever told it, and reports both. A master that is
behind that would take files for orphans that a newer database refers to, so it only serves reads and changes nothing
until an operator accepts the database as it is (`dfs db accept`).
"""

import threading
from typing import NamedTuple

#: Records of the master's own in the table `settings`.
SEEN_EPOCH = "seen_epoch"
SEEN_COMMIT_SEQ = "seen_commit_seq"
ACCEPTED_AT = "accepted_at"
LOST_IDS = "lost_ids"
LOST_FROM = "lost_from"

#: What no master's metadata comes to: a generation has room for 2^23 epochs (`generations`). Who says that it has seen
#: more is not to be believed, or one sentence of it would be the end of every number above.
EPOCH_MAX = 1 << 22
COMMIT_SEQ_MAX = 1 << 62
#: How far accepting jumps above all that is known to have been seen: nodes that were not heard yet may have seen more.
EPOCH_JUMP = 1 << 10
COMMIT_SEQ_JUMP = 1 << 32
IDS_JUMP = 1 << 32

#: Verbs that are served while the master is read-only; every other one is refused, those that come later as well.
SERVED_READ_ONLY = frozenset(
    {
        *("Hello", "Ping", "Open", "OpenMany", "Stat", "StatMany", "List", "DiskUsage", "Space", "ReportCopy"),
        *("Register", "Heartbeat", "Inventory"),
        *("Status", "DrainProgress", "RepairStatus", "SpaceDetail", "ListSettings", "Explain"),
        *("AcceptDatabase", "ReportFinding"),
    }
)


class Point(NamedTuple):
    """A point in the life of a cluster's metadata."""

    epoch: int
    commit_seq: int


#: Before everything.
NOWHERE = Point(0, 0)


def is_ahead(seen: Point, *, begun: Point, commit_seq: int, first_contact: bool) -> bool:
    """Whether a node has seen metadata that this master does not have. Pure.

    `begun` is where this master began to serve (or an operator accepted its database), `commit_seq` where it is now.
    `first_contact`: the node was not heard by this master before. A node can know of this epoch only from this
    master, so one that comes with it has seen another master of the same number.
    """
    if seen.epoch > begun.epoch:
        return True
    if seen.epoch == begun.epoch:
        return first_contact or seen.commit_seq > commit_seq
    return seen.commit_seq > begun.commit_seq


def can_be(seen: Point, own: Point) -> bool:
    """Whether any master can have come so far. Pure. Where this one stands, others may stand as well."""
    return seen.epoch <= max(EPOCH_MAX, own.epoch) and seen.commit_seq <= max(COMMIT_SEQ_MAX, own.commit_seq)


def jumped(own: Point, seen: Point) -> Point:
    """Where a database goes on that was accepted: above all that anybody may have seen."""
    return Point(max(own.epoch, seen.epoch) + EPOCH_JUMP, max(own.commit_seq, seen.commit_seq) + COMMIT_SEQ_JUMP)


def was_lost(node_id: int, ranges: str) -> bool:
    """Whether an id may have been given out by the newer database that an accepted one took the place of.

    `ranges` is the record `lost_ids`: pairs `first-last`, separated by commas.
    """
    for each in filter(None, ranges.split(",")):
        first, _, last = each.partition("-")
        if int(first) <= node_id <= int(last):
            return True
    return False


class Fence:
    """What nodes have seen, and where this master began. Safe to use from several threads."""

    def __init__(self, begun: Point | None = None, *, next_id: int = 0) -> None:
        #: The first id that a newer database may have given out too, had this one been a copy when this master began.
        self.next_id = next_id
        self._lock = threading.Lock()
        self._begun = begun or NOWHERE
        self._seen = NOWHERE

    @property
    def seen(self) -> Point:
        """The highest that nodes ahead of this master have seen; zeros where there was none."""
        with self._lock:
            return self._seen

    def heard(self, seen: Point, *, commit_seq: int, first_contact: bool) -> bool:
        """A node says what it has seen; True where that is new, and ahead of this master."""
        with self._lock:
            if not is_ahead(seen, begun=self._begun, commit_seq=commit_seq, first_contact=first_contact):
                return False
            higher = Point(max(self._seen.epoch, seen.epoch), max(self._seen.commit_seq, seen.commit_seq))
            news = higher != self._seen
            self._seen = higher
            return news

    def begin_again(self, begun: Point) -> None:
        """The database was accepted, and goes on from there."""
        with self._lock:
            self._begun = begun
            self._seen = NOWHERE
