"""`TakeTickets`: leave to store small chunks that the client does not have yet."""

import secrets

from dfs_master.cluster import Cluster
from dfs_master.handlers.chains import signed_along
from dfs_master.placement import choose
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.errors import UsageError
from dfs_wire.limits import AHEAD_BYTES_MAX, AHEAD_SECONDS, AHEAD_TICKETS_MAX, DIGEST_BYTES
from dfs_wire.service import Session
from dfs_wire.tickets import NONCE_BYTES, ahead_mac


class AheadHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def take_tickets(self, session: Session, request: m.TakeTickets, _body: bytes) -> Answer[m.TakeTicketsReply]:
        """Tickets whose chains are chosen one by one, so that many small files spread over the nodes.

        Raises:
            UsageError: a number or a length is out of range.
            TooFewNodesError, NoSpaceError: nowhere to put anything; a plan says the same, or waits.
        """
        if not 1 <= request.count <= AHEAD_TICKETS_MAX:
            raise UsageError(f"1 to {AHEAD_TICKETS_MAX} tickets may be taken at once, not {request.count}")
        if len(request.holder) != DIGEST_BYTES:
            raise UsageError(f"a holder has {DIGEST_BYTES} bytes, not {len(request.holder)}")
        cluster = self._cluster
        copies = cluster.reader.policy(request.path).copies
        now_ms = cluster.clock.wall_ms()
        given = [self._ticket(session, request, copies, now_ms) for _ in range(request.count)]
        return Answer(m.TakeTicketsReply(copies=copies, time_ms=now_ms), encode_list(given))

    def _ticket(self, session: Session, request: m.TakeTickets, copies: int, now_ms: int) -> m.WriteTicket:
        cluster = self._cluster
        chosen = choose(
            cluster.registry.nodes.values(),
            copies,
            AHEAD_BYTES_MAX,
            holders=frozenset(),
            excluded=set(request.exclude_nodes),
            random=cluster.random,
        )
        bare = m.WriteTicket(
            digest=b"",
            size=0,
            generation=cluster.generations.next(),
            expires_at_ms=now_ms + AHEAD_SECONDS * 1000,
            nonce=secrets.token_bytes(NONCE_BYTES),
            hops=[],
            bytes_max=AHEAD_BYTES_MAX,
            issued_at_ms=now_ms,
            holder=request.holder,
        )
        return signed_along(cluster, session, bare, chosen, ahead_mac)
