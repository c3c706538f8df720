"""Tickets and receipts that were altered, are another's or too old: refused, nothing is stored or given out."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from tests.support.bad_peers import ERROR, Frame, encode_frame
from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload
from tests.support.raw_requests import COMMIT, GET, OPEN, PLAN, PUT, ask, assert_no_fault_of_ours, greeted

from dfs_wire.limits import CHUNK_BYTES_MAX
from dfs_wire.messages import Role

PAYLOAD = b"what a ticket is for" * 100


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """One for all; at the end it must still be sound, and no request may have met a fault of ours."""
    with FaultCluster(tmp_path_factory.mktemp("peers")) as cluster:
        yield cluster.start()
        assert_no_fault_of_ours(cluster)


@pytest.fixture(scope="module")
def write_ticket(cluster: FaultCluster) -> tuple[str, list[Any]]:
    """The first hop's name, and a fresh ticket for `PAYLOAD` as it travels."""
    with greeted(cluster, "master", Role.CLIENT) as peer:
        answer = ask(peer, PLAN, {"path": "/ticket"}, {"chunks": [[blake3(PAYLOAD).digest(), len(PAYLOAD)]]})
    assert answer is not None
    ((_, ticket),) = msgspec.msgpack.decode(answer.body)
    by_address = {address: name for name, address in cluster.addresses.items()}
    return by_address[ticket[5][0][1]], ticket


def put(cluster: FaultCluster, server: str, ticket: list[Any], body: bytes = PAYLOAD, hop: int = 0) -> Frame | None:
    """Try to store."""
    with greeted(cluster, server, Role.TICKET) as peer:
        peer.send(encode_frame(PUT, {"ticket": ticket, "hop": hop}, body, body_crc=0))
        return peer.read_frame()


def changed(ticket: list[Any], place: int, value: object) -> list[Any]:
    """The ticket with one field altered."""
    return [*ticket[:place], value, *ticket[place + 1 :]]


ALTERED: dict[str, Callable[[list[Any]], list[Any]]] = {
    "digest": lambda ticket: changed(ticket, 0, blake3(b"else").digest()),
    "generation": lambda ticket: changed(ticket, 2, ticket[2] + 1),
    "expiry": lambda ticket: changed(ticket, 3, ticket[3] + 1),
    "expired": lambda ticket: changed(ticket, 3, 1),
    "nonce": lambda ticket: changed(ticket, 4, b"n" * 16),
    "mac": lambda ticket: changed(ticket, 5, [[hop, at, bytes([mac[0] ^ 1]) + mac[1:]] for hop, at, mac in ticket[5]]),
    "no mac": lambda ticket: changed(ticket, 5, [[hop, at, b""] for hop, at, _ in ticket[5]]),
    "one hop less": lambda ticket: changed(ticket, 5, ticket[5][:1]),
    "a hop more": lambda ticket: changed(ticket, 5, [*ticket[5], ticket[5][0]]),
    "hops swapped": lambda ticket: changed(ticket, 5, ticket[5][::-1]),
    "no hops": lambda ticket: changed(ticket, 5, []),
    "another node's id": lambda ticket: changed(ticket, 5, [[9_999, at, mac] for _, at, mac in ticket[5]]),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_write_ticket_is_refused(
    cluster: FaultCluster, write_ticket: tuple[str, list[Any]], what: str
) -> None:
    """Each field is bound by the MAC; nothing is stored."""
    server, ticket = write_ticket
    answer = put(cluster, server, ALTERED[what](ticket))
    assert answer is not None
    assert answer.code == "bad_ticket", answer
    assert not cluster.chunk_file(server, blake3(PAYLOAD).hexdigest()).exists()


@pytest.mark.parametrize("size", [0, 1, len(PAYLOAD) + 1, CHUNK_BYTES_MAX + 1, (1 << 63) - 1, -1])
def test_another_size_than_the_ticket_s_is_refused(
    cluster: FaultCluster, write_ticket: tuple[str, list[Any]], size: int
) -> None:
    """Whether the ticket or the body is the liar."""
    server, ticket = write_ticket
    for given, body in ((changed(ticket, 1, size), PAYLOAD), (ticket, PAYLOAD + b"more"), (ticket, PAYLOAD[:-1])):
        answer = put(cluster, server, given, body)
        assert answer is None or answer.kind == ERROR, answer
    assert not cluster.chunk_file(server, blake3(PAYLOAD).hexdigest()).exists()


def test_a_ticket_is_for_one_node_one_place_and_one_content(
    cluster: FaultCluster, write_ticket: tuple[str, list[Any]]
) -> None:
    """At another node, at another place of the chain, or with other bytes it is worth nothing."""
    server, ticket = write_ticket
    for other in set(cluster.nodes) - {server}:
        answer = put(cluster, other, ticket)
        assert answer is not None
        assert answer.code == "bad_ticket"
    for hop in (1, -1, 2, 1 << 40):
        answer = put(cluster, server, ticket, hop=hop)
        assert answer is not None
        assert answer.code == "bad_ticket", hop
    answer = put(cluster, server, ticket, bytes(len(PAYLOAD)))
    assert answer is not None
    assert answer.code == "corrupt"
    assert not any(cluster.chunk_file(node, blake3(PAYLOAD).hexdigest()).exists() for node in cluster.nodes)


def stored_receipts(cluster: FaultCluster, content: bytes) -> list[list[Any]]:
    """Store a chunk without committing it; its receipts as they travel."""
    with greeted(cluster, "master", Role.CLIENT) as peer:
        answer = ask(peer, PLAN, {"path": "/r"}, {"chunks": [[blake3(content).digest(), len(content)]]})
    assert answer is not None
    ((_, ticket),) = msgspec.msgpack.decode(answer.body)
    by_address = {address: name for name, address in cluster.addresses.items()}
    answer = put(cluster, by_address[ticket[5][0][1]], ticket, content)
    assert answer is not None
    receipts = answer.header["receipts"]
    assert isinstance(receipts, list)
    assert len(receipts) == 2
    return receipts


def commit(cluster: FaultCluster, path: str, content: bytes, receipts: list[list[Any]], request_id: bytes) -> str:
    """Commit a file of one chunk; the code of the outcome, empty where it was done."""
    digest = blake3(content).digest()
    file = [path, -1, len(content), digest, 0, 0o644, [[digest, len(content), 0, len(content)]]]
    with greeted(cluster, "master", Role.CLIENT) as peer:
        answer = ask(peer, COMMIT, {"request_id": request_id}, {"files": [file], "receipts": receipts})
    assert answer is not None
    if answer.kind == ERROR:
        return str(answer.code)
    ((_, code, *_),) = msgspec.msgpack.decode(answer.body)
    return str(code)


def test_receipts_that_no_node_gave_are_worth_nothing(
    cluster: FaultCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Altered, another node's, twice the same, another cluster's: nothing is committed; the true ones still do."""
    content = b"a chunk and its receipts" * 50
    first, second = stored_receipts(cluster, content)
    others = {row["id"] for row in cluster.rows("SELECT id FROM nodes")} - {first[0], second[0]}
    forged = {
        "none": [],
        "one only": [first],
        "the same twice": [first, first],
        "as if from the third node": [first, [others.pop(), *second[1:]]],
        "as if from an unknown node": [first, [4_711, *second[1:]]],
        "mac swapped": [first, [*second[:6], first[6]]],
        "expiry moved": [first, [*second[:5], second[5] + 1, second[6]]],
        "generation moved": [first, [*second[:3], second[3] + 1, *second[4:]]],
        "of another chunk": [first, [second[0], blake3(b"else").digest(), *second[2:]]],
    }
    for number, (what, receipts) in enumerate(forged.items()):
        code = commit(cluster, "/forged", content, receipts, bytes([number]) * 16)
        assert code in {"chunks_missing", "bad_ticket"}, what
    with cluster.client() as dfs:
        assert not dfs.exists("/forged")
    assert commit(cluster, "/true", content, [first, second], b"t" * 16) == ""
    with cluster.client() as dfs, dfs.open("/true") as file:
        assert file.read() == content


def test_a_read_ticket_is_for_one_chunk_one_node_and_a_time(cluster: FaultCluster) -> None:
    """Altered tickets give no byte, and say nothing of what exists."""
    upload = Upload("read-me", "/read-me", MIB)
    with cluster.client() as dfs:
        dfs.upload(upload.stream(), upload.path)
    with greeted(cluster, "master", Role.CLIENT) as peer:
        answer = ask(peer, OPEN, {"path": upload.path})
    assert answer is not None
    ((_, digest, _, _, _, replicas),) = msgspec.msgpack.decode(answer.body)
    expires, ((node_id, name, _, mac), (other_id, other, _, other_mac)) = answer.header["expires_at_ms"], replicas
    assert isinstance(expires, int)
    missing = blake3(b"not here").digest()
    bad = [
        (name, [digest, node_id, expires + 1, mac]),
        (name, [digest, node_id, 1, mac]),
        (name, [missing, node_id, expires, mac]),
        (name, [digest, other_id, expires, other_mac]),
        (name, [digest, node_id, expires, b""]),
        (name, [b"../../../etc/passwd", node_id, expires, mac]),
        (other, [digest, node_id, expires, mac]),
    ]
    for server, ticket in bad:
        with greeted(cluster, server, Role.TICKET) as peer:
            answer = ask(peer, GET, {"ticket": ticket})
            assert answer is not None
            assert answer.code == "bad_ticket", ticket
    with greeted(cluster, name, Role.TICKET) as peer:
        for offset, length in ((-1, 5), (0, MIB + 1), (MIB + 1, 0), (1 << 62, 1 << 62), (5, -7)):
            answer = ask(peer, GET, {"ticket": [digest, node_id, expires, mac], "offset": offset, "length": length})
            assert answer is not None
            assert (answer.kind, answer.code) == (ERROR, "usage") or length == -7
        answer = ask(peer, GET, {"ticket": [digest, node_id, expires, mac], "length": 10})
        assert answer is not None
        assert answer.body.startswith(upload.content()[:10])
