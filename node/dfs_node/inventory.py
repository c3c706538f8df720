"""The inventory: a node lists all its chunks for its master, which compares them with what is on record.

Once in each master's term and then daily, in pages of consecutive digests, over a connection of its own so that
heartbeats never wait for a list. The master answers a page with the chunks on which it and the page differ; the node
looks at those, and what it finds goes out with the heartbeats like every other finding.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from dfs_node.findings import FindingQueue
from dfs_node.identity import IdentityFile
from dfs_node.master_time import MasterTime
from dfs_node.volume import InventoryItem, Volume
from dfs_runtime.clock import Clock
from dfs_runtime.workers import SelfPaced
from dfs_wire import messages as m
from dfs_wire.channel import Channel, Dialer
from dfs_wire.codec import encode_list
from dfs_wire.errors import DfsError, UnavailableError
from dfs_wire.limits import DIGEST_BYTES, INVENTORY_PAGE_CHUNKS_MAX
from dfs_wire.tickets import hello_mac

#: Directories are joined to one page until it has so many chunks.
PAGE_CHUNKS = 4_096
LOOK_SECONDS = 1.0
#: After a failed attempt.
AGAIN_SECONDS = 15.0
#: How often, and how long each time, a finding waits until heartbeats have made room for it.
ROOM_TRIES, ROOM_SECONDS = 150, 0.2
_LEAST, _GREATEST = bytes(DIGEST_BYTES), b"\xff" * DIGEST_BYTES

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Page:
    """All chunks from digest `first` to `last`. `started_at_ms`: the master's time before the first look."""

    first: bytes
    started_at_ms: int
    last: bytes = b""
    chunks: list[m.InventoryChunk] = field(default_factory=list)


def listed(item: InventoryItem, now_ms: int) -> m.InventoryChunk:
    """A chunk as the wire tells of it. `now_ms` is of the clock that the file system uses."""
    age_ms = 0 if item.damage else max(0, now_ms - item.stored_at_ms)
    return m.InventoryChunk(item.digest, item.generation, item.size, age_ms, item.damage)


def following(digest: bytes) -> bytes:
    """The next digest."""
    return (int.from_bytes(digest, "big") + 1).to_bytes(len(digest), "big")


def cut(page: Page, most: int = INVENTORY_PAGE_CHUNKS_MAX) -> Iterator[Page]:
    """The same range as pages that fit into a request."""
    chunks = sorted(page.chunks, key=lambda each: each.digest)
    first = page.first
    for at in range(0, max(1, len(chunks)), most):
        part = chunks[at : at + most]
        last = page.last if at + most >= len(chunks) else part[-1].digest
        yield Page(first, page.started_at_ms, last, part)
        if last != _GREATEST:
            first = following(last)


class InventorySender:
    """`step` belongs to one thread; everything else is safe to use from any."""

    def __init__(
        self,
        *,
        volume: Volume,
        findings: FindingQueue,
        identity: IdentityFile,
        time: MasterTime,
        clock: Clock,
        dialer: Dialer,
        master_address: str,
        software: str,
    ) -> None:
        self._volume = volume
        self._findings = findings
        self._identity = identity
        self._time = time
        self._clock = clock
        self._dialer = dialer
        self._master_address = master_address
        self._software = software
        self._lock = threading.Lock()
        self._seconds = 86_400
        self._epoch = 0
        #: The master's term in which the last inventory was sent, and when that was (monotonic).
        self._sent_in_epoch = 0
        self._sent_at = 0.0

    def follow(self, *, epoch: int, seconds: int) -> None:
        """What the master's last reply said; a new term asks for a new inventory. `seconds` 0: as before."""
        with self._lock:
            self._epoch = epoch
            self._seconds = seconds or self._seconds

    def send_soon(self) -> None:
        """The master wants one now, whenever the last one was."""
        with self._lock:
            self._sent_in_epoch = 0

    def step(self) -> float:
        """Send an inventory if it is time; returns the seconds until the next step."""
        with self._lock:
            epoch = self._epoch
            due_in = self._sent_at + self._seconds - self._clock.monotonic()
        if epoch == 0 or (epoch == self._sent_in_epoch and due_in > 0):
            return LOOK_SECONDS
        try:
            self._send_all()
        except DfsError as error:
            log.info("the inventory was not finished: %s", error)
            return AGAIN_SECONDS
        with self._lock:
            # Its end: a long one must not be due again before the next reply says that it was taken.
            self._sent_in_epoch, self._sent_at = epoch, self._clock.monotonic()
        return LOOK_SECONDS

    def _send_all(self) -> None:
        chunks = 0
        # All of it under one registration: the master refuses the rest if that changes, and it is sent anew.
        registration = self._identity.current.registration
        with _Closing(self._connect()) as channel:
            for page in self._pages():
                self._send(channel, page, registration)
                chunks += len(page.chunks)
        log.info("the master has an inventory of %d chunks", chunks)

    def _connect(self) -> Channel:
        identity = self._identity.current
        return self._dialer.dial(
            self._master_address,
            m.Hello(
                role=m.Role.NODE,
                credential=hello_mac(identity.node_key, identity.cluster_id, identity.node_id),
                node_id=identity.node_id,
                address_set=m.AddressSet.CLUSTER,
                software=self._software,
            ),
        )

    def _pages(self) -> Iterator[Page]:
        page = Page(_LEAST, self._time.now_ms())
        for prefix in range(256):
            now_ms = self._clock.wall_ms()
            page.chunks += [listed(item, now_ms) for item in self._volume.inventory(prefix)]
            if len(page.chunks) >= PAGE_CHUNKS or prefix == 255:
                page.last = bytes([prefix]) + _GREATEST[1:]
                yield from cut(page)
                if prefix < 255:
                    page = Page(following(page.last), self._time.now_ms())

    def _send(self, channel: Channel, page: Page, registration: int) -> None:
        request = m.Inventory(
            node_id=self._identity.current.node_id,
            registration=registration,
            first=page.first,
            last=page.last,
            started_at_ms=page.started_at_ms,
        )
        answer = channel.call(request, m.InventoryReply, encode_list(page.chunks))
        for ask in answer.items(list[m.InventoryAsk]) if answer.body else []:
            self._look(ask)

    def _look(self, ask: m.InventoryAsk) -> None:
        finding = self._volume.verify(ask.digest)
        if ask.adopt and finding.kind is m.FindingKind.GOOD:
            finding = m.Finding(finding.digest, finding.generation, m.FindingKind.STORED)
        for _ in range(ROOM_TRIES):
            if self._findings.add_if_room(finding):
                return
            self._clock.sleep(ROOM_SECONDS)
        raise UnavailableError("more findings wait than the master takes; the rest comes with the next inventory")


class _Closing:
    """Hangs up at the end."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> Channel:
        return self._channel

    def __exit__(self, *_: object) -> None:
        self._channel.close()


def inventory_thread(sender: InventorySender) -> SelfPaced:
    """Sends inventories until it is stopped; one under way is left behind, the next process sends one anyway."""
    return SelfPaced("inventory", sender.step, first_seconds=LOOK_SECONDS, again_seconds=AGAIN_SECONDS)
