"""Tickets, receipts and orders: nothing but what was signed, for whom and when it was signed, is taken."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import msgspec
import pytest

from dfs_wire import tickets
from dfs_wire.errors import BadTicketError
from dfs_wire.messages import HeartbeatReply, Hop, ReadTicket, Receipt, WriteTicket

MASTER_KEY = bytes(range(32))
CLUSTER = "0123456789abcdef"
DIGEST = bytes(range(100, 132))
NOW_MS = 1_700_000_000_000
EXPIRES_MS = NOW_MS + 300_000
KEYS = {node: tickets.derive_node_key(MASTER_KEY, CLUSTER, node) for node in (1, 2, 3)}


def write_ticket(nodes: tuple[int, ...] = (1, 2)) -> WriteTicket:
    """As the master signs it."""
    bare = WriteTicket(DIGEST, 1000, 7, EXPIRES_MS, b"n" * 16, [Hop(node, f"host:{node}", b"") for node in nodes])
    signed = [
        Hop(node, f"host:{node}", tickets.write_mac(KEYS[node], CLUSTER, bare, place, nodes))
        for place, node in enumerate(nodes)
    ]
    return msgspec.structs.replace(bare, hops=signed)


def read_ticket(node: int = 1) -> ReadTicket:
    """As the master signs it."""
    return ReadTicket(DIGEST, node, EXPIRES_MS, tickets.read_mac(KEYS[node], CLUSTER, node, DIGEST, EXPIRES_MS))


def receipt(node: int = 1) -> Receipt:
    """As a node signs it."""
    return tickets.sign_receipt(KEYS[node], CLUSTER, Receipt(node, DIGEST, 1000, 7, NOW_MS, EXPIRES_MS, b""))


def check_write(ticket: WriteTicket, node: int = 1, hop: int = 0, now_ms: int = NOW_MS) -> None:
    """As that node does."""
    tickets.check_write_ticket(KEYS[node], CLUSTER, node, ticket, hop, now_ms)


def check_read(ticket: ReadTicket, now_ms: int = NOW_MS) -> None:
    """As node 1 does."""
    tickets.check_read_ticket(KEYS[1], CLUSTER, 1, ticket, now_ms)


def check_receipt(given: Receipt, now_ms: int | None = NOW_MS) -> None:
    """As the master does."""
    tickets.check_receipt(KEYS[given.node_id] if given.node_id in KEYS else bytes(32), CLUSTER, given, now_ms)


def flipped(value: Any) -> Iterator[Any]:
    """The value with each of its bits flipped in turn."""
    if isinstance(value, bytes):
        for bit in range(len(value) * 8):
            yield bytes([*value[: bit // 8], value[bit // 8] ^ (1 << bit % 8), *value[bit // 8 + 1 :]])
        for length in range(len(value)):
            yield value[:length]
        yield value + b"\0"
    elif isinstance(value, int):
        for bit in range(63):
            yield value ^ (1 << bit)
        if value:
            yield -value


#: What `rules_mac` covers; orders are signed without it.
RULES = ("scrub_seconds", "scrub_bytes_per_second", "inventory_seconds", "rules_mac")


def altered(value: msgspec.Struct, *, leave: tuple[str, ...] = ()) -> Iterator[Any]:
    """The struct with one bit of one field flipped, for every bit of every field."""
    for field in msgspec.structs.fields(value):
        if field.name not in leave:
            for other in flipped(getattr(value, field.name)):
                yield msgspec.structs.replace(value, **{field.name: other})


def refused(check: Callable[[], None]) -> bool:
    """Whether the check says no, in the one way that there is."""
    try:
        check()
    except BadTicketError:
        return True
    return False


def test_good_ones_are_taken() -> None:
    """Every hop takes its write ticket, a node its read ticket, the master a receipt."""
    ticket = write_ticket((3, 1, 2))
    for place, node in enumerate((3, 1, 2)):
        check_write(ticket, node, place)
    check_read(read_ticket())
    check_receipt(receipt(2))


def test_a_write_ticket_with_any_bit_flipped_is_refused() -> None:
    """Digest, size, generation, expiry, nonce and the hop's MAC are all bound, truncations included."""
    assert all(refused(lambda each=each: check_write(each)) for each in altered(write_ticket()))
    good = write_ticket()
    for hop in altered(good.hops[0], leave=("address",)):
        assert refused(lambda hop=hop: check_write(msgspec.structs.replace(good, hops=[hop, good.hops[1]])))


def test_the_address_of_a_hop_is_not_bound() -> None:
    """The same ticket serves callers inside and outside, who reach the node under different addresses."""
    good = write_ticket()
    moved = [msgspec.structs.replace(hop, address="elsewhere:1") for hop in good.hops]
    check_write(msgspec.structs.replace(good, hops=moved))


def test_a_chain_cannot_be_changed() -> None:
    """Hops swapped, cut, added or repeated make every hop refuse."""
    good = write_ticket((1, 2, 3))
    one, two, three = good.hops
    for chain in ([two, one, three], [one, two], [one], [one, two, three, one], [one, three, two], [one, one, three]):
        changed = msgspec.structs.replace(good, hops=chain)
        for place, hop in enumerate(chain):
            assert refused(lambda place=place, hop=hop, changed=changed: check_write(changed, hop.node_id, place))


@pytest.mark.parametrize(("node", "hop"), [(2, 0), (1, 1), (3, 0), (1, -1), (1, 2), (1, 2**31), (2, -1)])
def test_a_write_ticket_is_for_one_node_at_one_place(node: int, hop: int) -> None:
    """Another node, or another place in the chain, is refused."""
    assert refused(lambda: check_write(write_ticket(), node, hop))


def test_a_read_ticket_with_any_bit_flipped_is_refused() -> None:
    """Digest, node, expiry and MAC are bound, truncations included."""
    assert all(refused(lambda each=each: check_read(each)) for each in altered(read_ticket()))
    assert refused(lambda: check_read(read_ticket(2)))


def test_a_receipt_with_any_bit_flipped_is_refused() -> None:
    """Node, digest, size, generation, both times and MAC are bound, with and without a look at the clock."""
    for each in altered(receipt()):
        assert refused(lambda each=each: check_receipt(each))
        assert refused(lambda each=each: check_receipt(each, None))


def test_another_nodes_or_clusters_key_signs_nothing_here() -> None:
    """One stolen node forges nothing for others; a ticket of cluster A is refused by cluster B."""
    stolen = tickets.sign_receipt(KEYS[2], CLUSTER, msgspec.structs.replace(receipt(), node_id=1))
    assert refused(lambda: check_receipt(stolen))
    for check in (
        lambda: tickets.check_write_ticket(KEYS[1], "other", 1, write_ticket(), 0, NOW_MS),
        lambda: tickets.check_read_ticket(KEYS[1], "other", 1, read_ticket(), NOW_MS),
        lambda: tickets.check_receipt(KEYS[1], "other", receipt(), NOW_MS),
        lambda: tickets.check_write_ticket(KEYS[2], CLUSTER, 1, write_ticket(), 0, NOW_MS),
        lambda: tickets.check_read_ticket(KEYS[2], CLUSTER, 1, read_ticket(), NOW_MS),
    ):
        assert refused(check)


def test_a_mac_made_for_one_thing_is_never_valid_for_another() -> None:
    """Purposes and verbs are told apart inside the MAC, even under one key and over like fields."""
    reply = HeartbeatReply(epoch=1, commit_seq=2, time_ms=3)
    macs = {
        "write": write_ticket().hops[0].mac,
        "read": read_ticket().mac,
        "receipt": receipt().mac,
        "order": tickets.order_mac(KEYS[1], CLUSTER, 1, reply, b""),
        "hello": tickets.hello_mac(KEYS[1], CLUSTER, 1),
        "join": tickets.join_proof(KEYS[1], b"n" * 16),
    }
    assert all(one != other for one, other in combinations(macs.values(), 2))
    for mac in macs.values():
        if mac != macs["read"]:
            assert refused(lambda mac=mac: check_read(msgspec.structs.replace(read_ticket(), mac=mac)))


def test_expiry() -> None:
    """A ticket ends at its millisecond; a receipt as well, except for its renewal, and names its digest."""
    check_write(write_ticket(), now_ms=EXPIRES_MS - 1)
    check_read(read_ticket(), now_ms=EXPIRES_MS - 1)
    check_receipt(receipt(), EXPIRES_MS - 1)
    assert refused(lambda: check_write(write_ticket(), now_ms=EXPIRES_MS))
    assert refused(lambda: check_read(read_ticket(), now_ms=EXPIRES_MS))
    with pytest.raises(BadTicketError) as caught:
        check_receipt(receipt(), EXPIRES_MS)
    assert caught.value.details == {"digests": [DIGEST]}
    check_receipt(receipt(), None)


def test_a_receipt_of_the_future_does_not_count() -> None:
    """It was signed while the master's clock was ahead; it can be renewed like one that has expired."""
    check_receipt(receipt(), EXPIRES_MS - tickets.RECEIPT_MS_MAX)
    with pytest.raises(BadTicketError) as caught:
        check_receipt(receipt(), EXPIRES_MS - tickets.RECEIPT_MS_MAX - 1)
    assert caught.value.details == {"digests": [DIGEST]}
    check_receipt(receipt(), None)


def test_what_is_altered_and_expired_is_altered() -> None:
    """Nobody learns from the answer whether a forged ticket would have been in time."""
    forged = msgspec.structs.replace(read_ticket(), mac=bytes(32))
    sentences = set()
    for now_ms in (NOW_MS, EXPIRES_MS + 1):
        with pytest.raises(BadTicketError) as caught:
            check_read(forged, now_ms)
        sentences.add(caught.value.message)
    assert len(sentences) == 1


def test_orders_are_bound_to_node_and_content() -> None:
    """Epoch, sequence, time and the list of orders are all signed, for one node."""
    reply = HeartbeatReply(epoch=4, commit_seq=99, time_ms=NOW_MS)
    mac = tickets.order_mac(KEYS[1], CLUSTER, 1, reply, b"orders")
    good = msgspec.structs.replace(reply, mac=mac)
    tickets.check_orders(KEYS[1], CLUSTER, 1, good, b"orders")
    for each in altered(good, leave=RULES):
        assert refused(lambda each=each: tickets.check_orders(KEYS[1], CLUSTER, 1, each, b"orders"))
    for body in flipped(b"orders"):
        assert refused(lambda body=body: tickets.check_orders(KEYS[1], CLUSTER, 1, good, body))
    assert refused(lambda: tickets.check_orders(KEYS[2], CLUSTER, 2, good, b"orders"))


def test_rules_are_signed_apart_from_orders() -> None:
    """Each rule, for one node and one moment; a reply without rules carries none, forged ones are refused."""
    bare = HeartbeatReply(epoch=4, commit_seq=99, time_ms=NOW_MS)
    assert not tickets.check_rules(KEYS[1], CLUSTER, 1, bare)
    ruled = msgspec.structs.replace(bare, scrub_seconds=60, scrub_bytes_per_second=4096, inventory_seconds=30)
    good = msgspec.structs.replace(ruled, rules_mac=tickets.rules_mac(KEYS[1], CLUSTER, 1, ruled))
    assert tickets.check_rules(KEYS[1], CLUSTER, 1, good)
    for each in altered(good, leave=("commit_seq", "mac")):
        assert not takes_rules(1, each)
    assert not takes_rules(2, good)


def takes_rules(node_id: int, reply: HeartbeatReply) -> bool:
    """Whether a node would follow the rules of a reply."""
    try:
        return tickets.check_rules(KEYS[node_id], CLUSTER, node_id, reply)
    except BadTicketError:
        return False


def test_keys_differ_by_master_cluster_and_node() -> None:
    """Derived keys are 32 bytes, stable, and as many as there are nodes."""
    assert tickets.derive_node_key(MASTER_KEY, CLUSTER, 1) == KEYS[1]
    others = {
        *KEYS.values(),
        tickets.derive_node_key(MASTER_KEY, "other", 1),
        tickets.derive_node_key(bytes(32), CLUSTER, 1),
    }
    assert len(others) == 5
    assert {len(key) for key in others} == {tickets.KEY_BYTES}


def test_a_join_proof_needs_the_token() -> None:
    """The master checks it from the token's digest, which is all that it keeps."""
    from blake3 import blake3

    token, nonce = b"t" * 32, b"n" * 16
    assert tickets.join_proof(token, nonce) == tickets.join_proof_of_digest(blake3(token).digest(), nonce)
    assert tickets.join_proof(b"u" * 32, nonce) != tickets.join_proof(token, nonce)
    assert tickets.join_proof(token, b"m" * 16) != tickets.join_proof(token, nonce)
