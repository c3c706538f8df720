"""Tickets, receipts, signed orders: keyed BLAKE3 over one canonical msgpack array.

The array begins with the purpose, the cluster id and the node id, so that no MAC made for one thing is ever
valid for another. The key of a node is derived from the master's key and the node id: the master can make and
check every node's MACs, a node only its own.
"""

from collections.abc import Sequence

import msgspec
from blake3 import blake3

from dfs_wire.errors import BadTicketError
from dfs_wire.limits import AHEAD_CHUNK_BYTES_MAX, DIGEST_BYTES, RECEIPT_SECONDS
from dfs_wire.messages import HeartbeatReply, ReadTicket, Receipt, WriteTicket

KEY_BYTES = 32
NONCE_BYTES = 16
#: How far the master's time may be ahead of what a node carried on from it.
AHEAD_SKEW_MS = 5_000
#: The longest that a receipt can still count, by clocks that differ by no more than that.
RECEIPT_MS_MAX = RECEIPT_SECONDS * 1_000 + 60_000
_KEY_CONTEXT = "dfs 2026-11 node key v1"


def derive_node_key(master_key: bytes, cluster_id: str, node_id: int) -> bytes:
    """The 32-byte signing key of one node (BLAKE3 key derivation, section 2.3 of its paper)."""
    material = msgspec.msgpack.encode([master_key, cluster_id, node_id])
    return blake3(material, derive_key_context=_KEY_CONTEXT).digest()


def _mac(key: bytes, purpose: str, cluster_id: str, node_id: int, *fields: object) -> bytes:
    """Keyed BLAKE3 (a PRF and MAC by design: no HMAC construction is needed)."""
    return blake3(msgspec.msgpack.encode([purpose, cluster_id, node_id, *fields]), key=key).digest()


def _require(expected: bytes, given: bytes, what: str) -> None:
    """Compare in constant time.

    Raises:
        BadTicketError: they differ.
    """
    # Here, and not above: it loads OpenSSL, and a client compares nothing.
    import hmac

    if not hmac.compare_digest(expected, given):
        raise BadTicketError(f"{what} was altered or made for something else; ask the master for a new one")


def write_mac(key: bytes, cluster_id: str, ticket: WriteTicket, hop: int, hop_ids: Sequence[int]) -> bytes:
    """MAC of one hop. It binds the whole chain by node ids, so that hops cannot be swapped, cut or added."""
    return _mac(
        key, "ticket", cluster_id, hop_ids[hop], "put", hop, list(hop_ids),
        ticket.digest, ticket.size, ticket.generation, ticket.expires_at_ms, ticket.nonce,
    )  # fmt: skip


def check_write_ticket(key: bytes, cluster_id: str, node_id: int, ticket: WriteTicket, hop: int, now_ms: int) -> None:
    """Is this leave for this node, at this place in the chain, now?

    Raises:
        BadTicketError: no.
    """
    if not 0 <= hop < len(ticket.hops) or ticket.hops[hop].node_id != node_id:
        raise BadTicketError("the write ticket is for another node; ask the master for a new one")
    if ticket.bytes_max or ticket.issued_at_ms or ticket.holder:
        raise BadTicketError("the write ticket is neither for one chunk nor taken ahead; ask the master for a new one")
    expected = write_mac(key, cluster_id, ticket, hop, [each.node_id for each in ticket.hops])
    _require(expected, ticket.hops[hop].mac, "the write ticket")
    if now_ms >= ticket.expires_at_ms:
        raise BadTicketError("the write ticket has expired; ask the master for a new one")


def ahead_mac(key: bytes, cluster_id: str, ticket: WriteTicket, hop: int, hop_ids: Sequence[int]) -> bytes:
    """MAC of one hop of a ticket that is taken ahead: digest and size are left out, the budget and its holder bound."""
    return _mac(
        key, "ahead", cluster_id, hop_ids[hop], "put", hop, list(hop_ids), ticket.bytes_max, ticket.generation,
        ticket.issued_at_ms, ticket.expires_at_ms, ticket.nonce, ticket.holder,
    )  # fmt: skip


def holder_of(secret: bytes) -> bytes:
    """What a client shows of its secret when it takes tickets ahead."""
    return blake3(secret).digest()


def check_ahead_ticket(
    key: bytes,
    cluster_id: str,
    node_id: int,
    ticket: WriteTicket,
    hop: int,
    secret: bytes,
    *,
    now_ms: int,
    started_at_ms: int,
) -> None:
    """May its holder use this ticket for a chunk of that size here, at this place in the chain, now?

    What was used of it the node counts itself: so it refuses what was issued before it began to count.

    Raises:
        BadTicketError: no.
    """
    if not 0 <= hop < len(ticket.hops) or ticket.hops[hop].node_id != node_id:
        raise BadTicketError("the ticket taken ahead is for another node; ask the master for a new one")
    expected = ahead_mac(key, cluster_id, ticket, hop, [each.node_id for each in ticket.hops])
    _require(expected, ticket.hops[hop].mac, "the ticket taken ahead")
    _require(holder_of(secret), ticket.holder, "the secret of the ticket taken ahead")
    if now_ms >= ticket.expires_at_ms:
        raise BadTicketError("the ticket taken ahead has expired; ask the master for a new one")
    # A master whose clock was set back may speak of a time that this node has seen already.
    if ticket.issued_at_ms <= started_at_ms or ticket.issued_at_ms > now_ms + AHEAD_SKEW_MS:
        raise BadTicketError("the ticket taken ahead was not issued while this node counts; ask for a new one")
    if len(ticket.digest) != DIGEST_BYTES or not 0 < ticket.size <= AHEAD_CHUNK_BYTES_MAX:
        raise BadTicketError(f"a ticket taken ahead is for chunks of 1 to {AHEAD_CHUNK_BYTES_MAX} bytes; plan this one")


def read_mac(key: bytes, cluster_id: str, node_id: int, digest: bytes, expires_at_ms: int) -> bytes:
    """MAC of a read ticket."""
    return _mac(key, "ticket", cluster_id, node_id, "get", digest, expires_at_ms)


def check_read_ticket(key: bytes, cluster_id: str, node_id: int, ticket: ReadTicket, now_ms: int) -> None:
    """Is this leave to read that chunk from this node, now?

    Raises:
        BadTicketError: no.
    """
    if ticket.node_id != node_id:
        raise BadTicketError("the read ticket is for another node; ask the master for a new one")
    expected = read_mac(key, cluster_id, node_id, ticket.digest, ticket.expires_at_ms)
    _require(expected, ticket.mac, "the read ticket")
    if now_ms >= ticket.expires_at_ms:
        raise BadTicketError("the read ticket has expired; ask the master for a new one")


def _receipt_mac(key: bytes, cluster_id: str, receipt: Receipt) -> bytes:
    return _mac(
        key, "receipt", cluster_id, receipt.node_id,
        receipt.digest, receipt.size, receipt.generation, receipt.stored_at_ms, receipt.expires_at_ms,
    )  # fmt: skip


def sign_receipt(key: bytes, cluster_id: str, receipt: Receipt) -> Receipt:
    """The same receipt with its MAC."""
    return msgspec.structs.replace(receipt, mac=_receipt_mac(key, cluster_id, receipt))


def check_receipt(key: bytes, cluster_id: str, receipt: Receipt, now_ms: int | None) -> None:
    """Did that node sign this receipt? With `now_ms` None, expiry is not judged (renewal).

    One that would count for longer than any that is signed now was signed when the master's clock was ahead: the chunk
    may be collected, and that forgotten, before it ends.

    Raises:
        BadTicketError: it did not, or the receipt has expired or is of the future (details: `digests`).
    """
    _require(_receipt_mac(key, cluster_id, receipt), receipt.mac, "the receipt")
    if now_ms is not None and not now_ms < receipt.expires_at_ms <= now_ms + RECEIPT_MS_MAX:
        raise BadTicketError(
            "the receipt has expired; let the node renew it, or upload again", digests=[receipt.digest]
        )


def order_mac(key: bytes, cluster_id: str, node_id: int, reply: HeartbeatReply, body: bytes) -> bytes:
    """MAC of a heartbeat's reply and the orders in its body. `reply.mac` itself is left out."""
    return _mac(key, "order", cluster_id, node_id, reply.epoch, reply.commit_seq, reply.time_ms, body)


def rules_mac(key: bytes, cluster_id: str, node_id: int, reply: HeartbeatReply) -> bytes:
    """MAC of the rules in a heartbeat's reply, bound to its time."""
    rules = (reply.scrub_seconds, reply.scrub_bytes_per_second, reply.inventory_seconds)
    return _mac(key, "rules", cluster_id, node_id, reply.epoch, reply.time_ms, *rules)


def check_rules(key: bytes, cluster_id: str, node_id: int, reply: HeartbeatReply) -> bool:
    """Whether the reply carries rules of this cluster's master for this node.

    Raises:
        BadTicketError: it carries some, and they are not.
    """
    if not reply.rules_mac:
        return False
    _require(rules_mac(key, cluster_id, node_id, reply), reply.rules_mac, "the master's rules")
    return True


def check_orders(key: bytes, cluster_id: str, node_id: int, reply: HeartbeatReply, body: bytes) -> None:
    """Did the master of this cluster say that to this node?

    Raises:
        BadTicketError: no.
    """
    _require(order_mac(key, cluster_id, node_id, reply, body), reply.mac, "the master's order")


def hello_mac(key: bytes, cluster_id: str, node_id: int) -> bytes:
    """A registered node's credential in `Hello`."""
    return _mac(key, "hello", cluster_id, node_id)


def join_proof(join_token: bytes, nonce: bytes) -> bytes:
    """A node's answer when the master dials back: it holds the join token."""
    return join_proof_of_digest(blake3(join_token).digest(), nonce)


def join_proof_of_digest(token_digest: bytes, nonce: bytes) -> bytes:
    """The same from the token's BLAKE3, which is all that the master keeps of it."""
    return _mac(token_digest, "join", "", 0, nonce)
