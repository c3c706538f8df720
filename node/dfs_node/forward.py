"""The way from this hop of a chain to the next. A next hop that fails never fails this one: it only drops out."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from dfs_wire.channel import Channel, PutStream
from dfs_wire.errors import DfsError
from dfs_wire.limits import STREAM_SECONDS_BY_HOP
from dfs_wire.messages import Hop, HopFailure, PutChunk, PutChunkReply

log = logging.getLogger(__name__)


class Channels(Protocol):
    """Where channels to other nodes come from; `dfs_wire.pool.ChannelPool` is one. Safe to use from several threads."""

    def channel(self, address: str) -> AbstractContextManager[Channel]:
        """An open channel for the length of the block."""
        ...


def stream_seconds(hop: int) -> float:
    """No-progress deadline of a put to place `hop` of a chain, in seconds; shorter for the hops behind."""
    return STREAM_SECONDS_BY_HOP[min(hop, len(STREAM_SECONDS_BY_HOP) - 1)]


class Chain:
    """Opens the way to the next hop. Safe to share between threads."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    @contextmanager
    def next_hop(self, request: PutChunk) -> Iterator["Forward"]:
        """The next hop of a put, ready for the body, or an end that takes no part. Never raises for a bad hop.

        Leaving the block before `Forward.finish` aborts the stream: the hops behind discard what they have.
        """
        behind = request.ticket.hops[request.hop + 1 :]
        forward = Forward(behind[0] if behind else None)
        try:
            forward.begin(self._channels, PutChunk(ticket=request.ticket, hop=request.hop + 1, secret=request.secret))
            yield forward
        finally:
            forward.close()


class Forward:
    """A chunk on its way to the next hop, for as long as that one takes part. Used by one thread."""

    def __init__(self, hop: Hop | None) -> None:
        self._hop = hop
        self._stream: PutStream | None = None
        self._failures: list[HopFailure] = []
        self._resources = ExitStack()

    @property
    def alive(self) -> bool:
        """Whether somebody behind still takes bytes."""
        return self._stream is not None

    def begin(self, channels: Channels, request: PutChunk) -> None:
        """Connect, and wait until the next hop is ready for the body."""
        if self._hop is None:
            return  # the end of the chain
        try:
            channel = self._resources.enter_context(channels.channel(self._hop.address))
            self._stream = channel.put(request, seconds=stream_seconds(request.hop))
        except DfsError as error:
            self._drop(error)

    def write(self, view: memoryview) -> None:
        """Send the next bytes, unless the next hop dropped out."""
        if self._stream is None:
            return
        try:
            self._stream.write(view)
        except DfsError as error:
            self._drop(error)

    def finish(self) -> PutChunkReply:
        """What became of the chunk behind this hop."""
        stream, self._stream = self._stream, None
        if stream is None:
            return PutChunkReply(receipts=[], failures=self._failures)
        try:
            reply = stream.finish()
        except DfsError as error:
            stream.abort()
            self._drop(error)
            reply = PutChunkReply(receipts=[])
        return PutChunkReply(receipts=reply.receipts, failures=self._failures + reply.failures)

    def close(self) -> None:
        """Give the channel back; a stream that was not finished is aborted."""
        if self._stream is not None:
            self._stream.abort()
            self._stream = None
        self._resources.close()

    def _drop(self, error: DfsError) -> None:
        node_id = self._hop.node_id if self._hop is not None else 0
        log.warning("node %d dropped out of a chain: %s", node_id, error)
        self._failures.append(HopFailure(node_id, error.code, error.message))
        self.close()
