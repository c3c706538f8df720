"""Repack orders: write anew the parts of a chunk that are still needed, as a chunk of its own.

Every node that holds the pack does it by itself; the same parts give the same bytes and so the same name everywhere,
which is how the master knows that it was done right.
"""

from blake3 import blake3

from dfs_node.volume import StoredChunk, Volume
from dfs_wire.errors import ChunkCorruptError, UsageError
from dfs_wire.limits import CHUNK_BYTES_MAX, STREAM_BLOCK_BYTES
from dfs_wire.messages import Order, Slice


def repack(volume: Volume, order: Order) -> StoredChunk:
    """Carry out one repack order: the pack is read whole and must be what its name says before a part of it counts.

    Raises:
        NotFoundError, ChunkCorruptError: the pack is of no use here.
        NoSpaceError, VolumeFailedError: there is no place for the new chunk.
        UsageError: the order makes no sense.
    """
    _check(order)
    parts = _read_parts(volume, order)
    whole = blake3()
    for part in parts:
        whole.update(part)
    size = sum(len(part) for part in parts)
    with volume.create(whole.digest(), size, order.generation) as writer:
        for part in parts:
            writer.write(memoryview(part))
        return writer.commit()


def _check(order: Order) -> None:
    end = 0
    for each in order.slices:
        if each.offset < end or each.length <= 0:
            raise UsageError("the slices of a repack order overlap or are empty; this is a fault of the master")
        end = each.offset + each.length
    if not order.slices or end > order.size or order.size > CHUNK_BYTES_MAX:
        raise UsageError("the slices of a repack order reach beyond the chunk; this is a fault of the master")


def _read_parts(volume: Volume, order: Order) -> list[bytearray]:
    """The bytes of each slice, from one reading of the whole pack."""
    chunk = volume.open(order.digest)
    parts = [bytearray() for _ in order.slices]
    whole = blake3()
    try:
        if chunk.size != order.size:
            raise ChunkCorruptError(f"the pack has {chunk.size} bytes, not {order.size}", digest=order.digest)
        for start in range(0, chunk.size, STREAM_BLOCK_BYTES):
            block = chunk.read(start, min(STREAM_BLOCK_BYTES, chunk.size - start))
            whole.update(block)
            for part, each in zip(parts, order.slices, strict=True):
                part += _overlap(block, start, each)
    finally:
        chunk.close()
    if whole.digest() != order.digest:
        raise ChunkCorruptError("the pack is not what its name says", digest=order.digest)
    return parts


def _overlap(block: bytes, start: int, wanted: Slice) -> bytes:
    """What of a block at `start` belongs to a slice."""
    first = max(0, wanted.offset - start)
    last = min(len(block), wanted.offset + wanted.length - start)
    return block[first:last] if first < last else b""
