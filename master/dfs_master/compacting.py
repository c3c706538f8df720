"""Packs of which little is needed any more are written anew without the rest: pure rules.

Each node that holds the pack writes the live slices by itself, one behind the other. The same slices give the same
bytes, so all of them must name the same digest; one that does not is not believed, and neither are the others. When
the new pack has its copies, one transaction points the extents at it, and the old pack is collected like every chunk
that nothing refers to.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from dfs_wire.messages import Slice

#: A pack with more extents than this is left alone: its extents move in one transaction.
EXTENTS_MAX = 4_000


def is_sparse(live_bytes: int, size: int, percent: float) -> bool:
    """Whether so little of a chunk is referred to that writing it anew pays."""
    return 0 < live_bytes < size * percent / 100


def live_slices(extents: Iterable[tuple[int, int]]) -> list[Slice]:
    """What extents, given as (offset, length), refer to: in order, without overlaps, neighbours joined."""
    found: list[Slice] = []
    for offset, length in sorted(extents):
        last = found[-1] if found else None
        if last is not None and offset <= last.offset + last.length:
            end = max(last.offset + last.length, offset + length)
            found[-1] = Slice(last.offset, end - last.offset)
        else:
            found.append(Slice(offset, length))
    return found


def moved_offset(slices: Sequence[Slice], offset: int, length: int) -> int | None:
    """Where a part of the old pack begins in the new one; None where that does not hold all of it."""
    starts = accumulate((each.length for each in slices), initial=0)
    for each, start in zip(slices, starts, strict=False):
        if each.offset <= offset and offset + length <= each.offset + each.length:
            return start + offset - each.offset
    return None
