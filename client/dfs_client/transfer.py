"""One chunk to or from one node, one try. Who retries, and where, is decided by the callers."""

import threading
from collections.abc import Callable, Iterable, Iterator

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_wire.channel import GetStream
from dfs_wire.checksum import crc32c
from dfs_wire.codec import encode_list
from dfs_wire.errors import ChunkCorruptError, ProtocolError
from dfs_wire.limits import (
    BLOCK_BYTES,
    CHUNK_BYTES_MAX,
    EAGER_BODY_BYTES_MAX,
    RENEW_CHUNK_BYTES_MAX,
    RENEW_RECEIPTS_MAX,
    STREAM_BLOCK_BYTES,
)
from dfs_wire.messages import (
    GetChunk,
    GetChunkReply,
    PutChunk,
    PutChunkReply,
    ReadTicket,
    Receipt,
    RenewReceipts,
    RenewReceiptsReply,
    WriteTicket,
)
from dfs_wire.pool import ChannelPool

#: Takes verified-later bytes: (offset in the chunk, bytes). The memory is used again after the call.
Sink = Callable[[int, memoryview], None]

_CRC_BYTES = 4


class NodeClient:
    """The nodes of a cluster, by address. Safe to use from several threads."""

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool
        #: A buffer for each thread that reads: fresh pages for every chunk cost more than the copy into them.
        self._own = threading.local()

    def put(
        self, ticket: WriteTicket, data: memoryview, cancellation: Cancellation, *, secret: bytes = b""
    ) -> PutChunkReply:
        """Send a chunk to the first hop, which forwards it along the chain. A ticket taken ahead needs its `secret`.

        Raises:
            DfsError: no hop stored it.
        """
        cancellation.check()
        with self._pool.channel(ticket.hops[0].address) as channel:
            stream = channel.put(PutChunk(ticket=ticket, secret=secret))
            if len(data) <= EAGER_BODY_BYTES_MAX:
                # In one piece, with its request; a failure closes the connection.
                stream.write(data)
                return stream.finish()
            try:
                for start in range(0, len(data), STREAM_BLOCK_BYTES):
                    cancellation.check()
                    stream.write(data[start : start + STREAM_BLOCK_BYTES])
            except BaseException:
                stream.abort()
                raise
            return stream.finish()

    def get_chunk(self, address: str, ticket: ReadTicket, size: int, sink: Sink, cancellation: Cancellation) -> None:
        """Hand a whole chunk to `sink` while it arrives; on return it was the right one.

        Raises:
            ChunkCorruptError: the bytes are not the chunk; what `sink` got is worthless.
            DfsError: the node refused, went away or broke the protocol.
        """
        with self._pool.channel(address) as channel:
            stream = channel.get(GetChunk(ticket=ticket))
            try:
                header = stream.header
                if (header.offset, header.length, header.size) != (0, size, size):
                    raise _corrupt(ticket, f"{header.size} bytes long instead of {size}")
                hasher = blake3()
                buffer = self._buffer()
                offset = 0
                while offset < size:
                    cancellation.check()
                    count = _read(stream, buffer[: size - offset])
                    hasher.update(buffer[:count])
                    sink(offset, buffer[:count])
                    offset += count
            finally:
                stream.close()
        if hasher.digest() != ticket.digest:
            raise _corrupt(ticket, "another digest")

    def get_small(self, address: str, ticket: ReadTicket, size: int) -> bytearray:
        """A whole chunk in memory of its own; it is the right one.

        Raises:
            ChunkCorruptError: the bytes are not the chunk.
            DfsError: the node refused, went away or broke the protocol.
        """
        data = bytearray(size)
        with self._pool.channel(address) as channel:
            stream = channel.get(GetChunk(ticket=ticket))
            try:
                header = stream.header
                if header.offset or header.length != size or header.size != size:
                    raise _corrupt(ticket, f"{header.size} bytes long instead of {size}")
                filled = _read(stream, memoryview(data))
                while filled < size:
                    filled += _read(stream, memoryview(data)[filled:])
            finally:
                stream.close()
        if blake3(data).digest() != ticket.digest:
            raise _corrupt(ticket, "another digest")
        return data

    def get_range(
        self, address: str, ticket: ReadTicket, size: int, offset: int, length: int, cancellation: Cancellation
    ) -> bytes:
        """Some bytes of a chunk of `size` bytes, each 64 KiB block verified by its CRC32C.

        Raises:
            ChunkCorruptError: a block is bad, or the chunk has another size.
            DfsError: the node refused, went away or broke the protocol.
        """
        with self._pool.channel(address) as channel:
            stream = channel.get(GetChunk(ticket=ticket, offset=offset, length=length))
            try:
                if stream.header.size != size:
                    raise _corrupt(ticket, f"{stream.header.size} bytes long instead of {size}")
                _check_range(stream.header, offset, length)
                data = memoryview(bytearray(stream.header.length))
                filled = 0
                while filled < len(data):
                    cancellation.check()
                    filled += _read(stream, data[filled : filled + STREAM_BLOCK_BYTES])
            finally:
                stream.close()
        _check_blocks(data, stream.header.block_crcs, ticket)
        begin = offset - stream.header.offset
        return bytes(data[begin : begin + length])

    def _buffer(self) -> memoryview:
        """The calling thread's own."""
        found: memoryview | None = getattr(self._own, "buffer", None)
        if found is None:
            found = self._own.buffer = memoryview(bytearray(STREAM_BLOCK_BYTES))
        return found

    def renew(self, address: str, receipts: list[Receipt]) -> list[Receipt]:
        """Fresh receipts for those chunks that the node still holds whole, of a list that `renewals` gave."""
        with self._pool.channel(address) as channel:
            return channel.call(RenewReceipts(), RenewReceiptsReply, encode_list(receipts)).items(list[Receipt])

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def renewals(receipts: Iterable[Receipt]) -> Iterator[list[Receipt]]:
    """Receipts of one node, in lists that it renews by one request each."""
    part: list[Receipt] = []
    size = 0
    for receipt in receipts:
        if part and (len(part) == RENEW_RECEIPTS_MAX or size + receipt.size > RENEW_CHUNK_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(receipt)
        size += receipt.size
    if part:
        yield part


def _read(stream: GetStream, buffer: memoryview) -> int:
    """At least one byte."""
    count = stream.read_into(buffer)
    if count == 0:
        raise ProtocolError("a node sent fewer bytes than it announced; upgrade it, or report this")
    return count


def _check_range(header: GetChunkReply, offset: int, length: int) -> None:
    """Does the answer cover what was asked for, with a CRC for each block?

    Raises:
        ProtocolError: no; nothing of it may be used.
    """
    blocks = -(-header.length // BLOCK_BYTES)
    end = header.offset + header.length
    covers = header.offset <= offset and offset + length <= end <= header.size <= CHUNK_BYTES_MAX
    whole_blocks = header.offset % BLOCK_BYTES == 0 and (header.length % BLOCK_BYTES == 0 or end == header.size)
    if not (covers and whole_blocks and len(header.block_crcs) == blocks * _CRC_BYTES):
        raise ProtocolError("a node answered another range than the one asked for; upgrade it, or report this")


def _check_blocks(data: memoryview, block_crcs: bytes, ticket: ReadTicket) -> None:
    for number in range(len(block_crcs) // _CRC_BYTES):
        block = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        expected = int.from_bytes(block_crcs[number * _CRC_BYTES : (number + 1) * _CRC_BYTES], "big")
        if crc32c(block) != expected:
            raise _corrupt(ticket, f"block {number} of the range has another checksum")


def _corrupt(ticket: ReadTicket, finding: str) -> ChunkCorruptError:
    return ChunkCorruptError(
        f"the copy of chunk {ticket.digest.hex()[:16]} on node {ticket.node_id} is bad: {finding}",
        digest=ticket.digest,
        finding=finding,
    )
