"""Copy orders: fetch a chunk from another node, verify it, store it, read it back, say so."""

from collections.abc import Callable

from dfs_node.copying import Courtesy
from dfs_node.forward import Channels
from dfs_node.volume import ChunkWriter, StoredChunk, Volume
from dfs_runtime.clock import SystemClock
from dfs_wire.channel import GetStream
from dfs_wire.errors import ChunkCorruptError, VolumeFailedError
from dfs_wire.limits import MIB, STREAM_BLOCK_BYTES, STREAM_SECONDS_BY_HOP
from dfs_wire.messages import FindingKind, GetChunk, Order, ReadTicket

#: What a copy writes between two rests.
PIECE_BYTES = MIB


class Replicator:
    """Safe to share between threads."""

    def __init__(
        self,
        volume: Volume,
        channels: Channels,
        *,
        take_buffer: Callable[[], bytearray] | None = None,
        courtesy: Courtesy | None = None,
    ) -> None:
        self._volume = volume
        self._channels = channels
        self._courtesy = courtesy or Courtesy(SystemClock(), users=lambda: 0)
        self._take_buffer = take_buffer or (lambda: bytearray(STREAM_BLOCK_BYTES))

    def copy(self, order: Order) -> StoredChunk:
        """Carry out one copy order. What came is checked by its digest, and what was written is read back.

        Raises:
            UnavailableError: the source does not answer.
            NotFoundError, ChunkCorruptError: its copy is of no use.
            VolumeFailedError: what was written cannot be read back.
            NoSpaceError, VolumeFailedError: there is no place for it here.
        """
        ticket = ReadTicket(order.digest, order.source_node, order.expires_at_ms, order.mac)
        with (
            self._channels.channel(order.source_address) as channel,
            self._volume.create(order.digest, order.size, order.generation, for_repair=True) as writer,
        ):
            stream = channel.get(GetChunk(ticket=ticket), seconds=STREAM_SECONDS_BY_HOP[0])
            try:
                self._require_size(order, stream)
                self._pass_on(stream, writer)
            finally:
                stream.close()
            began = self._courtesy.now()
            stored = writer.commit()
        found = self._volume.verify(order.digest)
        if found.kind is not FindingKind.GOOD:
            # The disk took the bytes and gives others: a fault of this node, not of the source.
            raise VolumeFailedError(f"the new copy of chunk {order.digest.hex()} is {found.kind}; check this disk")
        if self._courtesy.is_due():
            self._courtesy.rest(self._courtesy.now() - began)
        return stored

    def _pass_on(self, stream: GetStream, writer: ChunkWriter) -> None:
        """All bytes from the source to the disk. While users are there, each piece is on the disk before the rest:
        were the chunk left to its commit, the next user's small sync would stand behind all of it.
        """
        buffer = memoryview(self._take_buffer())
        courtesy = self._courtesy
        began, piece_bytes = courtesy.now(), 0
        while count := stream.read_into(buffer):
            writer.write(buffer[:count])
            piece_bytes += count
            if piece_bytes >= PIECE_BYTES:
                if courtesy.is_due():
                    writer.flush()
                    courtesy.rest(courtesy.now() - began)
                began, piece_bytes = courtesy.now(), 0

    def _require_size(self, order: Order, stream: GetStream) -> None:
        if stream.header.length != order.size:
            raise ChunkCorruptError(
                f"the copy on node {order.source_node} has {stream.header.length} bytes, not {order.size}",
                digest=order.digest,
            )
