"""A node from its start to its end: the only place where its parts are built and joined."""

import logging
import random
import secrets
import threading
from contextlib import ExitStack
from pathlib import Path

from dfs_node.config import NodeConfig
from dfs_node.copying import Courtesy
from dfs_node.disk_volume import DiskVolume
from dfs_node.findings import FindingQueue
from dfs_node.forward import Chain
from dfs_node.get_chunk import ChunkReader
from dfs_node.handlers import NodeHandlers, software
from dfs_node.heartbeat import HeartbeatThread
from dfs_node.identity import Claim, claim_volume, make_volume_directory
from dfs_node.inventory import InventorySender, inventory_thread
from dfs_node.master_link import MasterLink, NodeCard
from dfs_node.master_time import MasterTime
from dfs_node.orders import OrderRunner
from dfs_node.put_chunk import ChunkReceiver
from dfs_node.receipts import Credentials
from dfs_node.replicate import Replicator
from dfs_node.scrub import Scrubber, ScrubFile, UserTraffic, scrub_thread
from dfs_node.slots import StreamSlots
from dfs_node.volume_directory import hold_volume
from dfs_runtime.clock import SystemClock
from dfs_runtime.lifecycle import StopSignal, raise_descriptor_limit
from dfs_runtime.logs import configure_logs
from dfs_wire.messages import AddressSet, Hello, Role
from dfs_wire.pool import ChannelPool
from dfs_wire.sockets import SocketDialer
from dfs_wire.thread_listener import ThreadListener

log = logging.getLogger(__name__)


def run(config: NodeConfig, stop: StopSignal) -> None:
    """Serve until `stop` is set.

    Raises:
        DfsError: the volume cannot be used, the port is taken, or the master refused this node.
    """
    config.check()
    configure_logs(file=config.log_file, level=config.log_level)
    raise_descriptor_limit()
    clock, dialer, wake = SystemClock(), SocketDialer(), threading.Event()
    claim = Claim(may_join=config.join_token is not None, expected_node=config.expect_node)
    with ExitStack() as parts:
        make_volume_directory(config.volume, claim)
        parts.enter_context(hold_volume(config.volume))
        identity = claim_volume(config.volume, claim)
        volume = _open_volume(config.volume, parts)
        time = MasterTime(clock)
        credentials = Credentials(identity, time)
        findings = FindingQueue(wake.set)
        pool = ChannelPool(dialer, _hello_to_a_node)
        parts.callback(pool.close)
        slots, reader = StreamSlots(), ChunkReader(volume, credentials, findings)
        handlers = NodeHandlers(
            volume=volume,
            credentials=credentials,
            receiver=ChunkReceiver(volume, credentials, slots, Chain(pool)),
            reader=reader,
            findings=findings,
            join_token=config.join_token,
        )
        scrubber = Scrubber(volume, findings, clock, ScrubFile(config.volume), traffic=UserTraffic(slots, reader))
        replicator = Replicator(volume, pool, courtesy=Courtesy(clock, lambda: slots.in_use, lambda: slots.begun_at))
        orders = OrderRunner(volume, findings, replicator, scrubber=scrubber)
        parts.callback(orders.stop)
        listener = ThreadListener(config.listen, handlers=handlers.table(), chunks=handlers, hello=handlers.hello)
        parts.callback(listener.stop)
        listener.start()
        inside, outside = config.addresses(listener.address)
        inventory = InventorySender(
            volume=volume,
            findings=findings,
            identity=identity,
            time=time,
            clock=clock,
            dialer=dialer,
            master_address=config.master,
            software=software(),
        )
        link = MasterLink(
            card=NodeCard(config.name, config.zone, inside, outside),
            master_address=config.master,
            join_token=config.join_token,
            software=software(),
            dialer=dialer,
            identity=identity,
            volume=volume,
            findings=findings,
            orders=orders,
            time=time,
            clock=clock,
            jitter=random.SystemRandom().random,
            scrubber=scrubber,
            inventory=inventory,
            instance=secrets.token_bytes(16),
        )
        for thread in (scrub_thread(scrubber), inventory_thread(inventory), HeartbeatThread(link, stop.set, wake)):
            parts.callback(thread.stop)
            thread.start()
        stop.wait()
        log.info("node %s stops", config.name)


def _open_volume(path: Path, parts: ExitStack) -> DiskVolume:
    """The volume, with the thread of its journal; both end when nobody stores anything any more."""
    volume = DiskVolume(path)
    parts.callback(volume.close)
    journal = volume.journal.thread()
    parts.callback(journal.stop)
    journal.start()
    return volume


def _hello_to_a_node(_address: str) -> Hello:
    return Hello(role=Role.TICKET, address_set=AddressSet.CLUSTER, software=software())
