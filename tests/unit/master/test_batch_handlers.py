"""`OpenMany` and `StatMany` at the whole master: tickets that nodes take, limits, and who answers on which thread."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.masters import CLIENT_SESSION, Master, running_master

from dfs_master.healing import Healing
from dfs_master.service import INLINE_LIST_BYTES_MAX, MasterService
from dfs_wire import messages as m
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import ProtocolError, TooLargeError
from dfs_wire.limits import BATCH_PATHS_MAX, TICKET_SECONDS
from dfs_wire.service import Session
from dfs_wire.tickets import check_read_ticket


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """A master without nodes."""
    with running_master(tmp_path / "master") as running:
        yield running


@pytest.fixture
def nodes(master: Master) -> list[int]:
    """The ids of three nodes."""
    return [master.join(f"node-{number}")[1].node_id for number in (1, 2, 3)]


def open_many(master: Master, *wanted: m.FileWanted) -> tuple[m.OpenManyReply, m.OpenedFiles]:
    """Ask for files."""
    answer = master.ask(CLIENT_SESSION, m.OpenMany(), encode_list(list(wanted)))
    return answer.header, decode(answer.body, m.OpenedFiles)


def test_files_come_with_tickets_that_their_nodes_take(master: Master, nodes: list[int]) -> None:
    """One for each chunk and node, however many files lie in the chunk; an error stands in its file's place."""
    master.upload("/a", b"content", nodes[:2], request_id=b"a" * 16)
    master.upload("/b", b"content", nodes[:2], request_id=b"b" * 16)
    (outcome,) = master.upload("/c", b"other", nodes[1:], request_id=b"c" * 16)
    reply, opened = open_many(
        master, m.FileWanted("/a"), m.FileWanted("/none"), m.FileWanted("/b"), m.FileWanted("", outcome.version)
    )
    assert [file.code for file in opened.files] == ["", "not_found", "", ""]
    assert [[extent.chunk for extent in file.extents] for file in opened.files] == [[0], [], [0], [1]]
    assert opened.files[3].version == outcome.version
    assert [sorted(each.node_id for each in chunk.replicas) for chunk in opened.chunks] == [nodes[:2], nodes[1:]]
    assert reply.expires_at_ms - reply.time_ms == TICKET_SECONDS * 1000
    for chunk in opened.chunks:
        for each in chunk.replicas:
            ticket = m.ReadTicket(chunk.digest, each.node_id, reply.expires_at_ms, each.mac)
            key = master.cluster.keys.of(each.node_id)
            check_read_ticket(key, master.cluster.cluster_id, each.node_id, ticket, master.clock.wall_ms())


def test_addresses_are_those_that_the_caller_can_reach(master: Master, nodes: list[int]) -> None:
    """As `Open` gives them."""
    master.upload("/a", b"content", nodes[:2])
    inside = Session("10.0.0.1:1", role=m.Role.CLIENT, address_set=m.AddressSet.CLUSTER)
    answer = master.ask(inside, m.OpenMany(), encode_list([m.FileWanted("/a")]))
    (chunk,) = decode(answer.body, m.OpenedFiles).chunks
    assert {each.address for each in chunk.replicas} == {"node-1:5001", "node-2:5001"}


def test_entries_are_what_single_stats_say(master: Master, nodes: list[int]) -> None:
    """In the order of the request, each with its own error."""
    master.upload("/d/f", b"content", nodes[:2])
    answer = master.ask(CLIENT_SESSION, m.StatMany(), encode_list(["/d/f", "/x", "/d"]))
    found = answer.items(list[m.FoundEntry])
    single = [master.ask(CLIENT_SESSION, m.Stat(path=path)).header.entry for path in ("/d/f", "/d")]
    assert [found[0].entry, found[2].entry] == single
    assert (found[1].entry, found[1].code) == (None, "not_found")


@pytest.mark.parametrize("count", [0, BATCH_PATHS_MAX + 1])
def test_batches_have_a_limit(master: Master, count: int) -> None:
    """Nothing, and more than a thousand, is refused before anything is looked up."""
    with pytest.raises(TooLargeError):
        master.ask(CLIENT_SESSION, m.StatMany(), encode_list(["/a"] * count))
    with pytest.raises(TooLargeError):
        master.ask(CLIENT_SESSION, m.OpenMany(), encode_list([m.FileWanted("/a")] * count))


@pytest.mark.parametrize("body", [b"", b"\xc1", encode_list([1, 2]), encode_list({"a": 1})])
def test_malformed_lists_are_refused(master: Master, body: bytes) -> None:
    """As a fault of the peer, not of the master."""
    for request in (m.OpenMany(), m.StatMany()):
        with pytest.raises(ProtocolError):
            master.ask(CLIENT_SESSION, request, body)


def test_long_lists_are_handed_to_a_worker(master: Master) -> None:
    """The I/O thread answers only what is surely short; a page of a whole tree never."""
    later: list[Callable[[], None]] = []
    service = MasterService(master.cluster, later.append, Healing(master.cluster))
    answers: list[Any] = []
    service.serve(CLIENT_SESSION, m.StatMany(), encode_list(["/a"]), answers.append)
    service.serve(CLIENT_SESSION, m.OpenMany(), encode_list([m.FileWanted("/a")]), answers.append)
    assert (len(answers), len(later)) == (2, 0)
    long = encode_list(["/a" * 100] * (INLINE_LIST_BYTES_MAX // 200 + 1))
    service.serve(CLIENT_SESSION, m.StatMany(), long, answers.append)
    service.serve(CLIENT_SESSION, m.List(path="/", limit=1, recursive=True), b"", answers.append)
    assert (len(answers), len(later)) == (2, 2)
    for work in later:
        work()
    assert len(answers) == 4
