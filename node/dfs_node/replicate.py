"""Copy orders: fetch a chunk from another node, verify it, store it, say so."""

from collections.abc import Callable

from dfs_node.forward import Channels
from dfs_node.volume import StoredChunk, Volume
from dfs_wire.channel import GetStream
from dfs_wire.errors import ChunkCorruptError
from dfs_wire.limits import STREAM_BLOCK_BYTES, STREAM_SECONDS_BY_HOP
from dfs_wire.messages import GetChunk, Order, ReadTicket


class Replicator:
    """Safe to share between threads."""

    def __init__(
        self, volume: Volume, channels: Channels, *, take_buffer: Callable[[], bytearray] | None = None
    ) -> None:
        self._volume = volume
        self._channels = channels
        self._take_buffer = take_buffer or (lambda: bytearray(STREAM_BLOCK_BYTES))

    def copy(self, order: Order) -> StoredChunk:
        """Carry out one copy order; the digest of what came is checked before anything counts.

        Raises:
            UnavailableError: the source does not answer.
            NotFoundError, ChunkCorruptError: its copy is of no use.
            NoSpaceError, VolumeFailedError: there is no place for it here.
        """
        ticket = ReadTicket(order.digest, order.source_node, order.expires_at_ms, order.mac)
        with (
            self._channels.channel(order.source_address) as channel,
            self._volume.create(order.digest, order.size, order.generation) as writer,
        ):
            stream = channel.get(GetChunk(ticket=ticket), seconds=STREAM_SECONDS_BY_HOP[0])
            try:
                self._require_size(order, stream)
                buffer = memoryview(self._take_buffer())
                while count := stream.read_into(buffer):
                    writer.write(buffer[:count])
            finally:
                stream.close()
            return writer.commit()

    def _require_size(self, order: Order, stream: GetStream) -> None:
        if stream.header.length != order.size:
            raise ChunkCorruptError(
                f"the copy on node {order.source_node} has {stream.header.length} bytes, not {order.size}",
                digest=order.digest,
            )
