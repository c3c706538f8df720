"""A master from its start to its end: the only place where its parts are built and joined."""

import logging
import random
import secrets
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache

from dfs_master.catalog.checkpoint import Checkpointer
from dfs_master.catalog.committer import Committer, take_epoch
from dfs_master.catalog.engine import Engine, open_engine
from dfs_master.catalog.entry_cache import EntryCache
from dfs_master.catalog.migrate import upgrade
from dfs_master.catalog.reader import Reader
from dfs_master.cluster import Cluster, Readers
from dfs_master.collector import Collector
from dfs_master.config import MasterConfig, held
from dfs_master.credentials import KEY_BYTES, Credentials, key_digest
from dfs_master.fence import SEEN_COMMIT_SEQ, SEEN_EPOCH, Fence, Point
from dfs_master.generations import Generations
from dfs_master.handlers.fencing import behind
from dfs_master.handlers.nodes import known_node
from dfs_master.healing import Healing
from dfs_master.housekeeping import Housekeeping
from dfs_master.keys import NodeKeys, load_master_key
from dfs_master.line_protocol import LineProtocol, LineStore
from dfs_master.membership import DEAD, KnownNode, timing_of
from dfs_master.registry import STEP_SECONDS, NodeRegistry
from dfs_master.replaced import ReplacedNodes
from dfs_master.safe_mode import SafeMode
from dfs_master.service import MasterService
from dfs_master.settings import SettingsHolder, from_records
from dfs_runtime.clock import Clock, SystemClock
from dfs_runtime.lifecycle import StopSignal, raise_descriptor_limit
from dfs_runtime.logs import configure_logs
from dfs_runtime.version import VERSION
from dfs_runtime.workers import Periodic, WorkerPool
from dfs_wire.errors import NotFoundError, SchemaError
from dfs_wire.event_listener import EventListener
from dfs_wire.messages import AddressSet, Role
from dfs_wire.sockets import SocketDialer

log = logging.getLogger(__name__)

#: Beside one busy thread, CPython's default of 5 ms cost the I/O thread 10 ms at the median; this cost 0.6 ms.
SWITCH_SECONDS = 0.0005
WORKER_THREADS = 4
WORKER_QUEUE_MAX = 256
#: Often: a log whose content was moved is written over from its beginning, and that costs a commit less than one that
#: grows, which changes the file system's metadata as well.
CHECKPOINT_SECONDS = 1.0
HOUSEKEEPING_SECONDS = 1.0
REPLACED_SECONDS = 10.0
COLLECTOR_SECONDS = 1.0
HEALING_SECONDS = 0.5

#: Opens the client library for the line protocol: on a master's address, with a key, for a set of nodes' addresses.
OpenStore = Callable[[str, bytes, AddressSet], LineStore]


def run(config: MasterConfig, stop: StopSignal, open_store: OpenStore) -> None:
    """Serve until `stop` is set.

    Raises:
        DfsError: the data cannot be used, or the port is taken; or why serving had to end.
    """
    configure_logs(file=config.log_file, level=config.log_level)
    raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    clock = SystemClock()
    if not config.database.is_file():
        raise NotFoundError(f"{config.data} holds no master; make one with: dfs-master init --data {config.data}")
    with ExitStack() as parts:
        parts.enter_context(held(config.data))
        upgrade(config.database, clock)
        engine = open_engine(config.database)
        line_key = secrets.token_bytes(KEY_BYTES)
        cluster = build_cluster(config, engine, clock, line_key, stop)
        parts.callback(cluster.readers.close)
        cluster.committer.start()
        parts.callback(cluster.committer.stop)
        workers = WorkerPool("worker", WORKER_THREADS, WORKER_QUEUE_MAX)
        parts.callback(workers.stop)
        lines = _lines(config, cluster, lambda addresses: open_store(listener.address, line_key, addresses))
        healing = Healing(cluster, wake=lambda: healer.wake())
        healer = Periodic("healing", HEALING_SECONDS, healing.step)
        service = MasterService(cluster, workers.submit, healing)
        listener = EventListener(config.listen, service, clock, lines=lines)
        parts.callback(listener.stop)
        checkpointer = parts.enter_context(closing(Checkpointer(engine, config.database)))
        housekeeping = Housekeeping(cluster)
        for name, seconds, step in (
            ("membership", STEP_SECONDS, housekeeping.watch_nodes),
            ("housekeeping", HOUSEKEEPING_SECONDS, housekeeping.tidy),
            ("collector", COLLECTOR_SECONDS, Collector(cluster, healing.compactor).step),
            ("replaced", REPLACED_SECONDS, ReplacedNodes(cluster).step),
            ("checkpoint", CHECKPOINT_SECONDS, checkpointer.step),
        ):
            periodic = Periodic(name, seconds, step)
            parts.callback(periodic.stop)
            periodic.start()
        parts.callback(healer.stop)
        healer.start()
        listener.start()
        log.info("serving", extra={"address": listener.address, "epoch": cluster.epoch})
        stop.wait()
    log.info("stopped")


def build_cluster(config: MasterConfig, engine: Engine, clock: Clock, line_key: bytes, stop: StopSignal) -> Cluster:
    """Everything that handlers share, with a new epoch."""
    epoch = take_epoch(engine)
    with closing(Reader(engine, clock)) as reader:
        cluster_id = reader.setting("cluster_id")
        copies = reader.setting("copies")
        records = reader.settings()
        keys = [(row.role, row.digest) for row in reader.credentials()]
        nodes = [known_node(row, clock) for row in reader.nodes()]
        copies_by_node = reader.copies_by_node()
    if cluster_id is None or copies is None:
        raise SchemaError(f"{config.data} was not initialised to its end; make it with: dfs-master init --data DIR")
    now = clock.monotonic()
    holder = SettingsHolder(from_records(records))
    registry = NodeRegistry(clock, [replace(node, heard_at=now) for node in nodes], lambda: timing_of(holder.current))
    readers = Readers(lambda: Reader(engine, clock))
    entries = EntryCache(readers.mine)
    committer = Committer(engine, clock, epoch, nodes=lambda: registry.nodes, on_fatal=stop.set, watch=entries)
    begun = Point(epoch, committer.commit_seq)
    return Cluster(
        cluster_id=cluster_id,
        clock=clock,
        random=random.Random(),  # noqa: S311 - chooses among equals; what must not be guessed comes from `secrets`
        committer=committer,
        readers=readers,
        entries=entries,
        registry=registry,
        keys=NodeKeys(load_master_key(config.data), cluster_id),
        credentials=Credentials([*keys, (Role.CLIENT, key_digest(line_key))]),
        generations=Generations(epoch),
        started_at=now,
        copies=int(copies),
        software=f"dfs {VERSION}",
        settings=holder,
        safe_mode=_safe_mode(nodes, copies_by_node, records, begun, now),
        fence=Fence(begun, next_id=int(records.get("next_id", 0))),
    )


def _safe_mode(
    nodes: list[KnownNode], copies: dict[int, int], records: dict[str, str], own: Point, now: float
) -> SafeMode:
    """Wait for the nodes; and stay read-only where an earlier process found that they have seen a newer database."""
    mode = SafeMode({node.id for node in nodes if node.state != DEAD}, copies, started_at=now)
    seen = Point(int(records.get(SEEN_EPOCH, 0)), int(records.get(SEEN_COMMIT_SEQ, 0)))
    if any(seen):
        mode.hold(behind(seen, own))
    return mode


def _lines(
    config: MasterConfig, cluster: Cluster, open_store: Callable[[AddressSet], LineStore]
) -> LineProtocol | None:
    """The line protocol, unless it is switched off. Each store is opened at its first use."""
    if not config.line_protocol:
        return None
    store = cache(open_store)
    return LineProtocol(store, SocketDialer(), cluster.credentials, allowed=config.line_allowed)
