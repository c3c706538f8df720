"""Mutations about a database that is older than its nodes: noting it, and accepting it all the same."""

from dataclasses import dataclass

from dfs_master.catalog.mutations.base import Context, Mutation
from dfs_master.fence import (
    ACCEPTED_AT,
    IDS_JUMP,
    LOST_FROM,
    LOST_IDS,
    NOWHERE,
    SEEN_COMMIT_SEQ,
    SEEN_EPOCH,
    Point,
    jumped,
)


@dataclass(frozen=True, slots=True)
class RecordAhead(Mutation[None]):
    """A node has seen a newer database. On record, so that accepting without a running master knows it too."""

    node: str
    seen: Point
    next_id: int

    def apply(self, context: Context) -> None:
        """Write it, with an event."""
        own = _own(context)
        for name, value in ((SEEN_EPOCH, self.seen.epoch), (SEEN_COMMIT_SEQ, self.seen.commit_seq)):
            context.staging.put_setting(name, str(max(value, _number(context, name))))
        if context.staging.setting(LOST_FROM) in (None, "0"):
            context.staging.put_setting(LOST_FROM, str(self.next_id))
        detail = {
            "seen_epoch": self.seen.epoch,
            "seen_commit_seq": self.seen.commit_seq,
            "epoch": own.epoch,
            "commit_seq": own.commit_seq,
        }
        context.add_event("database_behind", self.node, detail)


@dataclass(frozen=True, slots=True)
class AcceptDatabase(Mutation[Point]):
    """Go on with this database above all that nodes have seen; the reply is where.

    Ids jump as well: the newer database gave some out, to nodes that may come back. Who is let in by such an id is
    told by the record `lost_ids`.
    """

    seen: Point = NOWHERE

    def apply(self, context: Context) -> Point:
        """Write it, with an event."""
        recorded = Point(_number(context, SEEN_EPOCH), _number(context, SEEN_COMMIT_SEQ))
        seen = Point(max(self.seen.epoch, recorded.epoch), max(self.seen.commit_seq, recorded.commit_seq))
        begun = jumped(_own(context), seen)
        first = context.staging.skip_ids(IDS_JUMP)
        lost = context.staging.setting(LOST_IDS)
        ids = f"{_number(context, LOST_FROM) or first}-{first + IDS_JUMP - 1}"
        records = {
            "epoch": begun.epoch,
            # The transaction itself counts one more.
            "commit_seq": begun.commit_seq - 1,
            SEEN_EPOCH: 0,
            SEEN_COMMIT_SEQ: 0,
            LOST_FROM: 0,
            ACCEPTED_AT: context.now_ms,
            LOST_IDS: f"{lost},{ids}" if lost else ids,
        }
        for name, value in records.items():
            context.staging.put_setting(name, str(value))
        detail = {"epoch": begun.epoch, "commit_seq": begun.commit_seq, "seen_epoch": seen.epoch}
        context.add_event("database_accepted", "master", detail)
        return begun


def _own(context: Context) -> Point:
    return Point(_number(context, "epoch"), _number(context, "commit_seq"))


def _number(context: Context, name: str) -> int:
    return int(context.staging.setting(name) or 0)
