"""How much was put under each ticket that was taken ahead, in bounded memory.

A ticket is remembered until it expires, never less: forgotten too early, it could be spent again. Where there is no
more room, tickets that were not seen before are refused, and their holders go on with ordinary plans.
"""

import heapq
import threading

from dfs_wire.errors import BadTicketError
from dfs_wire.limits import AHEAD_CHUNK_BYTES_MIN
from dfs_wire.messages import WriteTicket

#: About 15 MiB of memory, and over a thousand new tickets a second.
TICKETS_MAX = 65_536


class AheadBudgets:
    """Counts bytes by nonce. Safe to share between threads."""

    def __init__(self, tickets_max: int = TICKETS_MAX) -> None:
        self._tickets_max = tickets_max
        self._lock = threading.Lock()
        self._used: dict[bytes, int] = {}
        self._ends: list[tuple[int, bytes]] = []

    def spend(self, ticket: WriteTicket, now_ms: int) -> None:
        """Count a chunk of `ticket.size` bytes, whose MAC and times are in order. What fails later stays counted.

        Raises:
            BadTicketError: the ticket is used up, or too many others are remembered.
        """
        cost = max(ticket.size, AHEAD_CHUNK_BYTES_MIN)
        with self._lock:
            used = self._used.get(ticket.nonce)
            if used is None:
                self._forget_expired(now_ms)
                if len(self._used) >= self._tickets_max:
                    raise BadTicketError("this node counts as many tickets taken ahead as it can; plan this chunk")
                heapq.heappush(self._ends, (ticket.expires_at_ms, ticket.nonce))
                used = self._used[ticket.nonce] = 0
            if used + cost > ticket.bytes_max:
                raise BadTicketError("the ticket taken ahead is used up; ask the master for a new one")
            self._used[ticket.nonce] = used + cost

    def __len__(self) -> int:
        """How many tickets are remembered."""
        with self._lock:
            return len(self._used)

    def _forget_expired(self, now_ms: int) -> None:
        while self._ends and self._ends[0][0] <= now_ms:
            del self._used[heapq.heappop(self._ends)[1]]
