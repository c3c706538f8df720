"""Write tickets taken ahead, for small files that follow each other into one directory: put and commit, no plan.

The first small file of a directory is planned; if the cluster did not know it, tickets are taken for those that follow.
Where it knows the content already, plans go on: they spare the bytes, and copies that nobody asked for.
"""

import logging
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Collection

import msgspec

from dfs_client.master import MasterClient
from dfs_runtime import forks
from dfs_runtime.clock import Clock
from dfs_wire.errors import DfsError
from dfs_wire.limits import AHEAD_CHUNK_BYTES_MAX, AHEAD_CHUNK_BYTES_MIN
from dfs_wire.messages import WriteTicket
from dfs_wire.tickets import KEY_BYTES, holder_of

logger = logging.getLogger(__name__)

#: Directories for which tickets are kept.
DIRECTORIES_MAX = 16
#: Tickets taken at once: each has a chain of its own, which spreads the files over the nodes.
TICKETS_AT_ONCE = 8
#: Tickets are not used this close to their end: a put must still arrive.
SPARE_SECONDS = 10.0
#: After a master that gave none, plans do for so long.
QUIET_SECONDS = 30.0


class _Held(msgspec.Struct):
    """A ticket, and how many bytes may still be put under it."""

    ticket: WriteTicket
    bytes_left: int


class _Shelf(msgspec.Struct):
    """The tickets of one directory. Times are monotonic seconds."""

    held: deque[_Held] = msgspec.field(default_factory=deque)
    fresh_until: float = 0.0
    quiet_until: float = 0.0


class AheadTickets:
    """Safe to share between threads."""

    def __init__(self, master: MasterClient, clock: Clock, secret: bytes) -> None:
        self._master = master
        self._clock = clock
        #: Shown with every put under one of these tickets.
        self.secret = secret
        self._lock = threading.Lock()
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: tickets are used by one process, which counts their bytes and alone has their secret."""
        self.secret = os.urandom(KEY_BYTES)
        self._lock = threading.Lock()
        self._shelves = OrderedDict()

    def take(self, path: str, size: int, avoided: Collection[int]) -> WriteTicket | None:
        """A ticket for a chunk of `size` bytes of a file at `path`, past the nodes to avoid; None: plan it."""
        if size > AHEAD_CHUNK_BYTES_MAX:
            return None
        cost = max(size, AHEAD_CHUNK_BYTES_MIN)
        # Also while tickets are fetched: whoever waits for the lock will find them.
        with self._lock:
            shelf = self._shelves.get(_directory(path))
            if shelf is None:
                return None
            now = self._clock.monotonic()
            if now >= shelf.fresh_until:
                shelf.held.clear()
            ticket = _pick(shelf, cost, avoided)
            if ticket is None and now >= shelf.quiet_until:
                self._refill(shelf, path, avoided)
                ticket = _pick(shelf, cost, avoided)
            return ticket

    def planned(self, path: str, *, known: bool) -> None:
        """A plan said whether the cluster knew the content: what follows it is likely to be as new."""
        directory = _directory(path)
        with self._lock:
            if known:
                self._shelves.pop(directory, None)
                return
            self._shelves.setdefault(directory, _Shelf())
            self._shelves.move_to_end(directory)
            while len(self._shelves) > DIRECTORIES_MAX:
                self._shelves.popitem(last=False)

    def drop(self, refused: WriteTicket, failed: Collection[int]) -> None:
        """A put under a ticket went wrong: it goes, with all tickets that name a node whose fault it was."""
        with self._lock:
            for shelf in self._shelves.values():
                shelf.held = deque(
                    each
                    for each in shelf.held
                    if each.ticket.nonce != refused.nonce and not _names(each.ticket, failed)
                )

    def forget(self, path: str) -> None:
        """The commit wanted more than these tickets gave: the policy may have changed."""
        with self._lock:
            self._shelves.pop(_directory(path), None)

    def _refill(self, shelf: _Shelf, path: str, avoided: Collection[int]) -> None:
        try:
            reply, tickets = self._master.take_tickets(path, holder_of(self.secret), TICKETS_AT_ONCE, avoided)
        except DfsError as error:
            # The plan that follows has the patience, and the words.
            logger.info("no tickets ahead: %s", error)
            shelf.quiet_until = self._clock.monotonic() + QUIET_SECONDS
            return
        lifetime = min((each.expires_at_ms - reply.time_ms for each in tickets), default=0) / 1000
        shelf.held = deque(_Held(each, each.bytes_max) for each in tickets)
        shelf.fresh_until = self._clock.monotonic() + lifetime - SPARE_SECONDS


def _pick(shelf: _Shelf, cost: int, avoided: Collection[int]) -> WriteTicket | None:
    """The next ticket in turn that has enough left; those that have not are thrown away."""
    for _ in range(len(shelf.held)):
        held = shelf.held.popleft()
        if held.bytes_left < cost:
            continue
        shelf.held.append(held)
        if not _names(held.ticket, avoided):
            held.bytes_left -= cost
            return held.ticket
    return None


def _names(ticket: WriteTicket, nodes: Collection[int]) -> bool:
    return any(hop.node_id in nodes for hop in ticket.hops) if nodes else False


def _directory(path: str) -> str:
    return path.rpartition("/")[0]
