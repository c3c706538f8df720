"""Work in the background, a bounded step at a time: removed trees, old outcomes, old events."""

from dataclasses import dataclass

from dfs_master.catalog.models import REMOVED_ENTRY_ID
from dfs_master.catalog.mutations.base import Context, Mutation
from dfs_master.catalog.mutations.paths import DIRECTORY, FILE
from dfs_master.catalog.mutations.tree import drop_file
from dfs_master.catalog.rows import EntryRow


@dataclass(frozen=True, slots=True)
class EmptyRemoved(Mutation[bool]):
    """Delete at most `limit` entries of removed trees, leaves first; the reply says whether more are left.

    The contents of their files begin their grace here. Versions and chunks stay: the collector deletes those.
    """

    limit: int = 1_000

    def apply(self, context: Context) -> bool:
        """One step. Goes down along one path at a time, so that its memory is bounded whatever a tree looks like."""
        left = self.limit
        way: list[EntryRow] = []
        while True:
            parent_id = way[-1].id if way else REMOVED_ENTRY_ID
            below = context.tree.children(parent_id, max(left, 1))
            if not below and not way:
                return False
            if left <= 0:
                return True
            for row in below:
                if row.kind == FILE:
                    drop_file(context, row)
                    left -= 1
            directory = next((row for row in below if row.kind == DIRECTORY), None)
            if directory is not None:
                way.append(directory)
            elif not below:
                context.tree.drop(way.pop())
                left -= 1

    def row_count(self) -> int:
        """An entry and a version each."""
        return 2 * self.limit


@dataclass(frozen=True, slots=True)
class ForgetRequests(Mutation[bool]):
    """Forget at most `limit` outcomes from before a time; the reply says whether more may be left."""

    before_ms: int
    limit: int = 1_000

    def apply(self, context: Context) -> bool:
        """One step."""
        old = list(context.staging.old_requests(self.before_ms, self.limit))
        for row in old:
            context.staging.drop_request(row)
        return len(old) == self.limit

    def row_count(self) -> int:
        """A row each."""
        return self.limit


@dataclass(frozen=True, slots=True)
class ForgetEvents(Mutation[bool]):
    """Forget at most `limit` events up to an id, the oldest first; the reply says whether more may be left."""

    last: int
    limit: int = 1_000

    def apply(self, context: Context) -> bool:
        """One step."""
        old = list(context.staging.old_events(self.last, self.limit))
        for row in old:
            context.staging.drop_event(row)
        return len(old) == self.limit

    def row_count(self) -> int:
        """A row each."""
        return self.limit
