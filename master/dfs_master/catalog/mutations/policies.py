"""Mutations that bring chunks to a changed policy, a bounded step at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dfs_master.catalog.models import ChunkState
from dfs_master.catalog.mutations.base import Context, Mutation
from dfs_master.catalog.mutations.collecting import copies_wanted


@dataclass(frozen=True, slots=True)
class ConvergeChunks(Mutation[int]):
    """Let chunks ask for the copies that the policies of their files ask for; the reply says how many changed.

    Of each, by its id: a policy that a file with bytes in it has. That raises a chunk which too many files share to
    look at each of them; such a chunk is never lowered.
    """

    reads_tables: ClassVar[bool] = True

    chunks: Sequence[tuple[int, int]]

    def apply(self, context: Context) -> int:
        """One step."""
        changed = 0
        for chunk_id, policy in self.chunks:
            chunk = context.content.chunk_by_id(chunk_id)
            if chunk is None or chunk.state != ChunkState.STORED or chunk.copies_wanted == 0:
                continue
            judged = copies_wanted(context, chunk)
            # Unchanged: either right, or shared by too many.
            wanted = max(judged, policy) if judged == chunk.copies_wanted else judged
            if wanted != chunk.copies_wanted:
                replicas = context.content.replicas(chunk.id)
                context.content.put_chunk(chunk._replace(copies_wanted=wanted), replicas)
                changed += 1
        return changed

    def row_count(self) -> int:
        """A chunk each."""
        return len(self.chunks)


@dataclass(frozen=True, slots=True)
class PolicyFollowed(Mutation[None]):
    """All chunks below a directory follow its policy of that time; one that was set since still waits."""

    entry_id: int
    at: int

    def apply(self, context: Context) -> None:
        """Forget the change."""
        context.staging.drop_policy_change(self.entry_id, self.at)
