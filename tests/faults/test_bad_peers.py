"""Whatever a peer sends to a master or node: a typed refusal or a closed connection, and the server serves on."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest
from blake3 import blake3
from tests.support.bad_peers import ERROR, REPLY, RawPeer, encode_frame
from tests.support.faults import FaultCluster
from tests.support.raw_requests import (
    COMMIT,
    GET,
    HELLO,
    PING,
    PLAN,
    PUT,
    RENEW,
    STATUS,
    ask,
    assert_no_fault_of_ours,
    check_unharmed,
    credential,
    greeted,
)

from dfs_wire.limits import CHUNK_BYTES_MAX, HELLO_SECONDS
from dfs_wire.messages import Role
from dfs_wire.verbs import RULES, Rule, Server

#: A listener looks at its connections once a second.
HELLO_SECONDS_MAX = HELLO_SECONDS + 5
SEED = int(os.environ.get("DFS_SEED", str(random.SystemRandom().randrange(1 << 32))))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """One for all; at the end it must still be sound, and no request may have met a fault of ours."""
    with FaultCluster(tmp_path_factory.mktemp("peers")) as cluster:
        yield cluster.start()
        assert_no_fault_of_ours(cluster)


# -- frames ------------------------------------------------------------------------------------------------------

HELLO_HEADER = {"role": "client", "credential": b"x" * 32}

BAD_FRAMES: dict[str, bytes] = {
    "another magic": encode_frame(HELLO, HELLO_HEADER, magic=b"\xdfDFT"),
    "another protocol version": encode_frame(HELLO, HELLO_HEADER, version=9),
    "an unknown kind": encode_frame(HELLO, HELLO_HEADER, kind=77),
    "a reply out of nowhere": encode_frame(HELLO, HELLO_HEADER, kind=REPLY),
    "a header checksum that is wrong": encode_frame(HELLO, HELLO_HEADER, spoil_header_crc=True),
    "a header over the limit": encode_frame(HELLO, b"", header_bytes=5_000),
    "a header of 4 GiB": encode_frame(HELLO, b"", header_bytes=0xFFFFFFFF),
    "a body over the limit": encode_frame(HELLO, HELLO_HEADER, body_bytes=CHUNK_BYTES_MAX + 1),
    "a body of 2**64 - 1 bytes": encode_frame(HELLO, HELLO_HEADER, body_bytes=0xFFFFFFFFFFFFFFFF),
    "a header that is no msgpack": encode_frame(HELLO, b"\xc1\xc1\xc1"),
    "a header nested a thousand deep": encode_frame(HELLO, b"\x91" * 1_000 + b"\x90"),
    "a header of another shape": encode_frame(HELLO, [1, 2, 3]),
    "a field of another type": encode_frame(HELLO, {"role": 7}),
    "an unknown role": encode_frame(HELLO, {"role": "emperor"}),
    "a stranger's role": encode_frame(HELLO, {"role": "stranger"}),
    "an unknown verb": encode_frame(999, {}),
    "no Hello first": encode_frame(PING, {}),
    "an empty header": encode_frame(HELLO, b""),
    "a Hello with a body": encode_frame(HELLO, HELLO_HEADER, b"surprise"),
}


@pytest.mark.parametrize("server", ["master", "node-1"])
@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_first_frame_is_refused_and_the_connection_closed(cluster: FaultCluster, server: str, name: str) -> None:
    """An error frame with a code of the error tree, or nothing, and then the end."""
    with RawPeer(cluster.addresses[server]) as peer:
        peer.send(BAD_FRAMES[name])
        answer = peer.read_frame()
        assert answer is None or answer.code in {"protocol", "too_large", "not_allowed", "bad_credential"}, answer
        assert peer.hung_up_within(HELLO_SECONDS_MAX)
    with cluster.client() as dfs:
        assert dfs.exists("/")


def test_a_truncated_frame_does_not_keep_a_connection(cluster: FaultCluster) -> None:
    """A stranger that stops in mid-Hello is dropped after the time for a Hello."""
    hello = encode_frame(HELLO, credential(cluster, Role.CLIENT))
    with ExitStack() as peers:
        waiting = [
            peers.enter_context(RawPeer(cluster.addresses[server])) for server in ("master", "node-1") for _ in range(6)
        ]
        for peer, keep in zip(waiting, 2 * [0, 1, 5, 39, 40, 45], strict=True):
            peer.send(hello[:keep])
        until = time.monotonic() + HELLO_SECONDS_MAX
        assert all(peer.hung_up_within(until - time.monotonic()) for peer in waiting)


@pytest.mark.parametrize(("server", "role"), [("master", Role.CLIENT), ("node-1", Role.TICKET)])
@pytest.mark.parametrize(
    "name", ["a header checksum that is wrong", "a header of 4 GiB", "another magic", "an unknown kind"]
)
def test_a_bad_frame_later_ends_the_connection(cluster: FaultCluster, server: str, role: Role, name: str) -> None:
    """Where the stream cannot be trusted any more, a good Hello before does not help."""
    with greeted(cluster, server, role) as peer:
        peer.send(BAD_FRAMES[name])
        answer = peer.read_frame()
        assert answer is None or answer.code in {"protocol", "too_large"}, answer
        assert peer.hung_up_within(HELLO_SECONDS_MAX)


def test_a_body_checksum_that_is_wrong_ends_the_connection(cluster: FaultCluster) -> None:
    """An altered list is never looked at."""
    body = msgspec.msgpack.encode([[], [], []])
    for server, role, verb, header in (
        ("master", Role.CLIENT, PLAN, {"path": "/x"}),
        ("node-1", Role.TICKET, RENEW, {}),
    ):
        with greeted(cluster, server, role) as peer:
            peer.send(encode_frame(verb, header, body, body_crc=1))
            answer = peer.read_frame()
            assert answer is None or answer.code == "protocol", answer
            assert peer.hung_up_within(HELLO_SECONDS_MAX)


def test_random_bytes_harm_nobody(cluster: FaultCluster) -> None:
    """Noise, alone and behind a good Hello or the right magic, at master and node."""
    rng = random.Random(SEED)
    for turn in range(120):
        server = rng.choice(["master", "node-1"])
        role = Role.CLIENT if server == "master" else Role.TICKET
        hello = encode_frame(HELLO, credential(cluster, role))
        noise = rng.randbytes(rng.choice([1, 7, 39, 40, 41, 300, 5_000]))
        start = rng.choice(
            [b"", b"\xdfDFS", b"\xdfDFS\x01\x01", b"\x16\x03\x01", hello, hello[: rng.randrange(len(hello))]]
        )
        with RawPeer(cluster.addresses[server]) as peer:
            peer.send(start + noise)
            if turn % 3 == 0:
                peer.reset()
    check_unharmed(cluster)


# -- credentials -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.CLIENT, Role.ADMIN, Role.JOIN, Role.NODE])
@pytest.mark.parametrize("given", [b"", b"x", b"x" * 32, b"x" * 4_000])
def test_a_wrong_credential_is_refused_once(cluster: FaultCluster, role: Role, given: bytes) -> None:
    """One try a connection, and the same answer whatever was wrong."""
    with RawPeer(cluster.addresses["master"]) as peer:
        peer.send(encode_frame(HELLO, {"role": role.value, "credential": given, "node_id": 1}))
        answer = peer.read_frame()
        assert answer is not None
        assert answer.code == "bad_credential"
        assert peer.hung_up_within(HELLO_SECONDS_MAX)


def test_a_key_of_one_role_opens_no_other(cluster: FaultCluster) -> None:
    """A client key is no admin key, a join token no client key."""
    for own in (Role.CLIENT, Role.JOIN):
        for other in (Role.CLIENT, Role.ADMIN, Role.JOIN):
            if other is own or (own is Role.JOIN and other is Role.JOIN):
                continue
            with RawPeer(cluster.addresses["master"]) as peer:
                answer = ask(peer, HELLO, {**credential(cluster, own), "role": other.value})
                assert answer is not None
                assert answer.code == "bad_credential", (own, other)


MASTER_ROLES = [Role.CLIENT, Role.ADMIN, Role.JOIN]
FORBIDDEN = [
    (rule, role)
    for rule in RULES
    if rule.server in (Server.MASTER, Server.BOTH) and rule.name != "Hello"
    for role in MASTER_ROLES
    if role not in rule.roles
]


@pytest.mark.parametrize(
    ("rule", "role"), FORBIDDEN, ids=lambda each: each.name if isinstance(each, Rule) else each.value
)
def test_no_verb_without_its_role(cluster: FaultCluster, rule: Rule, role: Role) -> None:
    """Authorisation comes before anything of the request is looked at: garbage as header gets the same refusal."""
    with greeted(cluster, "master", role) as peer:
        for header in ({}, {"path": "/"}, b"\xc1"):
            answer = ask(peer, rule.number, header)
            assert answer is not None
            assert answer.code == "not_allowed"


def test_a_node_serves_no_verb_of_the_master_and_the_other_way_round(cluster: FaultCluster) -> None:
    """A verb that is not served here is a protocol error."""
    for server, role, verb in (
        ("master", Role.ADMIN, PUT),
        ("master", Role.ADMIN, GET),
        ("node-1", Role.TICKET, STATUS),
    ):
        with greeted(cluster, server, role) as peer:
            answer = ask(peer, verb, {})
            assert answer is None or answer.code == "protocol", (server, verb)


# -- lists that are no lists ------------------------------------------------------------------------------------


BAD_PLANS: dict[str, object] = {
    "no chunks": {"chunks": []},
    "a short digest": {"chunks": [[b"short", 5]]},
    "a size of 0": {"chunks": [[b"d" * 32, 0]]},
    "a negative size": {"chunks": [[b"d" * 32, -5]]},
    "a size beyond a chunk": {"chunks": [[b"d" * 32, CHUNK_BYTES_MAX + 1]]},
    "a size beyond 63 bits": {"chunks": [[b"d" * 32, (1 << 64) - 1]]},
    "too many chunks": {"chunks": [[b"d" * 32, 1]] * 8_193},
    "text for a list": {"chunks": "all"},
    "text for bytes": {"chunks": [["d" * 32, 1]]},
    "a list for a map": [[], [], []],
    "a receipt of nobody": {"chunks": [[b"d" * 32, 0]], "receipts": [[1 << 63, b"", -1, -1, -1, -1, b""]]},
    "an id beyond 64 bits": {"chunks": [[b"d" * 32, 0]], "exclude_nodes": [b"\xff" * 9]},
}


@pytest.mark.parametrize("what", BAD_PLANS)
def test_a_bad_plan_is_refused(cluster: FaultCluster, what: str) -> None:
    """With a typed error, on a connection that may go on or not."""
    with greeted(cluster, "master", Role.CLIENT) as peer:
        answer = ask(peer, PLAN, {"path": "/x"}, BAD_PLANS[what])
        assert answer is not None
        assert answer.code in {"usage", "protocol", "too_large"}, answer


def test_a_bad_commit_is_refused(cluster: FaultCluster) -> None:
    """Sizes, digests and extents that contradict each other never become a version."""
    digest = blake3(b"").digest()
    bad_files: list[object] = [
        ["/bad", -1, 5, digest, 0, 0o644, []],
        ["/bad", -1, -5, digest, 0, 0o644, []],
        ["/bad", -1, (1 << 64) - 1, digest, 0, 0o644, []],
        ["/bad", -1, 0, b"short", 0, 0o644, []],
        ["/bad", -1, 0, digest, (1 << 64) - 1, 0o644, []],
        ["/bad", -1, 3, digest, 0, 0o644, [[digest, 3, 0, 4]]],
        ["/bad", -1, 3, digest, 0, 0o644, [[digest, 3, -1, 3]]],
        ["/bad", -1, 3, digest, 0, 0o644, [[digest, 3, 1, 3]]],
        ["/bad", -1, 0, digest, 0, 0o644, [[digest, 3, 0, 0]]],
        ["/bad/../x", -1, 0, digest, 0, 0o644, []],
        ["/", -1, 0, digest, 0, 0o644, []],
        ["", -1, 0, digest, 0, 0o644, []],
    ]
    for number, file in enumerate(bad_files):
        with greeted(cluster, "master", Role.CLIENT) as peer:
            answer = ask(peer, COMMIT, {"request_id": number.to_bytes(16, "big")}, {"files": [file]})
            assert answer is not None, file
            if answer.kind == REPLY:
                ((version, code, *_),) = msgspec.msgpack.decode(answer.body)
                assert (version, bool(code), code != "internal") == (0, True, True), file
            else:
                assert answer.code in {"usage", "protocol", "too_large", "bad_ticket"}, (file, answer)
    for request_id in (b"", b"short", b"x" * 17):
        with greeted(cluster, "master", Role.CLIENT) as peer:
            answer = ask(peer, COMMIT, {"request_id": request_id}, {"files": [["/bad", -1, 0, digest, 0, 0o644, []]]})
            assert answer is not None
            assert answer.kind == ERROR, request_id
    with cluster.client() as dfs:
        assert not dfs.exists("/bad")
