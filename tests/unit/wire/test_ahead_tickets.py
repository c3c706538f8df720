"""Tickets taken ahead: what binds them, and for whom, where, when and how long they are good."""

from typing import Any

import msgspec
import pytest
from tests.unit.wire.test_tickets import CLUSTER, DIGEST, KEYS, NOW_MS, altered, refused, write_ticket

from dfs_wire import tickets
from dfs_wire.limits import AHEAD_BYTES_MAX, AHEAD_CHUNK_BYTES_MAX
from dfs_wire.messages import Hop, WriteTicket

SECRET = bytes(range(32))
STARTED_MS = NOW_MS - 10_000


def ahead_ticket(nodes: tuple[int, ...] = (1, 2), **fields: Any) -> WriteTicket:
    """As the master signs it and its holder fills it in."""
    given = {
        "generation": 7,
        "expires_at_ms": NOW_MS + 60_000,
        "nonce": b"n" * 16,
        "bytes_max": AHEAD_BYTES_MAX,
        "issued_at_ms": NOW_MS - 1_000,
        "holder": tickets.holder_of(SECRET),
    }
    bare = WriteTicket(digest=b"", size=0, hops=[], **(given | fields))
    hops = [
        Hop(node, f"host:{node}", tickets.ahead_mac(KEYS[node], CLUSTER, bare, place, nodes))
        for place, node in enumerate(nodes)
    ]
    return msgspec.structs.replace(bare, hops=hops, digest=DIGEST, size=1_000)


def check(
    ticket: WriteTicket,
    node: int = 1,
    hop: int = 0,
    *,
    secret: bytes = SECRET,
    now_ms: int = NOW_MS,
    started_at_ms: int = STARTED_MS,
) -> None:
    """As that node does."""
    tickets.check_ahead_ticket(
        KEYS[node], CLUSTER, node, ticket, hop, secret, now_ms=now_ms, started_at_ms=started_at_ms
    )


def test_a_good_one_is_taken_by_every_hop_for_any_small_chunk() -> None:
    """Digest and size are the holder's to fill in."""
    ticket = ahead_ticket((3, 1, 2))
    for place, node in enumerate((3, 1, 2)):
        check(ticket, node, place)
        check(msgspec.structs.replace(ticket, digest=bytes(32), size=AHEAD_CHUNK_BYTES_MAX), node, place)


def test_any_other_bit_flipped_is_refused() -> None:
    """Budget, generation, both times, nonce, holder and the hop's MAC are bound, truncations included."""
    good = ahead_ticket()
    assert all(refused(lambda each=each: check(each)) for each in altered(good, leave=("digest", "size", "hops")))
    for hop in altered(good.hops[0], leave=("address",)):
        assert refused(lambda hop=hop: check(msgspec.structs.replace(good, hops=[hop, good.hops[1]])))


def test_a_chain_cannot_be_changed() -> None:
    """Hops swapped, cut, added or repeated make every hop refuse."""
    good = ahead_ticket((1, 2, 3))
    one, two, three = good.hops
    for chain in ([two, one, three], [one, two], [one], [one, two, three, one], [one, one, three]):
        changed = msgspec.structs.replace(good, hops=chain)
        for place, hop in enumerate(chain):
            assert refused(lambda place=place, hop=hop, changed=changed: check(changed, hop.node_id, place))


@pytest.mark.parametrize(("node", "hop"), [(2, 0), (1, 1), (3, 0), (1, -1), (1, 2), (1, 2**31)])
def test_it_is_for_one_node_at_one_place(node: int, hop: int) -> None:
    """Another node, or another place in the chain, is refused."""
    assert refused(lambda: check(ahead_ticket(), node, hop))


def test_it_is_for_its_holder() -> None:
    """Who has read the ticket and does not know the secret cannot use it."""
    for secret in (b"", b"x" * 32, SECRET[:-1], tickets.holder_of(SECRET)):
        assert refused(lambda secret=secret: check(ahead_ticket(), secret=secret))


def test_it_ends() -> None:
    """At its expiry, to the millisecond."""
    ticket = ahead_ticket()
    check(ticket, now_ms=ticket.expires_at_ms - 1)
    assert refused(lambda: check(ticket, now_ms=ticket.expires_at_ms))


def test_it_was_issued_while_the_node_counts() -> None:
    """What was issued before the node's start may be used up already; what comes from the future proves a clock
    that was set back, behind which the same could hide.
    """
    ticket = ahead_ticket()
    check(ticket, started_at_ms=ticket.issued_at_ms - 1)
    assert refused(lambda: check(ticket, started_at_ms=ticket.issued_at_ms))
    early = ticket.issued_at_ms - tickets.AHEAD_SKEW_MS - 1
    assert refused(lambda: check(ticket, now_ms=early, started_at_ms=0))


@pytest.mark.parametrize("size", [-1, 0, AHEAD_CHUNK_BYTES_MAX + 1, 2**62])
def test_large_chunks_need_a_plan(size: int) -> None:
    """Only what is sent at once is put ahead."""
    assert refused(lambda: check(msgspec.structs.replace(ahead_ticket(), size=size)))


def test_a_digest_has_its_length() -> None:
    """Nothing else can name a chunk."""
    assert refused(lambda: check(msgspec.structs.replace(ahead_ticket(), digest=b"short")))


def test_one_kind_is_never_the_other() -> None:
    """An ordinary ticket with a budget written into it is refused, and a ticket taken ahead for one chunk, too."""
    key, nodes = KEYS[1], (1, 2)
    dressed = msgspec.structs.replace(
        write_ticket(nodes), bytes_max=AHEAD_BYTES_MAX, issued_at_ms=NOW_MS, holder=tickets.holder_of(SECRET)
    )
    assert refused(lambda: check(dressed))
    stripped = msgspec.structs.replace(ahead_ticket(), bytes_max=0, issued_at_ms=0, holder=b"")
    for ticket in (dressed, stripped, ahead_ticket()):
        assert refused(lambda ticket=ticket: tickets.check_write_ticket(key, CLUSTER, 1, ticket, 0, NOW_MS))
