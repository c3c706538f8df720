"""Nodes in the tables: one volume is one identity; what a node finds of its copies counts."""

import json

import pytest
from tests.support.catalog import digest_of
from tests.support.writing import Store, commit_files, file_commit, register

from dfs_master.catalog.mutations.nodes import NodeUpdate, RecordFindings, SaveNodes
from dfs_wire.errors import ConflictError, DfsError, NotFoundError, UsageError
from dfs_wire.messages import Finding, FindingKind


def events(store: Store) -> list[tuple[str, str]]:
    """Kind and subject of all events, oldest first."""
    return store.query("SELECT kind, subject FROM events ORDER BY id")


def finding(text: str, kind: FindingKind, generation: int = 1) -> Finding:
    """What a node found of a chunk."""
    return Finding(digest_of(text), generation, kind, "why")


# -- registration ----------------------------------------------------------------------------------------------


def test_a_first_join_gets_an_id(store: Store) -> None:
    """The row says what the node said, and that it is live."""
    row = store.do(register("fresh", zone="z", filesystem_id="fs"))
    assert row.id > 3
    assert store.query("SELECT * FROM nodes WHERE name = 'fresh'") == [tuple(row)]
    assert (row.state, row.volume_state, row.registration, row.zone) == ("live", "ok", 1, "z")
    assert row.registered_at == row.last_seen_at == store.clock.wall_ms()
    assert events(store) == [("node_registered", "fresh")]


def test_a_second_registration_updates_the_row(store: Store) -> None:
    """A new address, a new name, more space: the id stays."""
    first = store.do(register("old"))
    again = store.do(register("new", node_id=first.id, registration=5, capacity_bytes=9, address="x:1"))
    assert (again.id, again.name, again.address, again.capacity_bytes, again.registration) == (
        first.id, "new", "x:1", 9, 5,
    )  # fmt: skip
    assert store.one("SELECT count(*) FROM nodes WHERE name IN ('old', 'new')") == 1


def test_an_older_registration_is_refused_with_an_event(store: Store) -> None:
    """A copied volume shows itself by its number."""
    first = store.do(register("node", registration=5))
    for number in (5, 4):
        with pytest.raises(ConflictError, match="not newer than 5"):
            store.do(register("node", node_id=first.id, registration=number))
    assert events(store)[1:] == [("registration_refused", "node")] * 2
    detail = json.loads(store.query("SELECT detail FROM events ORDER BY id")[-1][0])
    assert (detail["registration"], detail["recorded"], detail["node_id"]) == (4, 5, first.id)


def test_a_second_process_is_refused_while_the_first_is_live(store: Store) -> None:
    """Even with a newer number."""
    first = store.do(register("node"))
    with pytest.raises(ConflictError, match="live"):
        store.do(register("node", node_id=first.id, registration=2, first_is_live=True))
    assert events(store)[-1] == ("registration_refused", "node")
    assert store.one("SELECT registration FROM nodes WHERE id = ?", first.id) == 1


def test_names_are_unique(store: Store) -> None:
    """For a join and for a rename, and within a group."""
    other = store.do(register("other"))
    with pytest.raises(ConflictError, match="has the name"):
        store.do(register("node-1", registration=7))
    with pytest.raises(ConflictError, match="has the name"):
        store.do(register("node-1", node_id=other.id, registration=2))
    won, lost = store.run(register("twin", address="a:1"), register("twin", address="b:1"))
    assert won.name == "twin"
    assert isinstance(lost, ConflictError)
    renamed, taken = store.run(register("free", node_id=other.id, registration=3), register("other"))
    assert (renamed.id, taken.id != other.id) == (other.id, True)


def test_a_join_whose_answer_was_lost_can_be_repeated(store: Store) -> None:
    """Same name, address and number, and no copy there: the name is not taken for ever. The id is a new one, since an
    empty volume must not stand for receipts that another one signed.
    """
    first = store.do(register("lost"))
    again = store.do(register("lost"))
    assert (again.id != first.id, again.name) == (True, "lost")
    assert store.one("SELECT name FROM nodes WHERE id = ?", first.id) == f"lost (replaced {first.id})"
    store.standings[again.id] = store.standings[1]
    store.do(commit_files(file_commit("/f", "a"), nodes=(1, again.id)))
    with pytest.raises(ConflictError):
        store.do(register("lost"))


def test_unknown_ids_and_senseless_fields_are_refused(store: Store) -> None:
    """A volume of another cluster; numbers below zero or beyond 64 bits; names that print nothing."""
    with pytest.raises(NotFoundError):
        store.do(register("x", node_id=99))
    for changes in ({"capacity_bytes": -1}, {"used_bytes": 2**63}, {"registration": -1}):
        with pytest.raises(UsageError):
            store.do(register("x", **changes))
    for name in ("", "a\nb"):
        with pytest.raises(UsageError):
            store.do(register(name))


def test_a_failed_volume_stays_failed_over_registrations(store: Store) -> None:
    """A restart does not make a bad disk good; nor does a heartbeat."""
    first = store.do(register("bad", volume_state="failed"))
    assert (first.state, first.volume_state) == ("failed", "failed")
    again = store.do(register("bad", node_id=first.id, registration=2))
    assert (again.state, again.volume_state) == ("failed", "failed")
    store.do(SaveNodes([NodeUpdate(first.id, "failed", "ok", 1, 1, 5)]))
    assert store.one("SELECT volume_state FROM nodes WHERE id = ?", first.id) == "failed"


def test_a_verified_volume_is_trusted_again(store: Store) -> None:
    """Only a full pass clears what is on record, and a volume that fails anew is failed."""
    first = store.do(register("bad", volume_state="failed"))
    again = store.do(register("bad", node_id=first.id, registration=2, volume_verified=True))
    assert (again.state, again.volume_state) == ("live", "ok")
    anew = store.do(register("bad", node_id=first.id, registration=3, volume_state="failed", volume_verified=True))
    assert (anew.state, anew.volume_state) == ("failed", "failed")


def test_a_draining_node_goes_on_draining(store: Store) -> None:
    """Whoever restarts it did not cancel that."""
    store.execute("UPDATE nodes SET state = 'draining', intent = 'draining' WHERE id = 1")
    assert store.do(register("node-1", node_id=1, registration=2)).state == "draining"


# -- heartbeats ------------------------------------------------------------------------------------------------


def test_saved_nodes_leave_an_event_on_a_change_of_state_only(store: Store) -> None:
    """Usage is written quietly; a node that is unknown is skipped; last_seen_at never goes back."""
    store.do(SaveNodes([NodeUpdate(1, "live", "ok", 100, 50, 9_000), NodeUpdate(99, "dead", "ok", 1, 1, 1)]))
    assert events(store) == []
    store.do(SaveNodes([NodeUpdate(1, "suspect", "ok", 100, 60, 8_000)]))
    assert events(store) == [("node_state", "node-1")]
    assert store.query("SELECT state, capacity_bytes, used_bytes, last_seen_at FROM nodes WHERE id = 1") == [
        ("suspect", 100, 60, 9_000)
    ]
    assert SaveNodes([NodeUpdate(1, "live", "ok", 1, 1, 1)] * 3).row_count() == 6


# -- findings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "state", "event"),
    [(FindingKind.CORRUPT, "bad", "copy_corrupt"), (FindingKind.MISSING, "missing", "copy_missing")],
)
def test_a_bad_copy_is_recorded_counted_and_reported(store: Store, kind: FindingKind, state: str, event: str) -> None:
    """Once, however often the node says so."""
    store.commit("/f", "a")
    store.clock.advance(1)
    for _ in range(2):
        store.do(RecordFindings(2, [finding("a", kind)]))
    assert store.query("SELECT state, verified_at FROM replicas WHERE node_id = 2") == [(state, store.clock.wall_ms())]
    assert store.one("SELECT copies_good FROM chunks") == 1
    assert events(store) == [(event, digest_of("a").hex())]
    assert json.loads(store.one("SELECT detail FROM events")) == {"node": "node-2", "finding": kind, "detail": "why"}


def test_a_good_finding_brings_a_copy_back(store: Store) -> None:
    """And renews the time of the last look."""
    store.commit("/f", "a")
    store.do(RecordFindings(2, [finding("a", FindingKind.CORRUPT), finding("a", FindingKind.GOOD, generation=4)]))
    assert store.query("SELECT state, generation, verified_at FROM replicas WHERE node_id = 2") == [
        ("good", 4, store.clock.wall_ms())
    ]
    assert store.one("SELECT copies_good FROM chunks") == 2


def test_findings_that_concern_nothing_change_nothing(store: Store) -> None:
    """An unknown chunk, a copy nobody knows of, an older file than the recorded one, a copy on its way out."""
    store.do(commit_files(file_commit("/f", "a"), generation=5))
    store.execute("UPDATE replicas SET state = 'deleting' WHERE node_id = 1")
    before = store.query("SELECT * FROM replicas"), store.query("SELECT * FROM chunks")
    bad = FindingKind.MISSING
    store.do(RecordFindings(3, [finding("a", bad), finding("b", bad)]))
    store.do(RecordFindings(2, [finding("a", bad, generation=4)]))
    store.do(RecordFindings(1, [finding("a", bad, generation=9)]))
    assert (store.query("SELECT * FROM replicas"), store.query("SELECT * FROM chunks")) == before
    store.do(RecordFindings(2, [finding("a", bad, generation=0)]))
    assert store.one("SELECT state FROM replicas WHERE node_id = 2") == "missing"


def test_findings_beyond_the_database_are_refused(store: Store) -> None:
    """A generation has 63 bits; the number of findings bounds the group."""
    store.commit("/f", "a")
    with pytest.raises(DfsError):
        store.do(RecordFindings(2, [finding("a", FindingKind.GOOD, generation=2**63)]))
    assert RecordFindings(2, [finding("a", FindingKind.GOOD)] * 2).row_count() == 6


def test_an_empty_volume_takes_the_place_of_a_node_that_is_away(store: Store) -> None:
    """A new id under the old name; the old row is dead at once, keeps its copies, and may come back with them."""
    old = store.do(register("node-x"))
    store.standings[old.id] = store.standings[1]
    store.do(commit_files(file_commit("/f", "a"), nodes=(1, old.id)))
    new = store.do(register("node-x", replaces=old.id))
    assert (new.name, new.state) == ("node-x", "live")
    assert new.id != old.id
    renamed = f"node-x (replaced {old.id})"
    found = store.query(f"SELECT name, state, intent FROM nodes WHERE id = {old.id}")
    assert found == [(renamed, "dead", "draining")]
    assert [kind for kind, _ in events(store)].count("node_replaced") == 1
    back = store.do(register("node-x", node_id=old.id, registration=5))
    assert (back.id, back.name) == (old.id, renamed)
    # Only the node that was seen to be away is replaced.
    with pytest.raises(ConflictError, match="has the name"):
        store.do(register("node-x", replaces=old.id, address="elsewhere:1"))
