"""Which stretches of a pack are fetched for the files wanted of it. Pure arithmetic."""

from collections.abc import Iterable
from typing import NamedTuple

from dfs_wire.limits import KIB

#: A gap up to this long is fetched along: another request would cost more processor time (0.3 ms at both ends).
GAP_BYTES_MAX = 256 * KIB


class Span(NamedTuple):
    """A stretch of a chunk, and where it begins in the buffer that takes all stretches one after the other."""

    offset: int
    length: int
    at: int


def spans_of(slices: Iterable[tuple[int, int]], size: int) -> list[Span]:
    """Stretches that hold all (offset, length) slices of a chunk of `size` bytes, in order, without an overlap.

    The whole chunk where more than half of it is wanted: that is one stream, verified by one digest.
    """
    joined: list[list[int]] = []
    for offset, length in sorted(slices):
        if joined and offset <= joined[-1][1] + GAP_BYTES_MAX:
            joined[-1][1] = max(joined[-1][1], offset + length)
        else:
            joined.append([offset, offset + length])
    if 2 * sum(end - begin for begin, end in joined) >= size:
        return [Span(0, size, 0)]
    spans: list[Span] = []
    at = 0
    for begin, end in joined:
        spans.append(Span(begin, end - begin, at))
        at += end - begin
    return spans
