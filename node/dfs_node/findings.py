"""What a node found about its chunks and has not told its master yet."""

import logging
import threading
from collections.abc import Callable

from dfs_wire.messages import Finding

#: More waiting findings than this are dropped: the next inventory or read finds them again.
FINDINGS_MAX = 10_000
#: How many go with one heartbeat.
FINDINGS_PER_HEARTBEAT = 1_000

log = logging.getLogger(__name__)


class FindingQueue:
    """The last finding about each chunk, until it is told. Safe to share between threads."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[bytes, Finding] = {}

    def add(self, finding: Finding) -> None:
        """Tell the master soon. A newer finding about the same chunk takes an older one's place."""
        if not self.add_if_room(finding):
            log.warning("too many findings wait for the master; one about %s is dropped", finding.digest.hex())

    def add_if_room(self, finding: Finding) -> bool:
        """The same; says whether there was room."""
        with self._lock:
            full = len(self._waiting) >= FINDINGS_MAX and finding.digest not in self._waiting
            if not full:
                self._waiting.pop(finding.digest, None)
                self._waiting[finding.digest] = finding
        self._wake()
        return not full

    def peek(self) -> list[Finding]:
        """The oldest, for the next heartbeat. They stay until `told`."""
        with self._lock:
            return list(self._waiting.values())[:FINDINGS_PER_HEARTBEAT]

    def told(self, findings: list[Finding]) -> None:
        """The master answered the heartbeat that carried these."""
        with self._lock:
            for finding in findings:
                if self._waiting.get(finding.digest) is finding:
                    del self._waiting[finding.digest]

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting)
