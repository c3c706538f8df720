"""Where a file is cut. Pure arithmetic."""

from collections.abc import Iterator

from dfs_wire.limits import CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX, EXTENTS_SOFT_MAX

#: A stream does not tell its size, so its chunks double each time after this many extents: 1,024 of 8 MiB, of
#: 16 MiB, of 32 MiB, then 64 MiB. It stays under `EXTENTS_SOFT_MAX` up to 120 GiB, and small streams dedup well.
STREAM_EXTENTS_PER_STEP = EXTENTS_SOFT_MAX // 4


def chunk_bytes_for(size: int) -> int:
    """Bytes of each chunk (but the last) of a file of `size` bytes: the default, doubled until the version
    stays under `EXTENTS_SOFT_MAX` extents or the chunks have their largest size.
    """
    chunk = CHUNK_BYTES_DEFAULT
    while chunk < CHUNK_BYTES_MAX and size > chunk * EXTENTS_SOFT_MAX:
        chunk *= 2
    return chunk


def stream_chunk_bytes(ordinal: int) -> int:
    """Bytes of the chunk with this number, from 0, in a stream of unknown size."""
    doublings = min(ordinal // STREAM_EXTENTS_PER_STEP, 3)
    return min(CHUNK_BYTES_DEFAULT << doublings, CHUNK_BYTES_MAX)


def cuts(size: int) -> Iterator[tuple[int, int]]:
    """The (offset, length) of each chunk of a file of `size` bytes, in order; none for an empty file."""
    chunk = chunk_bytes_for(size)
    for offset in range(0, size, chunk):
        yield offset, min(chunk, size - offset)
