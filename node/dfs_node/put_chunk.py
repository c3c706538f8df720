"""`PutChunk`: store a chunk while it is forwarded along the chain.

Bytes go to the next hop first, so that the disks of all hops work at the same time. A hop behind that fails only
drops out: this hop goes on alone, and the reply says who failed. A body that is not the chunk fails the request.
"""

import logging

from dfs_node.forward import Chain, Forward
from dfs_node.receipts import Credentials
from dfs_node.slots import StreamSlots
from dfs_node.volume import ChunkWriter, StoredChunk, Volume
from dfs_wire.errors import (
    DfsError,
    InternalError,
    NoSpaceError,
    ProtocolError,
    TooLargeError,
    UnavailableError,
    VolumeFailedError,
)
from dfs_wire.limits import CHUNK_BYTES_MAX
from dfs_wire.messages import HopFailure, PutChunk, PutChunkReply
from dfs_wire.service import ChunkBody, Session

log = logging.getLogger(__name__)

#: What may happen to the local copy without making the body wrong for the hops behind.
_LOCAL_FAILURES = (NoSpaceError, VolumeFailedError, UnavailableError)


class ChunkReceiver:
    """Takes chunks. Safe to share between threads; each stream stays on the thread that brought it."""

    def __init__(self, volume: Volume, credentials: Credentials, slots: StreamSlots, chain: Chain) -> None:
        self._volume = volume
        self._credentials = credentials
        self._slots = slots
        self._chain = chain

    def put_chunk(self, _session: Session, request: PutChunk, body: ChunkBody) -> PutChunkReply:
        """Check the ticket, get ready along the whole chain, take the bytes, answer with all receipts.

        Raises:
            BadTicketError: no leave to do this here.
            BusyError, NoSpaceError, VolumeFailedError: before the body; another node may do.
            CorruptError: the body is not the chunk.
            UnavailableError: the sender went away, or this node knows no time.
        """
        ticket = request.ticket
        self._credentials.check_write(ticket, request.hop, request.secret)
        if ticket.size > CHUNK_BYTES_MAX:
            raise TooLargeError(f"a chunk of {ticket.size} bytes is over the limit of {CHUNK_BYTES_MAX}")
        if body.size != ticket.size:
            raise ProtocolError("the body is not as long as the ticket says")
        with (
            self._slots.take(request.hop) as buffer,
            self._volume.create(ticket.digest, ticket.size, ticket.generation) as writer,
            self._chain.next_hop(request) as forward,
        ):
            body.go_on()
            return self._store(body, buffer, _LocalCopy(writer), forward)

    def _store(self, body: ChunkBody, buffer: memoryview, local: "_LocalCopy", forward: Forward) -> PutChunkReply:
        while filled := _fill(body, buffer):
            forward.write(buffer[:filled])
            local.write(buffer[:filled])
            if local.error is not None and not forward.alive:
                raise local.error
        # While this disk syncs, the next hop's does too: it has all bytes already.
        stored = local.commit()
        behind = forward.finish()
        if stored is not None:
            own = self._credentials.sign(stored)
            return PutChunkReply(receipts=[own, *behind.receipts], failures=behind.failures)
        if local.error is not None and not behind.receipts:
            raise local.error
        return PutChunkReply(receipts=behind.receipts, failures=[self._own_failure(local.error), *behind.failures])

    def _own_failure(self, error: DfsError | None) -> HopFailure:
        error = error or InternalError("the chunk was not stored here")
        log.warning("a chunk went past this node: %s", error)
        return HopFailure(self._credentials.node_id, error.code, error.message)


class _LocalCopy:
    """The writer, until it fails: then the stream goes on for the hops behind. Used by one thread."""

    def __init__(self, writer: ChunkWriter) -> None:
        self._writer = writer
        self.error: DfsError | None = None

    def write(self, view: memoryview) -> None:
        """Take the next bytes, unless the copy failed before."""
        if self.error is None:
            try:
                self._writer.write(view)
            except _LOCAL_FAILURES as error:
                self.error = error

    def commit(self) -> StoredChunk | None:
        """Make the copy durable; None where it failed.

        Raises:
            CorruptError: the body is not the chunk, so no hop has it.
        """
        if self.error is None:
            try:
                return self._writer.commit()
            except _LOCAL_FAILURES as error:
                self.error = error
        return None


def _fill(body: ChunkBody, buffer: memoryview) -> int:
    """Read until the buffer is full or the body ends: hashing, writing and forwarding like large pieces."""
    filled = 0
    while filled < len(buffer) and (count := body.read_into(buffer[filled:])):
        filled += count
    return filled
