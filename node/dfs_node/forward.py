"""The way from this hop of a chain to the next. A next hop that fails never fails this one: it only drops out."""

import logging
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

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

    def next_hop(self, request: PutChunk) -> "Forward":
        """The next hop of a put, ready for the body, or an end that takes no part. Never raises for a bad hop.

        Leaving the block before `Forward.finish` aborts the stream: the hops behind discard what they have.
        """
        behind = request.ticket.hops[request.hop + 1 :]
        return Forward(self._channels, request, behind[0] if behind else None)


class Forward:
    """A chunk on its way to the next hop, for as long as that one takes part. Used by one thread."""

    def __init__(self, channels: Channels, request: PutChunk, hop: Hop | None) -> None:
        self._channels = channels
        self._request = request
        self._hop = hop
        self._loan: AbstractContextManager[Channel] | None = None
        self._stream: PutStream | None = None
        self._failures: list[HopFailure] = []

    def __enter__(self) -> Self:
        """Connect, and wait until the next hop is ready for the body."""
        if self._hop is not None:
            try:
                self._begin(self._hop)
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether somebody behind still takes bytes."""
        return self._stream is not None

    def _begin(self, hop: Hop) -> None:
        request = PutChunk(ticket=self._request.ticket, hop=self._request.hop + 1, secret=self._request.secret)
        try:
            loan = self._channels.channel(hop.address)
            channel = loan.__enter__()
            self._loan = loan
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
        loan, self._loan = self._loan, None
        if loan is not None:
            loan.__exit__(None, None, None)

    def _drop(self, error: DfsError) -> None:
        node_id = self._hop.node_id if self._hop is not None else 0
        log.warning("node %d dropped out of a chain: %s", node_id, error)
        self._failures.append(HopFailure(node_id, error.code, error.message))
        self.close()
