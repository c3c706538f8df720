"""The node's side of its master: register, then heartbeat on the same connection, and begin again when it breaks.

`step` does what is due and says how long to wait; it never sleeps. `heartbeat.py` gives it a thread, the simulation
calls it by hand.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from dfs_node.findings import FindingQueue
from dfs_node.identity import IdentityFile
from dfs_node.inventory import InventorySender
from dfs_node.link_rules import Heard, Obey, backoff_seconds, ends_the_process, judge_orders, next_beat_seconds
from dfs_node.master_time import MasterTime
from dfs_node.scrub import Scrubber
from dfs_node.scrub_rules import ScrubRules, ScrubState
from dfs_node.volume import Volume
from dfs_runtime.clock import Clock
from dfs_wire import messages as m
from dfs_wire import tickets
from dfs_wire.channel import Channel, Dialer
from dfs_wire.codec import encode_list
from dfs_wire.errors import DfsError, VolumeForeignError
from dfs_wire.limits import HEARTBEAT_SECONDS, SUSPECT_SECONDS

#: How often the newest commit_seq is made durable while nothing else has to be.
REMEMBER_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeCard:
    """How a node presents itself. `address` is for nodes and clients inside, `public_address` for those outside."""

    name: str
    zone: str
    address: str
    public_address: str


class Orders(Protocol):
    """Where a heartbeat's orders go."""

    def take(self, orders: list[m.Order]) -> None:
        """Carry them out soon; must not block."""
        ...


class MasterLink:
    """One node's connection to its master. Used by one thread."""

    def __init__(
        self,
        *,
        card: NodeCard,
        master_address: str,
        join_token: bytes | None,
        software: str,
        dialer: Dialer,
        identity: IdentityFile,
        volume: Volume,
        findings: FindingQueue,
        orders: Orders,
        time: MasterTime,
        clock: Clock,
        jitter: Callable[[], float],
        scrubber: Scrubber | None = None,
        inventory: InventorySender | None = None,
        instance: bytes = b"",
    ) -> None:
        self._card = card
        self._master_address = master_address
        self._join_token = join_token
        self._software = software
        self._dialer = dialer
        self._identity = identity
        self._volume = volume
        self._findings = findings
        self._orders = orders
        self._time = time
        self._clock = clock
        self._jitter = jitter
        self._scrubber = scrubber
        self._inventory = inventory
        self._instance = instance
        self._channel: Channel | None = None
        self._failures = 0
        self._trying_since = clock.monotonic()
        self._remembered_at = clock.monotonic()
        self._heartbeat_seconds = HEARTBEAT_SECONDS
        self._again_seconds = HEARTBEAT_SECONDS
        self._heard = Heard(identity.current.highest_epoch, identity.current.highest_commit_seq)

    @property
    def connected(self) -> bool:
        """Whether the node is registered and the connection holds, as far as it knows."""
        return self._channel is not None

    def step(self) -> float:
        """Register or heartbeat, whichever is due; returns the seconds until the next step.

        Raises:
            DfsError: the master refused this node for good.
        """
        try:
            if self._channel is None:
                self._register()
            self._beat(leaving=False)
        except DfsError as error:
            return self._after(error)
        self._failures = 0
        return self._again_seconds

    def leave(self) -> None:
        """Tell the master that this node stops on purpose, if it can be told, and hang up."""
        if self._channel is not None:
            try:
                self._beat(leaving=True)
            except DfsError as error:
                log.info("the master did not hear that this node leaves: %s", error)
            with suppress(DfsError):  # a volume that cannot be written has said so
                self._identity.remember(self._heard.commit_seq)
        self._hang_up()

    def _after(self, error: DfsError) -> float:
        """Back off, or give up.

        Raises:
            DfsError: `error`, when trying again cannot help.
        """
        now = self._clock.monotonic()
        if self.connected:
            self._trying_since = now
            log.warning("lost the master at %s: %s", self._master_address, error)
            self._hang_up()
        elif ends_the_process(error, now - self._trying_since):
            raise error
        else:
            log.info("no master at %s yet: %s", self._master_address, error)
        self._failures += 1
        return backoff_seconds(self._failures, self._jitter())

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _hello(self) -> m.Hello:
        identity = self._identity.current
        if identity.joined:
            return m.Hello(
                role=m.Role.NODE,
                credential=tickets.hello_mac(identity.node_key, identity.cluster_id, identity.node_id),
                node_id=identity.node_id,
                address_set=m.AddressSet.CLUSTER,
                software=self._software,
            )
        return m.Hello(
            role=m.Role.JOIN,
            credential=self._join_token or b"",
            address_set=m.AddressSet.CLUSTER,
            software=self._software,
        )

    def _register(self) -> None:
        """Connect and take up service. The number is durable before the master hears it."""
        channel = self._dialer.dial(self._master_address, self._hello())
        try:
            self._check_cluster(channel.hello.cluster_id)
            number = self._identity.propose_registration()
            reply = channel.call(self._register_request(number), m.RegisterReply).header
            self._check_cluster(reply.cluster_id)
            if not self._identity.current.joined:
                self._identity.join(cluster_id=reply.cluster_id, node_id=reply.node_id, node_key=reply.node_key)
        except BaseException:
            channel.close()
            raise
        self._volume.registered()
        self._channel = channel
        self._heartbeat_seconds = reply.heartbeat_seconds
        log.info(
            "node %d (%s) serves cluster %s on %s",
            reply.node_id,
            self._card.name,
            reply.cluster_id,
            self._card.address,
            extra={"node_id": reply.node_id, "registration": number, "epoch": reply.epoch},
        )

    def _register_request(self, number: int) -> m.Register:
        usage = self._volume.usage()
        return m.Register(
            node_id=self._identity.current.node_id,
            registration=number,
            name=self._card.name,
            zone=self._card.zone,
            address=self._card.address,
            public_address=self._card.public_address,
            capacity_bytes=usage.capacity_bytes,
            used_bytes=usage.used_bytes,
            free_bytes=usage.free_bytes,
            filesystem_id=usage.filesystem_id,
            volume_state=usage.state,
            volume_verified=usage.verified,
            highest_epoch=self._heard.epoch,
            highest_commit_seq=self._heard.commit_seq,
            instance=self._instance,
        )

    def _check_cluster(self, cluster_id: str) -> None:
        """Raise `VolumeForeignError` where the master is another cluster's."""
        own = self._identity.current.cluster_id
        if own and cluster_id != own:
            raise VolumeForeignError(
                f"the volume belongs to cluster {own}, and the master at {self._master_address} to {cluster_id}; "
                "check --master"
            )

    def _beat(self, *, leaving: bool) -> None:
        """One heartbeat: findings go, time and orders come."""
        if self._channel is None:
            return
        identity = self._identity.current
        usage = self._volume.usage()
        findings = self._findings.peek()
        scrub = self._scrubber.state if self._scrubber is not None else ScrubState()
        request = m.Heartbeat(
            node_id=identity.node_id,
            registration=identity.registration,
            capacity_bytes=usage.capacity_bytes,
            used_bytes=usage.used_bytes,
            free_bytes=usage.free_bytes,
            volume_state=usage.state,
            highest_epoch=self._heard.epoch,
            highest_commit_seq=self._heard.commit_seq,
            leaving=leaving,
            scrubbed_at_ms=scrub.ended_at_ms,
            scrub_permille=scrub.permille,
        )
        answer = self._channel.call(request, m.HeartbeatReply, encode_list(findings), seconds=SUSPECT_SECONDS)
        tickets.check_orders(identity.node_key, identity.cluster_id, identity.node_id, answer.header, answer.body)
        self._findings.told(findings)
        rules_given = tickets.check_rules(identity.node_key, identity.cluster_id, identity.node_id, answer.header)
        self._time.learn(answer.header.time_ms)
        self._follow(answer.header, answer.items(list[m.Order]) if answer.body else [])
        self._follow_rules(answer.header, given=rules_given)
        self._again_seconds = next_beat_seconds(self._heartbeat_seconds, answer.header.again_seconds)

    def _follow(self, reply: m.HeartbeatReply, orders: list[m.Order]) -> None:
        """Obey the newest master, and no older one."""
        judgement = judge_orders(reply, self._identity.current.highest_epoch)
        self._heard = self._heard.and_now(reply.epoch, reply.commit_seq)
        if judgement is Obey.REFUSE:
            if orders:
                log.error("%d orders of the older epoch %d are refused", len(orders), reply.epoch)
            return
        now = self._clock.monotonic()
        if judgement is Obey.AFTER_EPOCH:
            self._identity.raise_epoch(reply.epoch, reply.commit_seq)
            self._remembered_at = now
        elif now - self._remembered_at >= REMEMBER_SECONDS:
            self._identity.remember(self._heard.commit_seq)
            self._remembered_at = now
        self._orders.take(orders)
        if self._inventory is not None and any(order.kind is m.OrderKind.SCRUB for order in orders):
            # Whoever wants all chunks looked at also wants those found that nobody knows of.
            self._inventory.send_soon()

    def _follow_rules(self, reply: m.HeartbeatReply, *, given: bool) -> None:
        """Work in the background as the master's settings say. Nothing of it depends on who is the newest master."""
        if given and self._scrubber is not None and reply.scrub_seconds and reply.scrub_bytes_per_second:
            self._scrubber.follow(ScrubRules(reply.scrub_seconds, reply.scrub_bytes_per_second))
        if self._inventory is not None:
            self._inventory.follow(epoch=reply.epoch, seconds=reply.inventory_seconds if given else 0)
