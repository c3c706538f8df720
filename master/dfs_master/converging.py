"""After a policy was changed: walks what is below the directory and has each chunk ask for as many copies.

Repair makes what is missing then, and trimming removes what is too much. The change stays on record until the walk
came to its end, so a master that was restarted begins it again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from dfs_master.catalog.mutations.paths import DIRECTORY
from dfs_master.catalog.mutations.policies import ConvergeChunks, PolicyFollowed
from dfs_master.catalog.rows import PolicyChangeRow
from dfs_master.cluster import Cluster
from dfs_wire.errors import DfsError

log = logging.getLogger(__name__)

#: Entries, or extents, that one step reads, and chunks that one transaction changes.
PAGE = 500
CHUNKS_PER_STEP = 200
#: How often a change is looked for while there is none.
IDLE_SECONDS = 2.0


@dataclass(slots=True)
class _Directory:
    """A directory on the way: its policy, and the name behind which it goes on."""

    id: int
    copies: int
    after: str = ""


@dataclass(slots=True)
class _File:
    """A version whose extents are being read: its policy, and the ordinal behind which it goes on."""

    version_id: int
    copies: int
    after: int = -1


class Convergence:
    """`step` belongs to one thread. `wake` asks for the next step now; `changed` is called at the end of a walk."""

    def __init__(
        self,
        cluster: Cluster,
        wake: Callable[[], None] = lambda: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._wake = wake
        self._changed = changed
        self._change: PolicyChangeRow | None = None
        self._way: list[_Directory | _File] = []
        #: Chunk -> policy, waiting for a transaction.
        self._found: dict[int, int] = {}
        self._busy = False
        self._look_at = 0.0

    def step(self) -> None:
        """A bounded part of the walk; waits for what it handed to the committer."""
        if self._busy:
            return
        now = self._cluster.clock.monotonic()
        if self._change is None:
            if now < self._look_at:
                return
            self._look_at = now + IDLE_SECONDS
            self._begin()
        if self._change is None:
            return
        left = PAGE
        while self._way and left > 0 and len(self._found) < CHUNKS_PER_STEP:
            left -= self._go_on(left)
        if self._found:
            chunks = list(self._found.items())[:CHUNKS_PER_STEP]
            for chunk_id, _ in chunks:
                del self._found[chunk_id]
            self._submit(ConvergeChunks(chunks))
        elif not self._way:
            change, self._change = self._change, None
            self._look_at = now
            self._changed()
            self._submit(PolicyFollowed(change.entry_id, change.at))

    def _begin(self) -> None:
        """Start with the oldest change, if there is one."""
        reader = self._cluster.reader
        self._change = reader.first_policy_change()
        if self._change is None:
            return
        found = reader.entry_and_policy(self._change.entry_id, self._cluster.copies)
        self._way.clear()
        if found is None:
            return
        entry, copies = found
        if entry.kind == DIRECTORY:
            self._way.append(_Directory(entry.id, copies))
        elif entry.version_id is not None:
            self._way.append(_File(entry.version_id, copies))

    def _go_on(self, limit: int) -> int:
        """Read one page of where the walk is; returns how much that was, at least one."""
        at = self._way[-1]
        return self._read_file(at, limit) if isinstance(at, _File) else self._read_directory(at, limit)

    def _read_file(self, at: _File, limit: int) -> int:
        slices = self._cluster.reader.slices(at.version_id, at.after, limit)
        for each in slices:
            if each.copies_wanted != at.copies:
                self._found[each.chunk_id] = max(at.copies, self._found.get(each.chunk_id, 0))
        if len(slices) < limit:
            self._way.pop()
        else:
            at.after = slices[-1].ordinal
        return max(1, len(slices))

    def _read_directory(self, at: _Directory, limit: int) -> int:
        """What is in it goes on top: it comes before the rest of the directory, so few are held at a time."""
        children = self._cluster.reader.children_of(at.id, at.after, limit)
        if len(children) < limit:
            self._way.pop()
        else:
            at.after = children[-1].name
        for child in children:
            if child.version_id is not None:
                self._way.append(_File(child.version_id, at.copies))
            elif child.copies is None:  # one with a policy of its own did not change
                self._way.append(_Directory(child.id, at.copies))
        return max(1, len(children))

    def _submit(self, step: ConvergeChunks | PolicyFollowed) -> None:
        self._busy = True
        try:
            if isinstance(step, ConvergeChunks):
                self._cluster.committer.submit(step, self._done)
            else:
                self._cluster.committer.submit(step, self._done)
        except DfsError:
            self._done(None)
            self._change = None  # the whole walk again, later

    def _done(self, result: int | DfsError | None) -> None:
        if isinstance(result, DfsError):
            log.warning("a policy could not be followed yet: %s", result)
            self._change = None
        self._busy = False
        self._wake()
