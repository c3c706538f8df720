"""A node's own word: receipts for chunks that are durable here."""

from dfs_node.budgets import AheadBudgets
from dfs_node.identity import IdentityFile
from dfs_node.master_time import MasterTime
from dfs_node.volume import StoredChunk
from dfs_wire import tickets
from dfs_wire.errors import BadTicketError, UnavailableError
from dfs_wire.limits import RECEIPT_SECONDS
from dfs_wire.messages import ReadTicket, Receipt, WriteTicket


class Credentials:
    """Checks tickets for this node and signs its receipts, in the master's time. Safe to share between threads."""

    def __init__(self, identity: IdentityFile, time: MasterTime) -> None:
        self._identity = identity
        self._time = time
        self._budgets = AheadBudgets()

    @property
    def node_id(self) -> int:
        """This node's id; 0 before it joined."""
        return self._identity.current.node_id

    @property
    def cluster_id(self) -> str:
        """The cluster that it belongs to; empty before it joined."""
        return self._identity.current.cluster_id

    def check_write(self, ticket: WriteTicket, hop: int, secret: bytes) -> None:
        """Is this leave to store a chunk here? Of a ticket taken ahead, the chunk's bytes are used up.

        Raises:
            BadTicketError: no.
            UnavailableError: this node does not know the time, or has not joined yet.
        """
        key, cluster_id, node_id = self._key()
        now_ms = self._time.now_ms()
        if ticket.bytes_max == 0:
            tickets.check_write_ticket(key, cluster_id, node_id, ticket, hop, now_ms)
            return
        started_at_ms = self._time.started_at_ms()
        tickets.check_ahead_ticket(
            key, cluster_id, node_id, ticket, hop, secret, now_ms=now_ms, started_at_ms=started_at_ms
        )
        self._budgets.spend(ticket, now_ms)

    def check_read(self, ticket: ReadTicket) -> None:
        """Is this leave to read a chunk from here?

        Raises:
            BadTicketError: no.
            UnavailableError: this node does not know the time, or has not joined yet.
        """
        key, cluster_id, node_id = self._key()
        tickets.check_read_ticket(key, cluster_id, node_id, ticket, self._time.now_ms())

    def check_own_receipt(self, receipt: Receipt) -> None:
        """Did this node sign that, at any time?

        Raises:
            BadTicketError: no.
            UnavailableError: this node has not joined yet.
        """
        key, cluster_id, node_id = self._key()
        # The MAC binds the node id of the receipt: under our key, only our own can be right.
        if receipt.node_id != node_id:
            raise BadTicketError("the receipt is another node's; ask that one to renew it")
        tickets.check_receipt(key, cluster_id, receipt, None)

    def sign(self, chunk: StoredChunk) -> Receipt:
        """A receipt for a chunk that is durable and verified now.

        Raises:
            UnavailableError: this node does not know the time, or has not joined yet.
        """
        key, cluster_id, node_id = self._key()
        now_ms = self._time.now_ms()
        receipt = Receipt(
            node_id, chunk.digest, chunk.size, chunk.generation, now_ms, now_ms + RECEIPT_SECONDS * 1000, b""
        )
        return tickets.sign_receipt(key, cluster_id, receipt)

    def _key(self) -> tuple[bytes, str, int]:
        identity = self._identity.current
        if not identity.joined:
            raise UnavailableError("this node has not joined its cluster yet; try again in a moment")
        return identity.node_key, identity.cluster_id, identity.node_id
