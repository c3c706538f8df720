"""Inventories: what differs between a page and the catalog, and what a master makes of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from tests.support.masters import Master, running_master

from dfs_master.catalog.rows import ChunkRow, ReplicaRow
from dfs_master.handlers.nodes import LIST_AGAIN_SECONDS
from dfs_master.inventories import ADOPT_MS, MARGIN_MS, CopyOnRecord, KnownCopies, Moment, compare, judge_unknown
from dfs_wire import messages as m
from dfs_wire import tickets
from dfs_wire.codec import encode_list
from dfs_wire.errors import BadTicketError, ConflictError, NotAllowedError, NotFoundError, UsageError
from dfs_wire.service import Session

NOW_MS = 1_700_000_000_000
OLD_MS = NOW_MS - 3_600_000
DAY_MS = 86_400_000
LEAST, GREATEST = bytes(32), b"\xff" * 32
NODE = 3
A, B, C = (bytes([each]) * 32 for each in (1, 2, 3))


def on_record(digest: bytes, state: str = "good", *, generation: int = 5, stored: int = OLD_MS) -> CopyOnRecord:
    """A replica row of the node."""
    return CopyOnRecord(digest, 100, generation, state, stored, stored)


def in_page(
    digest: bytes, *, generation: int = 5, size: int = 100, age: int = DAY_MS, damage: str = ""
) -> m.InventoryChunk:
    """A file of the node."""
    return m.InventoryChunk(digest, generation, size, age, damage)


def asked(records: list[CopyOnRecord], page: list[m.InventoryChunk]) -> list[bytes]:
    """What the node is to look at."""
    return [each.digest for each in compare(records, page, started_at_ms=NOW_MS).asks]


def test_what_agrees_is_left_alone() -> None:
    """The usual case, and files of an older generation: their bytes are the same."""
    assert not asked([on_record(A), on_record(B)], [in_page(A), in_page(B, generation=4)])


@pytest.mark.parametrize(
    "found",
    [
        None,
        in_page(A, damage="truncated", size=0, generation=0),
        in_page(A, size=99),
        in_page(A, generation=6),
    ],
    ids=["lost", "damaged", "another size", "a newer file"],
)
def test_a_good_copy_that_is_not_as_recorded(found: m.InventoryChunk | None) -> None:
    """The node is asked; the page alone condemns nothing."""
    findings = compare([on_record(A)], [found] if found else [], started_at_ms=NOW_MS)
    assert [each.digest for each in findings.asks] == [A]
    assert not findings.unknown
    assert not findings.asks[0].adopt


@pytest.mark.parametrize("state", ["bad", "missing"])
def test_a_copy_that_was_given_up_and_is_there(state: str) -> None:
    """Perhaps a mount was forgotten for a while: the node looks again. One that is still away is no news."""
    assert asked([on_record(A, state)], [in_page(A)]) == [A]
    assert not asked([on_record(A, state)], [])


def test_a_copy_that_was_given_up_just_now_and_is_there() -> None:
    """Its disk was away for a moment, and the node began anew. One that is still bad is no news."""
    for state in ("bad", "missing"):
        record = on_record(A, state, stored=NOW_MS)
        assert asked([record], [in_page(A)]) == [A]
        assert not asked([record], [in_page(A, damage="truncated", size=0, generation=0)])


def test_what_is_newer_than_the_page_is_not_judged() -> None:
    """Stored or verified while the node made its list, the page cannot have it: the node looks, but none is lost."""
    just_now = on_record(A, stored=NOW_MS - MARGIN_MS + 1)
    verified = on_record(A)._replace(verified_at=NOW_MS + 5)
    old = on_record(A, stored=NOW_MS - MARGIN_MS)
    for record, lost in ((just_now, 0), (verified, 0), (old, 1)):
        findings = compare([record], [], started_at_ms=NOW_MS)
        assert [each.digest for each in findings.asks] == [A]
        assert (findings.lost, findings.doubts) == (lost, {A: record.verified_at})
    assert not asked([just_now], [in_page(A, generation=6)])


def test_what_is_there_as_recorded_is_beyond_doubt() -> None:
    """So is a newer file, which has the same bytes; a damaged one is not."""
    records = [on_record(A), on_record(B), on_record(C)]
    page = [in_page(A), in_page(B, generation=9), in_page(C, damage="truncated", size=0)]
    assert compare(records, page, started_at_ms=NOW_MS).doubts == {C: OLD_MS}


def test_deletions_under_way_are_the_collectors() -> None:
    """The file may still be there or not; neither is a finding. A newer file is not what is being deleted."""
    records = [on_record(A, "deleting"), on_record(B, "deleting")]
    findings = compare(records, [in_page(A), in_page(B, generation=6)], started_at_ms=NOW_MS)
    assert not findings.asks
    assert [each.digest for each in findings.unknown] == [B]
    # Confirmed as deleted, and back: that is a file nobody knows.
    back = compare([on_record(C, "deleted")], [in_page(C)], started_at_ms=NOW_MS)
    assert [each.digest for each in back.unknown] == [C]


def judged(
    chunk: m.InventoryChunk, known: dict[bytes, KnownCopies] | None = None, *, accepted_at_ms: int = 0
) -> tuple[list[m.InventoryAsk], list[bytes]]:
    """One unknown file, with nodes 1 and 2 serving."""
    moment = Moment(NOW_MS, accepted_at_ms, orphan_seconds=25 * 3_600)
    asks, orphans = judge_unknown([chunk], known or {}, node_id=NODE, staying=frozenset({1, 2}), moment=moment)
    return asks, [each.digest for each in orphans]


def known_chunk(digest: bytes, *holders: int) -> dict[bytes, KnownCopies]:
    """A chunk that wants two copies, with good ones on these nodes."""
    row = ChunkRow(1, digest, 100, 2, len(holders), None, "stored")
    return {digest: KnownCopies(row, [ReplicaRow(1, node, 5, "good", OLD_MS, OLD_MS) for node in holders])}


def test_an_upload_that_was_never_committed() -> None:
    """Young files wait for their commit; old ones are orphans."""
    assert judged(in_page(A, age=24 * 3_600_000)) == ([], [])
    assert judged(in_page(A, age=26 * 3_600_000)) == ([], [A])


def test_a_copy_that_its_chunk_needs_is_taken_in() -> None:
    """After a look; one that is not needed is surplus, and an orphan when it is old."""
    assert judged(in_page(A), known_chunk(A, 1)) == ([m.InventoryAsk(A, adopt=True)], [])
    assert judged(in_page(A, age=26 * 3_600_000), known_chunk(A, 1, 2)) == ([], [A])
    # Copies on nodes that do not serve do not count.
    assert judged(in_page(A), known_chunk(A, 1, 9)) == ([m.InventoryAsk(A, adopt=True)], [])


def test_a_copy_that_is_being_made_is_not_taken_in_yet() -> None:
    """Its node says STORED by itself in a moment."""
    assert judged(in_page(A, age=ADOPT_MS - 1), known_chunk(A, 1)) == ([], [])


def test_damaged_files_are_never_taken_in() -> None:
    """There is nothing to be had from them."""
    assert judged(in_page(A, damage="truncated"), known_chunk(A, 1))[0] == []


def test_after_an_older_database_was_accepted_everybody_has_time_to_look() -> None:
    """Files that only the lost database knew are old; their time begins anew."""
    assert judged(in_page(A, age=400 * DAY_MS), accepted_at_ms=NOW_MS - 3_600_000) == ([], [])
    assert judged(in_page(A, age=400 * DAY_MS), accepted_at_ms=NOW_MS - 26 * 3_600_000) == ([], [A])


# -- the whole master --------------------------------------------------------------------------------------------


class Inventoried:
    """A master with two nodes, and one's inventories."""

    def __init__(self, master: Master) -> None:
        self.master = master
        self.sessions: dict[int, Session] = {}
        for name in ("node-1", "node-2"):
            session, reply = master.join(name, lists=False)
            self.sessions[reply.node_id] = session
        self.nodes = list(self.sessions)
        master.cluster.registry.step()
        master.cluster.safe_mode.step(set(self.nodes), master.clock.monotonic(), 600)

    def send(
        self, chunks: list[m.InventoryChunk], first: bytes = LEAST, last: bytes = GREATEST, *, node: int = 0
    ) -> list[m.InventoryAsk]:
        """One page of the first node."""
        node_id = node or self.nodes[0]
        request = m.Inventory(
            node_id=node_id, registration=1, first=first, last=last, started_at_ms=self.master.clock.wall_ms()
        )
        answer = self.master.ask(self.sessions[self.nodes[0]], request, encode_list(chunks))
        return answer.items(list[m.InventoryAsk])

    def states(self, digest: bytes) -> dict[int, str]:
        """The replicas on record."""
        known = self.master.cluster.reader.known_chunks([digest])
        return {row.node_id: row.state for row in known[digest].replicas} if digest in known else {}


@pytest.fixture
def inventoried(tmp_path: Path) -> Iterator[Inventoried]:
    """A running one."""
    with running_master(tmp_path / "master") as master:
        yield Inventoried(master)


def test_lost_found_and_unknown_over_the_wire(inventoried: Inventoried) -> None:
    """One file that the node has, one that it lost, one that nobody knows: asked, counted, an event."""
    kept, lost, stray = b"kept", b"lost", b"stray"
    for at, content in enumerate((kept, lost)):
        inventoried.master.upload(f"/{at}", content, inventoried.nodes, request_id=bytes([at]) * 16)
    inventoried.master.clock.advance(60)
    digest, lost_digest, stray_digest = (blake3(each).digest() for each in (kept, lost, stray))
    page = [in_page(digest, generation=1, size=4, age=0), in_page(stray_digest, age=5_000)]
    asks = inventoried.send(page)
    assert asks == [m.InventoryAsk(lost_digest)]
    sums = inventoried.master.cluster.inventories.of(inventoried.nodes[0])
    assert sums is not None
    assert (sums.chunks, sums.lost, sums.damaged, sums.unknown) == (2, 1, 0, 1)
    assert inventoried.states(lost_digest)[inventoried.nodes[0]] == "good", "a page alone condemned a copy"
    node = inventoried.master.cluster.registry.nodes[inventoried.nodes[0]]
    verified_at = inventoried.master.cluster.reader.known_copies([lost_digest])[lost_digest].replicas[0].verified_at
    assert node.vouches(digest, verified_at)
    assert not node.vouches(lost_digest, verified_at), "a copy that the inventory lacks counted on"
    assert not inventoried.master.cluster.registry.nodes[inventoried.nodes[1]].vouches(digest, verified_at)
    assert inventoried.states(stray_digest) == {}, "a young file was collected"


def test_a_node_whose_inventory_was_not_taken_lists_again_soon(inventoried: Inventoried) -> None:
    """1. Its last page is being judged. 2. It loses its connection and registers anew, so the inventory counts for
    nothing; the node has its answer, and would make the next one a day later. 3. It is asked to do so at once.
    """
    master, node = inventoried.master, inventoried.nodes[0]
    usual = int(master.cluster.settings.current.inventory_seconds)

    def every(registration: int) -> int:
        beat = m.Heartbeat(node_id=node, registration=registration, capacity_bytes=1, used_bytes=0, free_bytes=1)
        header = master.ask(inventoried.sessions[node], beat).header
        assert isinstance(header, m.HeartbeatReply)
        return header.inventory_seconds

    def register_meanwhile(digests: object) -> dict[bytes, KnownCopies]:
        master.cluster.registry.change(node, lambda known: replace(known, registration=2))
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfs_master.catalog.reader.Reader.known_copies", lambda _, digests: register_meanwhile(digests))
        inventoried.send([])
    assert master.cluster.registry.nodes[node].listed is None
    assert every(2) == LIST_AGAIN_SECONDS < usual
    request = m.Inventory(
        node_id=node, registration=2, first=LEAST, last=GREATEST, started_at_ms=master.clock.wall_ms()
    )
    master.ask(inventoried.sessions[node], request, encode_list([]))
    assert every(2) == usual


def test_old_orphans_are_recorded_as_deleting(inventoried: Inventoried) -> None:
    """They go the collector's way, but never in safe mode."""
    stray = blake3(b"stray").digest()
    page = [in_page(stray, age=30 * DAY_MS)]
    inventoried.master.cluster.safe_mode.hold("a test")
    inventoried.send(page)
    inventoried.master.cluster.safe_mode.release()
    assert inventoried.states(stray) == {}
    inventoried.send(page)
    inventoried.master.upload("/later", b"later", inventoried.nodes)  # behind it in the committer
    assert inventoried.states(stray) == {inventoried.nodes[0]: "deleting"}


def test_pages_that_cannot_be(inventoried: Inventoried) -> None:
    """A node speaks for itself, about the range that it names."""
    with pytest.raises(UsageError):
        inventoried.send([in_page(C)], LEAST, B)
    with pytest.raises(UsageError):
        inventoried.send([], B, A)
    with pytest.raises(UsageError):
        inventoried.send([], b"short", GREATEST)
    with pytest.raises(NotAllowedError):
        inventoried.send([], node=inventoried.nodes[1])
    node = inventoried.nodes[0]
    request = m.Inventory(node_id=node, registration=9, first=LEAST, last=GREATEST, started_at_ms=0)
    with pytest.raises(ConflictError):
        inventoried.master.ask(inventoried.sessions[node], request, encode_list([]))


def test_reports_of_operators_become_orders_and_rules_are_signed(inventoried: Inventoried) -> None:
    """The node looks itself; without a digest at everything. The settings come with the reply, under a MAC."""
    master, node = inventoried.master, inventoried.nodes[0]
    admin = Session("127.0.0.1:40009", role=m.Role.ADMIN)
    for digest in (A, b""):
        master.ask(admin, m.ReportFinding(node_id=node, digest=digest))
    with pytest.raises(NotFoundError):
        master.ask(admin, m.ReportFinding(node_id=99, digest=A))
    request = m.Heartbeat(
        node_id=node, registration=1, capacity_bytes=1, used_bytes=0, free_bytes=1, scrubbed_at_ms=5, scrub_permille=70
    )
    answer = master.ask(inventoried.sessions[node], request)
    orders = {(order.kind, order.digest) for order in answer.items(list[m.Order])}
    assert orders == {(m.OrderKind.VERIFY, A), (m.OrderKind.SCRUB, b"")}
    settings = master.cluster.settings.current
    assert answer.header.scrub_seconds == settings.scrub_seconds
    key, cluster_id = master.cluster.keys.of(node), master.cluster.cluster_id
    assert tickets.check_rules(key, cluster_id, node, answer.header)
    altered = msgspec.structs.replace(answer.header, scrub_bytes_per_second=1)
    with pytest.raises(BadTicketError):
        tickets.check_rules(key, cluster_id, node, altered)
    (info,) = (each for each in master.ask(admin, m.Status()).items(list[m.NodeInfo]) if each.id == node)
    assert (info.scrubbed_at_ms, info.scrub_permille) == (5, 70)
