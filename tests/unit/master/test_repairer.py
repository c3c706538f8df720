"""Repair over a real master: orders go out with heartbeats, findings end them, what is lost is given anew."""

import queue
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.masters import Master, running_master

from dfs_master.catalog.mutations.records import AddEvent
from dfs_master.catalog.reader import Reader
from dfs_master.catalog.reader_repair import ChunkCopies
from dfs_master.copy_desk import MOVE_SECONDS, TROUBLE_SECONDS
from dfs_master.healing import Healing
from dfs_master.repair_rules import Obstacle
from dfs_wire import messages as m
from dfs_wire.codec import encode_list
from dfs_wire.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from dfs_wire.limits import GIB
from dfs_wire.messages import Finding, FindingKind, OrderKind
from dfs_wire.service import Session

ADMIN = Session("127.0.0.1:40002", role=m.Role.ADMIN)
CONTENT = b"content of a chunk"
DIGEST = blake3(CONTENT).digest()


@dataclass
class Bench:
    """A master whose nodes speak as the test says. `healing` is stepped by hand."""

    master: Master
    healing: Healing
    sessions: dict[str, tuple[Session, int]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def join(self, *names: str) -> None:
        """New nodes."""
        for name in names:
            session, reply = self.master.join(name, lists=False)
            self.sessions[name] = (session, reply.node_id)

    def id(self, name: str) -> int:
        """A node's id."""
        return self.sessions[name][1]

    def beat(self, name: str, *findings: Finding, used: int = 0) -> list[m.Order]:
        """One heartbeat; the orders of its reply."""
        session, node_id = self.sessions[name]
        request = m.Heartbeat(
            node_id=node_id,
            registration=1,
            capacity_bytes=1000 * GIB,
            used_bytes=used,
            free_bytes=500 * GIB,
        )
        answer = self.master.ask(session, request, encode_list(list(findings)) if findings else b"")
        return answer.items(list[m.Order]) if answer.body else []

    def list_chunks(self, name: str, *digests: bytes) -> None:
        """A node's whole inventory."""
        session, node_id = self.sessions[name]
        page = [m.InventoryChunk(digest, 1, len(CONTENT), 0, "") for digest in digests]
        now_ms = self.master.clock.wall_ms()
        request = m.Inventory(node_id=node_id, registration=1, first=bytes(32), last=b"\xff" * 32, started_at_ms=now_ms)
        self.master.ask(session, request, encode_list(page))

    def live(self, seconds: float) -> dict[str, list[m.Order]]:
        """Let time pass with all that is due; the orders that nodes got, by node."""
        got: dict[str, list[m.Order]] = {}
        for _ in range(int(seconds)):
            self.master.clock.advance(1.0)
            for name in sorted(self.sessions):
                if name not in self.silent:
                    got.setdefault(name, []).extend(self.beat(name))
            self.master.cluster.registry.step()
            self.healing.step()
            self.settle()
        return got

    def settle(self) -> None:
        """Wait until the committer did what was handed to it."""
        done: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.master.cluster.committer.submit(AddEvent("settled", "test"), done.put)
        done.get(timeout=20)

    def copies(self) -> dict[str, list[str]]:
        """The copy orders of the next two seconds: node -> names of their sources."""
        names = {node_id: name for name, (_, node_id) in self.sessions.items()}
        return {
            name: [names[order.source_node] for order in orders if order.kind is OrderKind.COPY]
            for name, orders in self.live(2).items()
            if any(order.kind is OrderKind.COPY for order in orders)
        }

    def repair_status(self) -> m.RepairStatusReply:
        """As an operator asks."""
        reply = self.master.ask(ADMIN, m.RepairStatus()).header
        assert isinstance(reply, m.RepairStatusReply)
        return reply


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Three nodes; the chunk of `/f` is on the first two."""
    with ExitStack() as parts:
        master = parts.enter_context(running_master(tmp_path / "master"))
        healing = master.healing
        made = Bench(master, healing)
        made.join("a", "b", "c")
        made.live(2)
        assert master.upload("/f", CONTENT, [made.id("a"), made.id("b")])[0].code == ""
        made.live(2)
        yield made


def test_a_dead_nodes_copy_is_made_anew_and_confirmed(bench: Bench) -> None:
    """Nothing while it is suspect; ordered once it is dead; over when the new holder said that it is stored."""
    bench.silent.add("a")
    assert not any(orders for orders in bench.live(100).values())
    assert bench.repair_status().state == "waiting"
    assert "a is silent" in bench.repair_status().reasons[0]
    orders = bench.live(30)["c"]
    (order,) = orders
    assert (order.kind, order.digest, order.source_node, order.last_copy) == (
        OrderKind.COPY,
        DIGEST,
        bench.id("b"),
        True,
    )
    assert order.streams == 2
    told = bench.repair_status()
    assert (told.state, told.chunks_left, told.bytes_left, told.under_way) == ("working", 1, len(CONTENT), 1)
    bench.beat("c", Finding(DIGEST, order.generation, FindingKind.STORED))
    bench.live(2)
    told = bench.repair_status()
    assert (told.state, told.chunks_left, told.counting) == ("idle", 0, False)
    assert bench.master.ask(ADMIN, m.Status()).header.under_replicated == 0


def test_a_lost_order_is_given_anew(bench: Bench) -> None:
    """The node restarted, or its answer was lost: after a while the order comes again, from its cause."""
    bench.silent.add("a")
    bench.live(125)
    assert bench.copies() == {}
    bench.live(MOVE_SECONDS - 20)
    assert "c" in {name for _ in range(20) for name in bench.copies()}


def test_a_step_that_fails_forgets_no_chunk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk gives an error just when a chunk was taken to be copied: the next step takes it again."""
    bench.silent.add("a")
    bench.live(110)
    asked: list[Sequence[int]] = []
    copies_of = Reader.copies_of

    def failing(reader: Reader, chunk_ids: Sequence[int]) -> list[ChunkCopies]:
        if chunk_ids:
            asked.append(chunk_ids)
        if len(asked) == 2:
            asked.append(())
            raise UnavailableError("the disk gives an error")
        return copies_of(reader, chunk_ids)

    monkeypatch.setattr(Reader, "copies_of", failing)
    with pytest.raises(UnavailableError):
        bench.live(15)
    assert any(order.kind is OrderKind.COPY for order in bench.live(5)["c"])


def test_a_bad_source_is_looked_at_and_avoided(bench: Bench) -> None:
    """Its own node verifies; the next order goes to the other source; a finding then counts."""
    bench.join("d")
    bench.beat("a", Finding(DIGEST, 0, FindingKind.GOOD))
    bench.live(1)
    # A third copy is wanted: whoever is asked first is told to be bad.
    bench.master.ask(ADMIN, m.SetPolicy(request_id=b"p" * 16, path="/", copies=3))
    orders = {name: found for name, found in bench.live(8).items() if found}
    ((target, (order,)),) = orders.items()
    names = {bench.id(name): name for name in ("a", "b")}
    first = names[order.source_node]
    bench.beat(target, Finding(DIGEST, 0, FindingKind.NOT_STORED, "corrupt: other bytes"))
    found = bench.live(2)
    assert [each.kind for each in found[first]] == [OrderKind.VERIFY]
    again = [each for orders in found.values() for each in orders if each.kind is OrderKind.COPY]
    assert [names[each.source_node] for each in again] == [({"a", "b"} - {first}).pop()]


def test_a_full_target_is_its_own_fault(bench: Bench) -> None:
    """Then no source is suspected; another target, or the same one later."""
    bench.silent.add("a")
    (order,) = bench.live(125)["c"]
    bench.beat("c", Finding(DIGEST, 0, FindingKind.NOT_STORED, "no_space: full"))
    got = bench.live(5)
    assert not any(each.kind is OrderKind.VERIFY for orders in got.values() for each in orders)
    assert bench.copies() == {}
    bench.live(TROUBLE_SECONDS + 12)
    assert bench.repair_status().under_way == 1
    assert order.digest == DIGEST


def test_what_cannot_be_done_is_said(bench: Bench) -> None:
    """Two of two other nodes have no copy to give, or there is no third node: a sentence, no order."""
    bench.master.ask(ADMIN, m.SetPolicy(request_id=b"p" * 16, path="/", copies=4))
    assert [order.kind for order in bench.live(8)["c"]] == [OrderKind.COPY]
    bench.beat("c", Finding(DIGEST, 1 << 50, FindingKind.STORED))
    bench.live(4)
    told = bench.repair_status()
    assert told.state == "waiting"
    assert told.reasons == [
        "1 chunks wait: every node that is there has a copy already; start the dead nodes, or add one"
    ]
    assert bench.healing.repairer.view.stuck == {Obstacle.TOO_FEW_NODES: 1}
    assert bench.healing.repairer.is_idle


def test_bad_copies_are_looked_at_again_where_there_is_no_other(bench: Bench) -> None:
    """Both nodes lost their disks for a moment: each is asked again, ever less often; one that is well ends it."""
    for name in ("a", "b"):
        bench.beat(name, Finding(DIGEST, 0, FindingKind.CORRUPT, "unreadable"))
    looks = bench.live(3)
    for name in ("a", "b"):
        assert looks[name] == [m.Order(OrderKind.VERIFY, DIGEST)]
    assert looks["c"] == []
    assert len(bench.live(120)["a"]) in (3, 4)  # after 10, 20 and 40 s, as near as a parked chunk comes to it
    bench.beat("b", Finding(DIGEST, 1, FindingKind.GOOD))
    # The copy that is still bad is written anew from the one that is well.
    orders = bench.live(15)
    assert [(order.kind, order.source_node) for order in orders["a"]] == [(OrderKind.COPY, bench.id("b"))]
    assert orders["b"] == orders["c"] == []


def test_the_rate_limit_holds_back(bench: Bench) -> None:
    """With a byte a second only the first chunk goes out."""
    holder = bench.master.cluster.settings
    holder.current = replace(holder.current, repair_bytes_per_second=1)
    other = b"another chunk"
    bench.master.upload("/g", other, [bench.id("a"), bench.id("b")], request_id=b"s" * 16)
    bench.silent.add("a")
    assert len(bench.live(130)["c"]) == 1


def test_mass_failure_is_held_and_forced(bench: Bench) -> None:
    """Two of three vanish: an event, a sentence, no order; an operator's word lets it go on."""
    bench.silent |= {"a", "b"}
    bench.live(130)
    told = bench.repair_status()
    assert told.state == "stopped"
    assert "2 of 3 nodes vanished at once (a, b)" in told.reasons[0]
    assert bench.master.ask(ADMIN, m.ForceRepair()).header.nodes == ["a", "b"]
    bench.live(2)
    assert "1 chunks have no copy that can be read; start the dead nodes" in bench.repair_status().reasons
    assert bench.master.ask(ADMIN, m.ForceRepair()).header.nodes == []


def test_maintenance_over_the_wire(bench: Bench) -> None:
    """It begins and ends by an operator's word, says whether it is safe, and refuses nonsense."""
    node_id = bench.id("a")
    until = bench.master.ask(ADMIN, m.SetMaintenance(node_id=node_id, seconds=60)).header.until_ms
    assert until == bench.master.clock.wall_ms() + 60_000
    bench.live(2)
    status = bench.master.ask(ADMIN, m.Status())
    assert [node.state for node in status.items(list[m.NodeInfo]) if node.id == node_id] == ["maintenance"]
    assert bench.master.ask(ADMIN, m.DrainProgress(node_id=node_id)).header.only_here == 1, "b has not listed its copy"
    bench.list_chunks("b", DIGEST)
    left = bench.master.ask(ADMIN, m.DrainProgress(node_id=node_id)).header
    assert (left.only_here, left.chunks_left, left.files) == (0, 1, ["/f"])
    assert bench.master.ask(ADMIN, m.SetMaintenance(node_id=node_id, off=True)).header.until_ms == 0
    bench.live(2)
    assert bench.master.cluster.registry.nodes[node_id].state == "live"
    with pytest.raises(UsageError):
        bench.master.ask(ADMIN, m.SetMaintenance(node_id=node_id, seconds=10**9))
    with pytest.raises(NotFoundError):
        bench.master.ask(ADMIN, m.SetMaintenance(node_id=4711))
    bench.master.ask(ADMIN, m.DrainNode(node_id=node_id))
    with pytest.raises(ConflictError):
        bench.master.ask(ADMIN, m.SetMaintenance(node_id=node_id))


def test_a_draining_node_outlives_a_restart_of_it(bench: Bench) -> None:
    """Silent, then back: it is still draining, and its copies are on their way."""
    node_id = bench.id("a")
    bench.master.ask(ADMIN, m.DrainNode(node_id=node_id))
    bench.silent.add("a")
    bench.live(20)
    assert bench.master.cluster.registry.nodes[node_id].state == "suspect"
    bench.silent.clear()
    bench.live(2)
    assert bench.master.cluster.registry.nodes[node_id].state == "draining"


def test_a_copy_lost_beside_a_dead_node_is_noticed(bench: Bench) -> None:
    """The record still counts the dead node's copy, so the chunk is not short: the finding itself leads to it."""
    bench.join("d")
    bench.silent.add("a")
    orders = bench.live(130)
    ((target, (order,)),) = [(name, found) for name, found in orders.items() if found]
    bench.beat(target, Finding(DIGEST, order.generation, FindingKind.STORED))
    bench.live(3)
    assert bench.repair_status().state == "idle"
    bench.beat("b", Finding(DIGEST, 0, FindingKind.CORRUPT))
    orders = {name: found for name, found in bench.live(3).items() if found}
    assert {name: [each.source_node for each in found] for name, found in orders.items()} == {"b": [bench.id(target)]}
