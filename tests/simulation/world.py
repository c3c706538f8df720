"""A whole cluster in one thread, from a seed: real handlers, client, committer and chain; simulated clock, network
and volumes. Every message passes the real codec and the real verb table.

Nothing here waits: whoever sleeps on the clock lets the world go on until then.
"""

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.simulation.network import MasterEndpoint, Network, NodeEndpoint

from dfs_client.api import Dfs
from dfs_client.executors import SerialExecutor
from dfs_client.profile import Settings
from dfs_master.app import build_cluster
from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.cluster import Cluster
from dfs_master.collector import Collector
from dfs_master.config import MasterConfig
from dfs_master.healing import Healing
from dfs_master.housekeeping import Housekeeping
from dfs_master.initialise import initialise
from dfs_master.service import MasterService
from dfs_master.settings import Settings as ClusterSettings
from dfs_node.findings import FindingQueue
from dfs_node.forward import Chain
from dfs_node.get_chunk import ChunkReader
from dfs_node.handlers import NodeHandlers
from dfs_node.identity import Claim, claim_volume
from dfs_node.inventory import InventorySender
from dfs_node.master_link import MasterLink, NodeCard
from dfs_node.master_time import MasterTime
from dfs_node.memory_volume import MemoryVolume
from dfs_node.orders import OrderWork
from dfs_node.put_chunk import ChunkReceiver
from dfs_node.receipts import Credentials
from dfs_node.replicate import Replicator
from dfs_node.slots import StreamSlots
from dfs_runtime.clock import ManualClock
from dfs_runtime.lifecycle import StopSignal
from dfs_wire.errors import DfsError
from dfs_wire.messages import AddressSet, FindingKind, Hello, Order, OrderKind, Role
from dfs_wire.pool import ChannelPool

MASTER = "master:5000"


class SimulatedClock(ManualClock):
    """Time that passes only by sleeping, and brings what is due on the way."""

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._running = False

    def call_in(self, seconds: float, work: Callable[[], None]) -> None:
        """Have something done later."""
        heapq.heappush(self._due, (self.monotonic() + seconds, next(self._order), work))

    def sleep(self, seconds: float) -> None:
        """Let the world go on for so long. Whatever is due inside due work only moves the time."""
        end = self.monotonic() + seconds
        while not self._running and self._due and self._due[0][0] <= end:
            at, _, work = heapq.heappop(self._due)
            self.advance(max(0.0, at - self.monotonic()))
            self._running = True
            try:
                work()
            finally:
                self._running = False
        self.advance(max(0.0, end - self.monotonic()))


class SimulatedNode:
    """A node whose volume and identity outlive its crashes."""

    def __init__(self, world: "World", number: int) -> None:
        self.name = f"node-{number}"
        self.address = f"{self.name}:5001"
        self.volume = MemoryVolume(capacity_bytes=world.capacity_bytes, filesystem_id=self.name, clock=world.clock)
        self._world = world
        self._directory = world.directory / self.name
        self._directory.mkdir()
        self.link: MasterLink | None = None
        self._instances = itertools.count(1)

    def start(self) -> None:
        """A new process over the same volume."""
        world = self._world
        identity = claim_volume(self._directory, Claim(may_join=True))
        time, findings = MasterTime(world.clock), FindingQueue(lambda: None)
        credentials = Credentials(identity, time)
        dialer = world.network.seen_from(self.name)
        pool = ChannelPool(dialer, lambda _: Hello(role=Role.TICKET, address_set=AddressSet.CLUSTER))
        handlers = NodeHandlers(
            volume=self.volume,
            credentials=credentials,
            receiver=ChunkReceiver(self.volume, credentials, StreamSlots(), Chain(pool)),
            reader=ChunkReader(self.volume, credentials, findings),
            findings=findings,
            join_token=world.join_token,
        )
        world.network.attach(self.address, NodeEndpoint(handlers))
        inventory = InventorySender(
            volume=self.volume,
            findings=findings,
            identity=identity,
            time=time,
            clock=world.clock,
            dialer=dialer,
            master_address=MASTER,
            software="simulated",
        )
        self.link = MasterLink(
            card=NodeCard(self.name, "", self.address, self.address),
            master_address=MASTER,
            join_token=world.join_token,
            software="simulated",
            dialer=dialer,
            identity=identity,
            volume=self.volume,
            findings=findings,
            orders=_ImmediateOrders(world, self, OrderWork(self.volume, findings, Replicator(self.volume, pool))),
            time=time,
            clock=world.clock,
            jitter=world.random.random,
            inventory=inventory,
            instance=next(self._instances).to_bytes(16),
        )
        self._beat(self.link)
        self._list(self.link, inventory)

    def crash(self) -> None:
        """The process ends without a word."""
        self._world.network.detach(self.address)
        self.link = None

    def _beat(self, link: MasterLink) -> None:
        if self.link is not link:
            return  # this process is gone
        try:
            seconds = link.step()
        except DfsError as error:
            self._world.note("node ended", self.name, error.code)
            self.crash()
            return
        self._world.clock.call_in(seconds, lambda: self._beat(link))

    def _list(self, link: MasterLink, inventory: InventorySender) -> None:
        if self.link is link:
            seconds = inventory.step()
            self._world.clock.call_in(seconds, lambda: self._list(link, inventory))


class _ImmediateOrders:
    """Carries orders out at once, and looks at each delete first: it must take nothing that is needed."""

    def __init__(self, world: "World", node: SimulatedNode, work: OrderWork) -> None:
        self._world = world
        self._node = node
        self._work = work

    def take(self, orders: list[Order]) -> None:
        for order in orders:
            if order.kind is OrderKind.DELETE:
                self._world.require_spare(self._node, order)
            self._work.carry_out(order)


class KnownCopy(NamedTuple):
    """A replica on record."""

    node: str
    digest: bytes


class World:
    """Everything that a seed makes. Used by one thread; `close` it."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        nodes: int = 3,
        settings: ClusterSettings | None = None,
        capacity_bytes: int = 1 << 34,
    ) -> None:
        self.directory = directory
        self.capacity_bytes = capacity_bytes
        self._settings = settings
        self.random = random.Random(seed)
        self.clock = SimulatedClock()
        self.network = Network(self.clock, self.random, self.note)
        self._trace = hashlib.sha256()
        self.steps = 0
        made = initialise(directory / "master", self.clock, copies=2)
        self.join_token = made.join_token
        self._client_key = made.client_key
        self._config = MasterConfig(data=directory / "master")
        self.cluster: Cluster | None = None
        self.start_master()
        self.nodes = [SimulatedNode(self, number) for number in range(1, nodes + 1)]
        self._nodes_made = nodes
        for node in self.nodes:
            node.start()
        self._clients = itertools.count(1)

    def add_node(self) -> SimulatedNode:
        """One node more, which joins at once."""
        self._nodes_made += 1
        self.nodes.append(SimulatedNode(self, self._nodes_made))
        self.nodes[-1].start()
        return self.nodes[-1]

    def note(self, *facts: object) -> None:
        """Add to the trace: two runs of a seed must tell the same story."""
        self.steps += 1
        self._trace.update(repr((round(self.clock.monotonic(), 6), *facts)).encode())

    @property
    def trace(self) -> str:
        """A digest of all that happened."""
        return self._trace.hexdigest()

    def copies(self) -> list[KnownCopy]:
        """Every replica that the catalog counts as good."""
        with closing(connect_raw(open_engine(self._config.database, read_only=True))) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT n.name, c.digest FROM replicas r JOIN nodes n ON n.id = r.node_id"
                " JOIN chunks c ON c.id = r.chunk_id WHERE r.state = 'good'"
            )
            return [KnownCopy(*row) for row in cursor.fetchall()]

    def require_spare(self, node: SimulatedNode, order: Order) -> None:
        """A delete is about to be carried out: no current version needs the file, or others have it whole."""
        found = node.volume.verify(order.digest)
        if found.kind is FindingKind.MISSING or found.generation > order.generation:
            return
        current = self.count(
            "SELECT count(*) FROM extents x JOIN versions v ON v.id = x.version_id JOIN chunks c ON c.id = x.chunk_id"
            f" WHERE v.removed_at IS NULL AND c.digest = x'{order.digest.hex()}'"
        )
        others = [other for other in self.nodes if other is not node]
        whole = [other.name for other in others if other.volume.verify(order.digest).kind is FindingKind.GOOD]
        assert not current or whole, f"{node.name} is to delete the last copy of {order.digest.hex()}"

    def count(self, sql: str) -> int:
        """A number that the database holds."""
        return int(self.rows(sql)[0][0])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database holds."""
        with closing(connect_raw(open_engine(self._config.database, read_only=True))) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def client(self) -> Dfs:
        """A client of its own, with no threads."""
        name = f"client-{next(self._clients)}"
        return Dfs(
            Settings(master=MASTER, key=self._client_key),
            dialer=self.network.seen_from(name),
            executor=SerialExecutor(),
            clock=self.clock,
            randomness=random.Random(self.random.random()),
            receipts_home=self.directory / "receipts",
        )

    def start_master(self) -> None:
        """A new master process over the same database."""
        engine = open_engine(self._config.database)
        built = build_cluster(self._config, engine, self.clock, b"unused", StopSignal())
        self.cluster = replace(built, random=self.random)
        if self._settings is not None:
            self.cluster.settings.current = self._settings
        self.healing = Healing(self.cluster)
        service = MasterService(self.cluster, lambda work: work(), self.healing)
        self.network.attach(MASTER, MasterEndpoint(service, self.cluster.committer.serve_waiting))
        self._watch(self.cluster, self.healing, Collector(self.cluster, self.healing.compactor))

    def crash_master(self) -> None:
        """The process ends without a word; what was committed is in the database."""
        self.network.detach(MASTER)
        if self.cluster is not None:
            self.cluster.committer.stop()
            self.cluster.readers.close()
            self.cluster = None

    def ensure_master(self) -> None:
        """Somebody noticed that it is down."""
        if self.cluster is None:
            self.start_master()

    def _watch(self, cluster: Cluster, healing: Healing, collector: Collector) -> None:
        if self.cluster is not cluster:
            return
        housekeeping = Housekeeping(cluster)
        housekeeping.watch_nodes()
        housekeeping.tidy()
        cluster.committer.serve_waiting()
        healing.step()
        cluster.committer.serve_waiting()
        collector.step()
        cluster.committer.serve_waiting()
        self.clock.call_in(1.0, lambda: self._watch(cluster, healing, collector))

    def heal(self) -> None:
        """End all faults, start all that is down, and give it time to settle."""
        self.network.heal()
        self.ensure_master()
        for node in self.nodes:
            if node.link is None:
                node.start()
        self.clock.sleep(30.0)

    def close(self) -> None:
        """Let go of files."""
        self.crash_master()
