"""A master behind its nodes: noticed, read-only, accepted; and what comes after."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.masters import CLIENT_SESSION, Master, running_master

from dfs_master.catalog.committer import take_epoch
from dfs_master.catalog.engine import open_engine
from dfs_master.fence import (
    COMMIT_SEQ_JUMP,
    COMMIT_SEQ_MAX,
    EPOCH_MAX,
    SERVED_READ_ONLY,
    Fence,
    Point,
    is_ahead,
    jumped,
    was_lost,
)
from dfs_wire import messages as m
from dfs_wire.codec import encode_list
from dfs_wire.errors import NotAllowedError, NotFoundError, ReadOnlyError, UnavailableError
from dfs_wire.service import Session
from dfs_wire.verbs import RULES, Server

ADMIN = Session("127.0.0.1:40009", role=m.Role.ADMIN)
BEGUN = Point(6, 100)


@pytest.mark.parametrize(
    ("seen", "first_contact", "ahead"),
    [
        (Point(5, 90), True, False),  # the usual: it heard the master before this one
        (Point(5, 100), True, False),
        (Point(5, 101), True, True),  # more changes than this database began with
        (Point(6, 120), False, False),  # it heard this master, which is at 120 now
        (Point(6, 121), False, True),
        (Point(6, 3), True, True),  # only this master can have told it of epoch 6, and it did not
        (Point(7, 0), False, True),
        (Point(0, 0), True, False),  # a new node
    ],
)
def test_who_is_ahead(seen: Point, first_contact: bool, ahead: bool) -> None:
    """By epoch, then by the number of changes."""
    assert is_ahead(seen, begun=BEGUN, commit_seq=120, first_contact=first_contact) is ahead


def test_each_news_is_told_once() -> None:
    """Heartbeats repeat it every three seconds."""
    fence = Fence(BEGUN)
    assert fence.heard(Point(7, 50), commit_seq=100, first_contact=True)
    assert not fence.heard(Point(7, 50), commit_seq=100, first_contact=False)
    assert fence.heard(Point(7, 60), commit_seq=100, first_contact=False)
    assert fence.seen == (7, 60)
    begun = jumped(BEGUN, fence.seen)
    assert begun > (7, 60)
    assert begun.commit_seq > COMMIT_SEQ_JUMP
    fence.begin_again(begun)
    assert not fence.heard(Point(7, 70), commit_seq=begun.commit_seq, first_contact=True)


def test_ids_that_the_lost_database_may_have_given_out() -> None:
    """Ranges, one for each database that was accepted."""
    assert not was_lost(5, "")
    assert [was_lost(each, "10-19,30-39") for each in (9, 10, 19, 20, 30, 39, 40)] == [
        False, True, True, False, True, True, False,
    ]  # fmt: skip


def test_every_verb_that_is_served_read_only_exists_or_will() -> None:
    """And none of those that change what users see is among them."""
    verbs = {rule.name for rule in RULES if rule.server is not Server.NODE}
    changing = {"Plan", "Commit", "MakeDirectories", "Remove", "Rename", "SetPolicy", "DrainNode", "RemoveNode"}
    assert changing <= verbs
    assert not changing & SERVED_READ_ONLY
    assert verbs & SERVED_READ_ONLY >= {"Open", "Stat", "List", "Heartbeat", "Register", "Status", "AcceptDatabase"}


# -- the whole master --------------------------------------------------------------------------------------------


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """A running one with a node."""
    with running_master(tmp_path / "master") as made:
        yield made


def beat(master: Master, session: Session, seen: Point) -> m.HeartbeatReply:
    """A heartbeat of a node that has seen so much."""
    request = m.Heartbeat(
        node_id=session.node_id,
        registration=1,
        capacity_bytes=1,
        used_bytes=0,
        free_bytes=1,
        highest_epoch=seen.epoch,
        highest_commit_seq=seen.commit_seq,
    )
    reply = master.ask(session, request).header
    assert isinstance(reply, m.HeartbeatReply)
    return reply


def register(seen: Point, *, node_id: int = 0, registration: int = 1) -> m.Register:
    """What a node that has seen so much asks for."""
    return m.Register(
        node_id=node_id,
        registration=registration,
        name="a-node",
        address="127.0.0.1:1",
        public_address="127.0.0.1:1",
        capacity_bytes=1,
        used_bytes=0,
        free_bytes=1,
        highest_epoch=seen.epoch,
        highest_commit_seq=seen.commit_seq,
    )


def make_directory(master: Master, name: str) -> None:
    """A change that needs no node."""
    body = encode_list([m.DirectorySpec(name, 0o755, 0)])
    answer = master.ask(CLIENT_SESSION, m.MakeDirectories(request_id=name.encode().ljust(16)), body)
    assert not answer.items(list[m.Outcome])[0].code


def test_read_only_until_accepted(master: Master) -> None:
    """A node comes that has seen epoch 9: every change is refused with what to do, reads go on; then all is well."""
    session, _ = master.join("node-1")
    make_directory(master, "/before")
    master.cluster.registry.order(session.node_id, m.Order(m.OrderKind.DELETE, b"d" * 32, 1))
    request = m.Heartbeat(
        node_id=session.node_id, registration=1, capacity_bytes=1, used_bytes=0, free_bytes=1,
        highest_epoch=9, highest_commit_seq=5_000,
    )  # fmt: skip
    assert not master.ask(session, request).items(list[m.Order]), "an order of before was given out"
    assert master.cluster.safe_mode.active
    with pytest.raises(ReadOnlyError, match="dfs db accept"):
        make_directory(master, "/refused")
    with pytest.raises(ReadOnlyError):
        master.ask(CLIENT_SESSION, m.Remove(request_id=b"x" * 16, path="/before"))
    with pytest.raises(ReadOnlyError):
        master.join("node-2")
    assert master.ask(CLIENT_SESSION, m.Stat(path="/before")).header.entry.kind is m.EntryKind.DIRECTORY
    status = master.ask(ADMIN, m.Status()).header
    assert status.state == "read-only"
    assert "dfs db accept" in status.notice

    accepted = master.ask(ADMIN, m.AcceptDatabase()).header
    assert accepted.epoch > 9
    assert accepted.commit_seq > 5_000
    assert master.cluster.epoch == accepted.epoch
    assert master.cluster.generations.next() >> 40 == accepted.epoch
    make_directory(master, "/after")
    reply = beat(master, session, Point(9, 5_000))
    assert (reply.epoch, reply.commit_seq > accepted.commit_seq) == (accepted.epoch, True)
    assert not master.cluster.safe_mode.held
    assert master.ask(ADMIN, m.Status()).header.state != "read-only"
    kinds = [kind for (kind,) in _rows(master, "SELECT kind FROM events")]
    assert kinds.count("database_behind") == 1
    assert kinds.count("database_accepted") == 1


def test_a_restart_does_not_clear_it(tmp_path: Path) -> None:
    """It is on record: the next process is read-only before any node spoke."""
    from dfs_master.app import build_cluster
    from dfs_master.config import MasterConfig
    from dfs_runtime.clock import ManualClock
    from dfs_runtime.lifecycle import StopSignal

    with running_master(tmp_path / "master") as first:
        session, _ = first.join("node-1")
        beat(first, session, Point(9, 5_000))
        with pytest.raises(ReadOnlyError):
            make_directory(first, "/refused")
    engine = open_engine(tmp_path / "master" / "metadata.db")
    again = build_cluster(MasterConfig(data=tmp_path / "master"), engine, ManualClock(), b"line", StopSignal())
    assert "dfs db accept" in again.safe_mode.held
    again.committer.stop()
    again.readers.close()


def test_a_node_of_the_lost_database_waits_and_is_let_in(master: Master) -> None:
    """Its id is unknown here. Refused for now; after the operator's word it is the same node as before."""
    reserved = int(master.cluster.reader.setting("next_id") or 0)
    lost_id = reserved + 77
    session = Session("127.0.0.1:40002", role=m.Role.NODE, node_id=lost_id)
    request = m.Register(
        node_id=lost_id,
        registration=4,
        name="node-lost",
        address="node-lost:5001",
        public_address="127.0.0.1:5001",
        capacity_bytes=10,
        used_bytes=0,
        free_bytes=10,
        highest_epoch=9,
        highest_commit_seq=5_000,
    )
    with pytest.raises(UnavailableError, match="dfs db accept"):
        master.ask(session, request)
    master.ask(ADMIN, m.AcceptDatabase())
    reply = master.ask(session, request).header
    assert reply.node_id == lost_id
    stranger = Session("127.0.0.1:40003", role=m.Role.NODE, node_id=3)
    with pytest.raises(NotFoundError):
        master.ask(stranger, msgspec.structs.replace(request, node_id=3, name="node-3"))
    # What is new has an id that the lost database cannot have given out.
    _, newest = master.join("node-new")
    assert newest.node_id > lost_id + 1_000_000


def test_two_masters_on_one_database(master: Master, tmp_path: Path) -> None:
    """The one that came last rules: the older one's next change ends it, and nothing of it is stored."""
    make_directory(master, "/before")
    take_epoch(open_engine(tmp_path / "master" / "metadata.db"))
    with pytest.raises(UnavailableError, match="another master took over"):
        make_directory(master, "/usurped")
    with pytest.raises(NotFoundError):
        master.ask(CLIENT_SESSION, m.Stat(path="/usurped"))


def _rows(master: Master, sql: str) -> list[tuple[str]]:
    import sqlite3

    path = next(
        Path(row[2]) for row in master.cluster.readers.mine()._cursor.execute("PRAGMA database_list").fetchall()
    )
    with sqlite3.connect(path) as connection:
        return connection.execute(sql).fetchall()


def test_what_nobody_can_have_seen_is_not_believed(master: Master) -> None:
    """An epoch beyond all that tickets and rows have room for: accepting it would be the end of every number above."""
    session, _ = master.join("node-1")
    for point in (Point(EPOCH_MAX + 1, 1), Point(1, COMMIT_SEQ_MAX + 1)):
        with pytest.raises(NotAllowedError):
            beat(master, session, point)
        with pytest.raises(NotAllowedError):
            master.ask(session, register(point, node_id=session.node_id, registration=2))
    assert not master.cluster.safe_mode.held
    make_directory(master, "/after")


def test_a_node_that_joins_has_seen_nothing(master: Master) -> None:
    """A join token is no leave to make the cluster read-only."""
    master.ask(Session("127.0.0.1:40100", role=m.Role.JOIN), register(Point(9, 5_000)))
    assert not master.cluster.safe_mode.held


def test_where_a_database_was_accepted_is_believed(master: Master) -> None:
    """However far that is: honest nodes say what this very master told them."""
    session, _ = master.join("node-1")
    beat(master, session, Point(EPOCH_MAX, 1))
    accepted = master.ask(ADMIN, m.AcceptDatabase()).header
    assert accepted.epoch > EPOCH_MAX
    beat(master, session, Point(accepted.epoch, accepted.commit_seq))
    assert not master.cluster.safe_mode.held
