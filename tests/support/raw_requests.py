"""Requests by hand to the processes of a cluster: with a good Hello, and whatever the test likes behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from tests.support.bad_peers import REPLY, Frame, RawPeer, encode_frame
from tests.support.faults import FaultCluster
from tests.support.history import Upload

from dfs_wire.messages import Role

HELLO, PING, PLAN, COMMIT, OPEN, STAT, PUT, GET, RENEW, STATUS = 1, 2, 10, 11, 12, 13, 30, 31, 32, 50


def assert_no_fault_of_ours(cluster: FaultCluster) -> None:
    """All processes live, serve, and have logged no traceback."""
    check_unharmed(cluster)
    for daemon in cluster.daemons.values():
        assert daemon.alive, daemon.last_words()
        assert "Traceback" not in daemon.log.read_text(), daemon.last_words()


def check_unharmed(cluster: FaultCluster) -> None:
    """A well-behaved client is served, at the master and at the nodes."""
    upload = Upload("unharmed", "/unharmed", 100_000)
    with cluster.client() as dfs:
        dfs.upload(upload.stream(), upload.path)
        with dfs.open(upload.path) as file:
            assert file.read() == upload.content()


def credential(cluster: FaultCluster, role: Role) -> dict[str, Any]:
    """A good Hello of a role."""
    keys = {Role.CLIENT: "client_key", Role.ADMIN: "admin_key", Role.JOIN: "join_token"}
    return {"role": role.value, "credential": bytes.fromhex(cluster.keys[keys[role]]) if role in keys else b""}


@contextmanager
def greeted(cluster: FaultCluster, server: str, role: Role) -> Iterator[RawPeer]:
    """A connection whose Hello was accepted."""
    with RawPeer(cluster.addresses[server]) as peer:
        peer.send(encode_frame(HELLO, credential(cluster, role)))
        answer = peer.read_frame()
        assert answer is not None
        assert answer.kind == REPLY, answer
        yield peer


def ask(peer: RawPeer, verb: int, header: object, body: object = None) -> Frame | None:
    """One request, one answer."""
    peer.send(encode_frame(verb, header, b"" if body is None else msgspec.msgpack.encode(body)))
    return peer.read_frame()
