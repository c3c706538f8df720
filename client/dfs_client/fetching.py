"""Get chunks from whichever copy is good."""

import logging
import random
from collections.abc import Callable
from typing import Protocol, TypeVar

from dfs_client.backoff import Backoff, Cancellation
from dfs_client.master import MasterClient
from dfs_client.transfer import NodeClient, Sink
from dfs_runtime.clock import Clock, Deadline
from dfs_wire.errors import (
    BadTicketError,
    BusyError,
    CorruptError,
    DfsError,
    InterruptedByUserError,
    NotFoundError,
    UnavailableError,
)
from dfs_wire.limits import RETRY_SECONDS
from dfs_wire.messages import OpenExtent, ReadTicket, ReplicaTicket

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Nobody gives up a small extent half-way: an interruption ends the call itself.
_NEVER = Cancellation()

#: extent, address, ticket -> result; one try at one copy.
Try = Callable[[OpenExtent, str, ReadTicket], T]


class Opened(Protocol):
    """Something that was opened and is read by extents. Implementations are safe to use from several threads."""

    #: What errors call it.
    path: str

    def extent_at(self, start: int) -> OpenExtent:
        """The extent that holds the byte `start`, with fresh tickets."""
        ...

    def ticketed_extent_at(self, start: int) -> tuple[OpenExtent, int]:
        """The same, and when its tickets end in the master's time."""
        ...

    def renew(self, start: int) -> None:
        """Ask for other tickets and the copies as they are now."""
        ...


class ChunkFetcher:
    """Reads extents of an opened version. Safe to use from several threads."""

    def __init__(self, master: MasterClient, nodes: NodeClient, clock: Clock, randomness: random.Random) -> None:
        self._master = master
        self._nodes = nodes
        self._clock = clock
        self._random = randomness

    def fetch_extent(self, opened: Opened, start: int, sink: Sink, cancellation: Cancellation) -> OpenExtent:
        """Hand the whole extent that begins at `start` to `sink`, by offsets within the extent.

        What a bad copy gave is overwritten by the next one's bytes: only on return they are right.

        Raises:
            CorruptError: every copy is bad.
            DfsError: no copy could be read.
        """
        extent = opened.extent_at(start)
        if (extent.offset, extent.length) != (0, extent.chunk_size):
            sink(0, memoryview(self.fetch_range(opened, extent.start, extent.length, cancellation)))
            return extent

        def attempt(_: OpenExtent, address: str, ticket: ReadTicket) -> None:
            self._nodes.get_chunk(address, ticket, extent.chunk_size, sink, cancellation)

        self._from_any_copy(opened, start, attempt)
        return extent

    def read_extent(self, opened: Opened, start: int) -> tuple[bytes | bytearray, bytes]:
        """The whole small extent that begins at `start`, in memory of its own; and its digest, if it is a whole chunk.

        Raises:
            CorruptError: every copy is bad.
            DfsError: no copy could be read.
        """

        def attempt(extent: OpenExtent, address: str, ticket: ReadTicket) -> tuple[bytes | bytearray, bytes]:
            size, length = extent.chunk_size, extent.length
            if length != size:
                return self._nodes.get_range(address, ticket, size, extent.offset, length, _NEVER), b""
            return self._nodes.get_small(address, ticket, size), ticket.digest

        return self._from_any_copy(opened, start, attempt)

    def fetch_range(self, opened: Opened, start: int, length: int, cancellation: Cancellation) -> bytes:
        """Bytes of the file from `start`, as many as lie in one extent and at most `length`.

        Raises:
            CorruptError: every copy is bad.
            DfsError: no copy could be read.
        """
        extent = opened.extent_at(start)
        skipped = start - extent.start
        offset = extent.offset + skipped
        count = min(length, extent.length - skipped)

        def attempt(_: OpenExtent, address: str, ticket: ReadTicket) -> bytes:
            return self._nodes.get_range(address, ticket, extent.chunk_size, offset, count, cancellation)

        return self._from_any_copy(opened, start, attempt)

    def _from_any_copy(self, opened: Opened, start: int, attempt: Try[T]) -> T:
        """Try the copies, best first, and then again with fresh tickets, until patience ends."""
        backoff: Backoff | None = None
        deadline: Deadline | None = None
        while True:
            extent, expires_at_ms = opened.ticketed_extent_at(start)
            errors: list[DfsError] = []
            for replica in extent.replicas:
                ticket = ReadTicket(extent.digest, replica.node_id, expires_at_ms, replica.mac)
                try:
                    return attempt(extent, replica.address, ticket)
                except InterruptedByUserError:
                    raise
                except DfsError as error:
                    self._judge(replica, ticket, error)
                    errors.append(error)
            deadline = deadline or Deadline(self._clock, RETRY_SECONDS)
            hopeless = bool(errors) and all(isinstance(error, CorruptError | NotFoundError) for error in errors)
            if hopeless or deadline.passed():
                raise _no_copy(opened.path, extent, errors)
            backoff = backoff or Backoff(self._clock, self._random)
            backoff.pause(seconds_max=deadline.remaining())
            # Another ticket may do where one expired, and repair may have made another copy.
            opened.renew(start)

    def _judge(self, replica: ReplicaTicket, ticket: ReadTicket, error: DfsError) -> None:
        """A bad or lost copy is the master's business; a busy or absent node is not."""
        logger.info("node %s did not give a chunk: %s", replica.node, error, extra={"address": replica.address})
        if isinstance(error, CorruptError):
            self._master.report_copy(ticket, str(error.details.get("finding", error.message)))
        elif isinstance(error, NotFoundError):
            self._master.report_copy(ticket, "missing")


def _no_copy(path: str, extent: OpenExtent, errors: list[DfsError]) -> DfsError:
    """One sentence for all copies."""
    name = extent.digest.hex()[:16]
    if not errors:
        return UnavailableError(f"no live node holds chunk {name} of {path}; see `dfs status` and start its nodes")
    if all(isinstance(error, CorruptError | NotFoundError) for error in errors):
        return CorruptError(f"every copy of chunk {name} of {path} is bad or lost; see `dfs status` for its nodes")
    if all(isinstance(error, BusyError | BadTicketError) for error in errors):
        return errors[-1]
    return UnavailableError(
        f"no copy of chunk {name} of {path} can be read now ({errors[-1]}); see `dfs status`, then try again"
    )
