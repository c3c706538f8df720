"""After any crowd of connections a server has its threads, descriptors and memory back."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.support.bad_peers import RawPeer, encode_frame
from tests.support.faults import MIB, Daemon, FaultCluster
from tests.support.polling import poll_for
from tests.support.raw_requests import HELLO, PING, ask, assert_no_fault_of_ours, check_unharmed, credential, greeted

from dfs_wire.limits import CONNECTIONS_MAX, HELLO_SECONDS
from dfs_wire.messages import Role

CONNECTIONS = 400
#: Strangers are dropped after the time for a Hello, line requests after 10 s without a line.
QUIET_SECONDS = 20.0
#: Pools (of workers, of connections to nodes and, for the line protocol, to the master itself) fill up as they are
#: used, and stop at 8. A leak of one kind of connection is more than this in a crowd.
THREADS_SLACK = 8
FILES_SLACK = 20
#: What allocators and caches keep, and what each connection of the largest crowd at once may have had.
MEMORY_SLACK_BYTES = 16 * MIB
CONNECTION_BYTES_MAX = 100 * 1024
SEED = int(os.environ.get("DFS_SEED", str(random.SystemRandom().randrange(1 << 32))))

SERVERS = ["master", "node-1"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """One for all."""
    with FaultCluster(tmp_path_factory.mktemp("leaks")) as cluster:
        yield cluster.start()
        assert_no_fault_of_ours(cluster)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds."""

    threads: int
    descriptors: int
    memory_bytes: int

    @classmethod
    def of(cls, daemon: Daemon) -> "Usage":
        """Now."""
        resident = int(daemon.status_fields()["VmRSS"].split()[0]) * 1024
        return cls(daemon.thread_count(), daemon.descriptor_count(), resident)


def settled(cluster: FaultCluster) -> dict[str, Usage]:
    """What each process holds once it has seen every kind of work and nobody is connected."""
    for _ in range(3):
        check_unharmed(cluster)
    cluster.states()
    return {name: Usage.of(daemon) for name, daemon in cluster.daemons.items()}


def assert_back(cluster: FaultCluster, before: dict[str, Usage], *, at_once: int = 50) -> None:
    """Threads and descriptors come back; memory stays near."""
    for name, daemon in cluster.daemons.items():

        def back(daemon: Daemon = daemon, wanted: Usage = before[name]) -> bool:
            now = Usage.of(daemon)
            return now.threads <= wanted.threads + THREADS_SLACK and now.descriptors <= wanted.descriptors + FILES_SLACK

        poll_for(f"{name} to be back at {before[name]}, not {Usage.of(daemon)}", back, seconds=QUIET_SECONDS)
        grown = Usage.of(daemon).memory_bytes - before[name].memory_bytes
        assert grown < MEMORY_SLACK_BYTES + at_once * CONNECTION_BYTES_MAX


Crowd = Callable[[FaultCluster, str, random.Random], bytes]


def good_hello(cluster: FaultCluster, server: str) -> bytes:
    """What a well-behaved peer says first."""
    return encode_frame(HELLO, credential(cluster, Role.CLIENT if server == "master" else Role.TICKET))


CROWDS: dict[str, Crowd] = {
    "says nothing": lambda _cluster, _server, _rng: b"",
    "half a Hello": lambda cluster, server, rng: good_hello(cluster, server)[: rng.randrange(1, 60)],
    "noise": lambda _cluster, _server, rng: rng.randbytes(rng.randrange(1, 2_000)),
    "noise behind the magic": lambda _cluster, _server, rng: (
        b"\xdfDFS\x01\x01" + rng.randbytes(rng.randrange(1, 2_000))
    ),
    "a TLS hello": lambda _cluster, _server, rng: b"\x16\x03\x01\x02\x00" + rng.randbytes(512),
    "half a line": lambda _cluster, _server, _rng: b"UPLOAD some-file 10",
    "half a file by lines": lambda _cluster, _server, _rng: b"UPLOAD half-file 10\nhalf",
    "a list by lines": lambda _cluster, _server, _rng: b"LIST\n",
    "an HTTP request": lambda _cluster, _server, _rng: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "Hello, then silence": lambda cluster, server, _rng: good_hello(cluster, server),
    "Hello, then half a frame": lambda cluster, server, _rng: good_hello(cluster, server) + encode_frame(PING, {})[:20],
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_crowd_that_comes_and_goes_leaves_nothing(cluster: FaultCluster, server: str, ending: str) -> None:
    """Hundreds of connections of every bad kind; good requests between them are served."""
    rng = random.Random(SEED)

    def crowd() -> None:
        with ExitStack() as open_now:
            for place in range(50):
                peer = open_now.enter_context(RawPeer(cluster.addresses[server]))
                peer.send(list(CROWDS.values())[place % len(CROWDS)](cluster, server, rng))
                if ending == "reset":
                    peer.reset()
            check_unharmed(cluster)

    for _ in range(2):
        crowd()  # the first use of the line protocol opens a client inside the master, which stays
    before = settled(cluster)
    for _ in range(CONNECTIONS // 50):
        crowd()
    assert_back(cluster, before)


@pytest.mark.parametrize("server", SERVERS)
def test_strangers_that_stay_are_shown_the_door(cluster: FaultCluster, server: str) -> None:
    """Hundreds of connections that never say Hello: others are served meanwhile, and the server ends them by itself."""
    rng = random.Random(SEED)
    before = settled(cluster)
    kinds = [CROWDS[name] for name in ("says nothing", "half a Hello", "noise behind the magic", "a TLS hello")]
    with ExitStack() as open_now:
        peers = [open_now.enter_context(RawPeer(cluster.addresses[server])) for _ in range(CONNECTIONS)]
        for place, peer in enumerate(peers):
            peer.send(kinds[place % len(kinds)](cluster, server, rng))
        check_unharmed(cluster)
        until = time.monotonic() + HELLO_SECONDS + 5
        assert all(peer.hung_up_within(max(0.1, until - time.monotonic())) for peer in peers)
        assert_back(cluster, before, at_once=CONNECTIONS)


@pytest.mark.parametrize("server", SERVERS)
def test_a_slow_peer_holds_nobody_up(cluster: FaultCluster, server: str) -> None:
    """A Hello of one byte at a time is ended with the time for a Hello, however often a byte comes."""
    hello = good_hello(cluster, server)
    with RawPeer(cluster.addresses[server]) as peer:
        started = time.monotonic()
        peer.socket.settimeout(0.25)
        for byte in hello:
            peer.send(bytes([byte]))
            try:
                if not peer.socket.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
        assert time.monotonic() - started < HELLO_SECONDS + 5


@pytest.mark.parametrize("server", SERVERS)
def test_more_connections_than_allowed_are_refused_and_leave_room_again(cluster: FaultCluster, server: str) -> None:
    """The master closes the last ones at once, and lets others in when some go; a node closes the oldest idle ones, so
    that whoever holds all of its connections keeps nobody out.
    """
    before = settled(cluster)
    with ExitStack() as open_now:
        peers = [open_now.enter_context(RawPeer(cluster.addresses[server])) for _ in range(CONNECTIONS_MAX + 20)]
        assert peers[-1 if server == "master" else 0].hung_up_within(5)
        assert cluster.daemons[server].alive
        assert server == "master" or room(cluster, server)
    poll_for("room", lambda: room(cluster, server), seconds=QUIET_SECONDS)
    assert_back(cluster, before, at_once=CONNECTIONS_MAX)
    check_unharmed(cluster)


def room(cluster: FaultCluster, server: str) -> bool:
    """Whether a good Hello and a Ping are answered."""
    try:
        with greeted(cluster, server, Role.CLIENT if server == "master" else Role.TICKET) as peer:
            return ask(peer, PING, {}) is not None
    except (AssertionError, OSError):
        return False


def test_clients_that_come_and_go_leave_nothing(cluster: FaultCluster) -> None:
    """Whole clients with their pools: connect, store, read, close."""
    before = settled(cluster)
    for _ in range(40):
        check_unharmed(cluster)
    assert_back(cluster, before)


def test_the_client_itself_leaves_nothing(cluster: FaultCluster) -> None:
    """After `close`, this process has its threads and descriptors back."""
    check_unharmed(cluster)

    def own() -> tuple[int, int]:
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a bare count

    before = own()
    for _ in range(5):
        check_unharmed(cluster)
    poll_for("this process", lambda: own() <= before, seconds=5)


def test_a_peer_that_takes_no_replies_holds_nobody_up(cluster: FaultCluster) -> None:
    """Thousands of requests and no read: the master stops reading from that peer, and serves the others."""
    before = settled(cluster)
    ping = encode_frame(PING, {})
    with greeted(cluster, "master", Role.CLIENT) as peer:
        peer.socket.settimeout(2)
        try:
            for _ in range(2_000):
                peer.socket.sendall(ping * 100)
        except (TimeoutError, OSError):
            pass
        check_unharmed(cluster)
        assert Usage.of(cluster.master).memory_bytes < before["master"].memory_bytes + MEMORY_SLACK_BYTES
    assert_back(cluster, before)
