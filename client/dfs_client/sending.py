"""Bring chunks to as many nodes as their policy asks for, whatever single nodes do."""

import logging
import random
import threading
from collections.abc import Iterable, Sequence

import msgspec

from dfs_client.ahead import AheadTickets
from dfs_client.backoff import Backoff, Cancellation
from dfs_client.master import MasterClient
from dfs_client.receipts import Ledger
from dfs_client.transfer import NodeClient, renewals
from dfs_runtime import forks
from dfs_runtime.clock import Clock, Deadline
from dfs_wire.errors import (
    BadTicketError,
    BusyError,
    ConnectFailedError,
    DfsError,
    InterruptedByUserError,
    NoSpaceError,
    TimedOutError,
    TooFewNodesError,
    UnavailableError,
    error_from_wire,
)
from dfs_wire.limits import HEARTBEAT_SECONDS, SUSPECT_SECONDS
from dfs_wire.messages import ChunkWanted, HopFailure, Receipt, WriteTicket
from dfs_wire.tickets import KEY_BYTES

logger = logging.getLogger(__name__)

#: Tries that failed for another reason than a busy node, before the upload gives up.
SEND_TRIES_MAX = 6
#: How long a chunk waits for busy nodes.
BUSY_SECONDS = 60.0
#: After that long the master itself knows whether a node lives.
AVOID_SECONDS = SUSPECT_SECONDS
#: A node tells the master that it is full, or has room again, with its next heartbeat.
FULL_SECONDS = HEARTBEAT_SECONDS

#: A hop that answers so is not broken: another placement would not help more than another try.
_NOT_THE_NODES_FAULT = frozenset({BusyError.code, BadTicketError.code})


class Chunk(msgspec.Struct, frozen=True):
    """Bytes that are to be stored, and their name."""

    digest: bytes
    data: memoryview

    @property
    def wanted(self) -> ChunkWanted:
        """The chunk as a plan asks for it."""
        return ChunkWanted(self.digest, len(self.data))


class Troubles:
    """Nodes that failed just now; plans leave them out for a while. Safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[int, float] = {}
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: nobody holds the lock."""
        self._lock = threading.Lock()

    def add(self, node_id: int, seconds: float = AVOID_SECONDS) -> None:
        """Avoid this node for a while."""
        with self._lock:
            self._until[node_id] = self._clock.monotonic() + seconds

    def nodes(self) -> list[int]:
        """The nodes to avoid now, by id."""
        if not self._until:
            return []
        now = self._clock.monotonic()
        with self._lock:
            return sorted(node_id for node_id, until in self._until.items() if until > now)

    def forget(self) -> None:
        """There are too few others."""
        with self._lock:
            self._until.clear()


class ChunkSender:
    """Plans and sends chunks. Safe to use from several threads."""

    def __init__(self, master: MasterClient, nodes: NodeClient, clock: Clock, randomness: random.Random) -> None:
        self._master = master
        self._nodes = nodes
        self._clock = clock
        self._random = randomness
        self._troubles = Troubles(clock)
        #: Where first hops were reached: a later hop's address may be for nodes among themselves only.
        self._addresses: dict[int, str] = {}
        self.ahead = AheadTickets(master, clock, randomness.randbytes(KEY_BYTES))

    def plan(self, path: str, chunks: Sequence[ChunkWanted], ledger: Ledger) -> dict[bytes, WriteTicket | None]:
        """A ticket for each chunk, or None where the cluster needs no bytes of it.

        Raises:
            TooFewNodesError: fewer usable nodes than copies wanted, even with those that failed just now.
        """
        digests = [chunk.digest for chunk in chunks]
        avoided = self._troubles.nodes()
        try:
            answers = self._master.plan(path, chunks, ledger.of(digests), avoided)
        except BadTicketError:
            # Receipts of an earlier run that this cluster does not take (any more): do without.
            ledger.drop(digests)
            answers = self._master.plan(path, chunks, (), avoided)
        except (TooFewNodesError, NoSpaceError):
            if not avoided:
                raise
            self._troubles.forget()
            answers = self._master.plan(path, chunks, ledger.of(digests))
        tickets = {answer.digest: answer.ticket for answer in answers}
        if missing := [digest for digest in digests if digest not in tickets]:
            raise UnavailableError(f"the master's plan left out {len(missing)} chunks; try again")
        for ticket in tickets.values():
            if ticket is not None:
                self._addresses[ticket.hops[0].node_id] = ticket.hops[0].address
        return tickets

    def store(self, path: str, chunk: Chunk, ledger: Ledger, cancellation: Cancellation) -> int:
        """Bring one chunk to where its policy wants it; returns how many bytes had to be sent.

        Raises:
            DfsError: as `plan` and `send`.
        """
        size = len(chunk.data)
        taken = self.ahead.take(path, size, self._troubles.nodes())
        if taken is not None:
            self._addresses[taken.hops[0].node_id] = taken.hops[0].address
            filled = msgspec.structs.replace(taken, digest=chunk.digest, size=size)
            failed: list[int] = []
            error = self._try(chunk, filled, ledger, failed, cancellation)
            if error is None:
                return size
            logger.info("chunk %s: %s; planning it", chunk.digest.hex()[:16], error)
            if not isinstance(error, BusyError):
                self.ahead.drop(taken, failed)
        ticket = self.plan(path, [chunk.wanted], ledger)[chunk.digest]
        self.ahead.planned(path, known=ticket is None)
        if ticket is None:
            return 0
        self.send(path, chunk, ticket, ledger, cancellation)
        return size

    def send(
        self, path: str, chunk: Chunk, ticket: WriteTicket | None, ledger: Ledger, cancellation: Cancellation
    ) -> None:
        """Send a chunk until every copy has its receipt in the ledger. `ticket` is what the plan said.

        Raises:
            DfsError: the last failure, after `SEND_TRIES_MAX` tries or `BUSY_SECONDS` of busy nodes.
        """
        backoff = Backoff(self._clock, self._random)
        busy_until: Deadline | None = None
        failed: list[int] = []
        while ticket is not None:
            error = self._try(chunk, ticket, ledger, failed, cancellation)
            if error is None:
                return
            logger.info("chunk %s: %s; trying again", chunk.digest.hex()[:16], error)
            if isinstance(error, BusyError):
                busy_until = busy_until or Deadline(self._clock, BUSY_SECONDS)
                if busy_until.passed():
                    raise error
            elif len(failed) >= SEND_TRIES_MAX:
                raise _not_stored(path, error) from error
            cancellation.check()
            backoff.pause()
            ticket = self.plan(path, [chunk.wanted], ledger)[chunk.digest]

    def renew(self, digests: Iterable[bytes], ledger: Ledger) -> None:
        """Let the nodes sign expired receipts anew; those that cannot be renewed are forgotten."""
        wanted = list(digests)
        by_node: dict[int, list[Receipt]] = {}
        for receipt in ledger.of(wanted):
            by_node.setdefault(receipt.node_id, []).append(receipt)
        ledger.drop(wanted)
        for node_id, receipts in by_node.items():
            address = self._addresses.get(node_id)
            if address is None:
                continue
            for part in renewals(receipts):
                try:
                    ledger.add(self._renew(address, part))
                except DfsError as error:
                    logger.info("node %d did not renew %d receipts: %s", node_id, len(part), error)

    def _renew(self, address: str, receipts: list[Receipt]) -> list[Receipt]:
        """Fresh receipts from one node, which may be busy with those of others for a while."""
        backoff = Backoff(self._clock, self._random)
        busy_until = Deadline(self._clock, BUSY_SECONDS)
        while True:
            try:
                return self._nodes.renew(address, receipts)
            except BusyError:
                if busy_until.passed():
                    raise
            backoff.pause()

    def _try(
        self, chunk: Chunk, ticket: WriteTicket, ledger: Ledger, failed: list[int], cancellation: Cancellation
    ) -> DfsError | None:
        """One put; None when all hops have it. `failed` grows by the nodes whose fault it was."""
        try:
            secret = self.ahead.secret if ticket.bytes_max else b""
            reply = self._nodes.put(ticket, chunk.data, cancellation, secret=secret)
        except InterruptedByUserError:
            raise
        except BusyError as error:
            return error
        except DfsError as error:
            self._blame(ticket.hops[0].node_id, error, failed)
            return error
        ledger.add(reply.receipts)
        if not reply.failures:
            return None
        errors = [self._blame_hop(failure, failed) for failure in reply.failures]
        broken = [each for each in errors if not isinstance(each, BusyError)]
        return (broken or errors)[0]

    def _blame_hop(self, failure: HopFailure, failed: list[int]) -> DfsError:
        error = error_from_wire(failure.code, failure.message, {})
        if not isinstance(error, BusyError):
            self._blame(failure.node_id, error, failed)
        return error

    def _blame(self, node_id: int, error: DfsError, failed: list[int]) -> None:
        # The first refused connection may be one that the node closed while it was idle, or a restart.
        forgiven = isinstance(error, ConnectFailedError) and node_id not in failed
        failed.append(node_id)
        if not forgiven and error.code not in _NOT_THE_NODES_FAULT:
            self._troubles.add(node_id, FULL_SECONDS if error.code == NoSpaceError.code else AVOID_SECONDS)


def _not_stored(path: str, error: DfsError) -> DfsError:
    """An unreachable node is not what the user asked for: say what became of the upload. Other errors speak for it."""
    if not isinstance(error, ConnectFailedError | TimedOutError):
        return error
    return UnavailableError(f"too few nodes answer to store {path} ({error.message}); see `dfs status`, then try again")
