"""Small files one after the other: which are planned, which go under tickets taken ahead, and what ends those."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.fake_cluster import FakeCluster

from dfs_client.ahead import DIRECTORIES_MAX
from dfs_client.api import Dfs
from dfs_wire.errors import BadTicketError, BusyError, ConnectFailedError, ProtocolError
from dfs_wire.limits import AHEAD_CHUNK_BYTES_MIN, AHEAD_SECONDS
from dfs_wire.messages import Commit, Header, Plan, PutChunk, TakeTickets


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies."""
    return FakeCluster()


@pytest.fixture
def dfs(cluster: FakeCluster) -> Iterator[Dfs]:
    """A client with one thread."""
    with cluster.connect() as connected:
        yield connected


def upload(dfs: Dfs, source: Path, path: str, data: bytes) -> None:
    """One small file."""
    source.write_bytes(data)
    assert dfs.upload(source, path).size == len(data)


def upload_many(dfs: Dfs, tmp_path: Path, numbers: range, directory: str = "/d") -> None:
    """Files of new content into one directory, one by one."""
    for number in numbers:
        upload(dfs, tmp_path / "source", f"{directory}/{number}", f"{directory} {number}".encode())


def check_all(cluster: FakeCluster, numbers: range, directory: str = "/d") -> None:
    """Each is there, whole, with two copies."""
    for number in numbers:
        data = f"{directory} {number}".encode()
        assert cluster.content(f"{directory}/{number}") == data
        assert len(cluster.replicas[blake3(data).digest()]) == 2


def test_the_first_is_planned_and_those_behind_it_are_put_at_once(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path
) -> None:
    """One plan, one request for tickets, and from then on two requests a file; the nodes take turns."""
    upload_many(dfs, tmp_path, range(20))
    check_all(cluster, range(20))
    assert [len(cluster.sent(kind)) for kind in (Plan, TakeTickets, PutChunk, Commit)] == [1, 1, 20, 20]
    assert len({request.ticket.hops[0].node_id for request in cluster.sent(PutChunk)}) == 3


def test_one_file_takes_no_tickets(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Neither does one each in several directories."""
    for directory in ("/a", "/b", "/c"):
        upload_many(dfs, tmp_path, range(1), directory)
    assert cluster.sent(TakeTickets) == []


def test_known_content_stays_planned(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The same tree once more moves no bytes and makes no copies, whoever uploads it."""
    upload_many(dfs, tmp_path, range(10))
    sent, copies = cluster.put_bytes, {digest: set(nodes) for digest, nodes in cluster.replicas.items()}
    with cluster.connect() as again:
        upload_many(again, tmp_path, range(10))
    assert cluster.put_bytes == sent
    assert cluster.replicas == copies


def test_a_refused_ticket_means_a_plan(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A node that restarted counts anew and refuses: that file is planned, and it costs the tickets of that node."""
    upload_many(dfs, tmp_path, range(3))
    cluster.fail(PutChunk, BadTicketError("used up"))
    upload_many(dfs, tmp_path, range(3, 6))
    check_all(cluster, range(6))
    assert len(cluster.sent(Plan)) == 2


def test_a_dead_node_is_left_out(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """After its first failures no ticket that names it is used, and each file still has two copies."""
    upload_many(dfs, tmp_path, range(3))
    cluster.nodes[2].up = False
    before = len(cluster.sent(PutChunk))
    upload_many(dfs, tmp_path, range(3, 40))
    assert all(len(cluster.replicas[blake3(f"/d {n}".encode()).digest()] & {1, 3}) == 2 for n in range(10, 40))
    named = [
        request for request in cluster.sent(PutChunk)[before:] if 2 in {hop.node_id for hop in request.ticket.hops}
    ]
    assert len(named) <= 4


def test_a_busy_node_keeps_its_tickets(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Busy passes: that one file is planned, the tickets stay."""
    upload_many(dfs, tmp_path, range(3))
    cluster.fail(PutChunk, BusyError("busy"))
    upload_many(dfs, tmp_path, range(3, 10))
    check_all(cluster, range(10))
    assert [len(cluster.sent(kind)) for kind in (Plan, TakeTickets)] == [2, 1]


def test_a_raised_policy_is_mended_and_the_tickets_go(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """`Commit` decides: what has too few copies is planned again, and those behind it go to enough nodes."""
    upload_many(dfs, tmp_path, range(3))
    cluster.policies["/d"] = 3
    upload_many(dfs, tmp_path, range(3, 8))
    assert all(len(cluster.replicas[blake3(f"/d {n}".encode()).digest()]) == 3 for n in range(3, 8))
    assert len(cluster.sent(Commit)) == 8 + 1


def test_old_tickets_are_not_used(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """Near their end others are taken: no put is refused for its age."""
    upload_many(dfs, tmp_path, range(3))
    cluster.clock.advance(AHEAD_SECONDS - 5)
    upload_many(dfs, tmp_path, range(3, 5))
    assert [len(cluster.sent(kind)) for kind in (Plan, TakeTickets, PutChunk)] == [1, 2, 5]


def test_used_up_tickets_are_replaced_before_a_node_refuses(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """The client counts as the nodes do."""
    cluster.ahead_bytes_max = 2 * AHEAD_CHUNK_BYTES_MIN
    upload_many(dfs, tmp_path, range(1 + 16 + 16 + 1))
    assert [len(cluster.sent(kind)) for kind in (Plan, TakeTickets)] == [1, 3]
    used: dict[bytes, int] = {}
    for request in cluster.sent(PutChunk)[1:]:
        used[request.ticket.nonce] = used.get(request.ticket.nonce, 0) + 1
    assert max(used.values()) == 2


@pytest.mark.parametrize("error", [ProtocolError("verb 22 is not served here"), ConnectFailedError("gone")])
def test_a_master_that_gives_none_is_asked_for_plans(
    cluster: FakeCluster, dfs: Dfs, tmp_path: Path, error: Exception
) -> None:
    """An older master, or one that is away for a moment: no file fails, and it is not asked each time."""

    def refuse(_address: str, request: Header) -> None:
        if isinstance(request, TakeTickets):
            raise error

    cluster.hook = refuse
    upload_many(dfs, tmp_path, range(6))
    check_all(cluster, range(6))
    assert [len(cluster.sent(kind)) for kind in (Plan, TakeTickets)] == [6, 1]


def test_few_directories_are_remembered(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A walk over many directories does not fill the memory, and the last ones keep their tickets."""
    for number in range(DIRECTORIES_MAX + 5):
        upload_many(dfs, tmp_path, range(2), f"/{number}")
    taken = len(cluster.sent(TakeTickets))
    upload_many(dfs, tmp_path, range(2, 4), f"/{DIRECTORIES_MAX + 4}")
    assert len(cluster.sent(TakeTickets)) == taken
    upload_many(dfs, tmp_path, range(2, 3), "/0")
    assert len(cluster.sent(Plan)) == DIRECTORIES_MAX + 5 + 1


def test_the_secret_is_not_the_tickets(cluster: FakeCluster, dfs: Dfs, tmp_path: Path) -> None:
    """What the master is shown does not tell the secret; each put carries it."""
    upload_many(dfs, tmp_path, range(3))
    (asked,) = cluster.sent(TakeTickets)
    secrets = {request.secret for request in cluster.sent(PutChunk)[1:]}
    assert len(secrets) == 1
    assert asked.holder == blake3(*secrets).digest()
