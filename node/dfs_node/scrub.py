"""The scrub: a node reads all its chunks again and again, slowly, and tells the master which ones are bad.

It goes through the volume in the order of the digests and remembers its place on the volume, so that a restart goes
on where it was. Users come first: while their streams move it waits, though never for long at a stretch, or a busy
node would never be read.
"""

import logging
import math
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from dfs_node.findings import FindingQueue
from dfs_node.get_chunk import ChunkReader
from dfs_node.scrub_rules import ScrubRules, ScrubState, is_due, pause_seconds, trickle
from dfs_node.slots import StreamSlots
from dfs_node.volume import Volume
from dfs_runtime.clock import Clock
from dfs_runtime.files import write_atomically
from dfs_runtime.workers import SelfPaced
from dfs_wire.errors import DfsError
from dfs_wire.messages import FindingKind, VolumeState

FILE = "scrub"
#: How often the place is written down while a pass goes on; a crash repeats at most that much.
SAVE_SECONDS = 10.0
#: The longest wait until rules and time are looked at again.
LOOK_SECONDS = 5.0
#: How long one chunk waits for users' streams, and how often it looks.
YIELD_SECONDS_MAX = 2.0
YIELD_LOOK_SECONDS = 0.1
#: The priority of the scrub's thread: others who want the processor get it first.
NICENESS = 10

log = logging.getLogger(__name__)

#: Whether users' bytes move now, or did since it was asked last.
Traffic = Callable[[], bool]


class UserTraffic:
    """Uploads and reads of a node's users. Used by one thread."""

    def __init__(self, slots: StreamSlots, reader: ChunkReader) -> None:
        self._slots = slots
        self._reader = reader
        self._seen = (0, 0)

    def __call__(self) -> bool:
        """Whether something moves, or moved since the last call."""
        before, self._seen = self._seen, (self._slots.begun, self._reader.begun)
        return self._slots.in_use > 0 or before != self._seen


class ScrubFile:
    """Where the place is kept. A file that cannot be read begins anew: that costs time, nothing else."""

    def __init__(self, volume: Path) -> None:
        self._path = volume / FILE

    def load(self) -> ScrubState:
        """What was saved last."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=ScrubState)
        except FileNotFoundError:
            return ScrubState()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the place of the scrub cannot be read (%s); it begins anew", error)
            return ScrubState()

    def save(self, state: ScrubState) -> None:
        """Keep it; a disk that is full or failing must not end the scrub."""
        try:
            write_atomically(self._path, msgspec.json.encode(state))
        except OSError as error:
            log.warning("the place of the scrub cannot be written: %s", error)


class Scrubber:
    """`step` belongs to one thread; everything else is safe to use from any."""

    def __init__(
        self,
        volume: Volume,
        findings: FindingQueue,
        clock: Clock,
        file: ScrubFile | None = None,
        *,
        traffic: Traffic = lambda: False,
    ) -> None:
        self._volume = volume
        self._findings = findings
        self._clock = clock
        self._file = file
        self._traffic = traffic
        self._lock = threading.Lock()
        self._rules = ScrubRules()
        self._state = file.load() if file is not None else ScrubState()
        self._asked = False
        #: Digests and sizes of the directory under way, the next one last.
        self._waiting: list[tuple[bytes, int]] = []
        self._listed = -1
        self._saved_at = clock.monotonic()
        #: When the last chunk was begun, and its size: what is to be waited for follows from the rules of the moment.
        self._begun_at = -math.inf
        self._begun_size = 0
        self._yielding_since: float | None = None

    @property
    def state(self) -> ScrubState:
        """How far it is."""
        with self._lock:
            return self._state

    @property
    def rules(self) -> ScrubRules:
        """What it follows now."""
        with self._lock:
            return self._rules

    def follow(self, rules: ScrubRules) -> None:
        """The master's settings, as its last reply said."""
        with self._lock:
            self._rules = rules

    def start_pass(self) -> None:
        """An operator asks for a pass from the beginning, at full speed."""
        with self._lock:
            self._asked = True

    def save(self) -> None:
        """Write the place down, before the process ends."""
        if self._file is not None:
            self._file.save(self.state)

    def step(self) -> float:
        """Read the next chunk if it is time; returns the seconds until the next step."""
        now_ms = self._clock.wall_ms()
        usage = self._volume.usage()
        if usage.state is VolumeState.FAILED or not self._has_pass(now_ms):
            return LOOK_SECONDS if not self._asked else YIELD_LOOK_SECONDS
        pause = pause_seconds(
            self._begun_size, trickle(self._state, self._rules, usage.used_bytes, now_ms), self._rules
        )
        wait = self._begun_at + pause - self._clock.monotonic()
        if wait > 0:
            return min(wait, LOOK_SECONDS)
        if self._users_come_first():
            return YIELD_LOOK_SECONDS
        following = None
        try:
            following = self._next()
            if following is None:
                self._end_pass(now_ms)
                return YIELD_LOOK_SECONDS
            self._read(*following)
        except DfsError as error:
            if following is not None:
                self._waiting.append(following)  # nothing was found out about it
            log.warning("the scrub waits: %s", error)
            return LOOK_SECONDS
        return 0.0

    # -- passes ------------------------------------------------------------------------------------------------

    def _has_pass(self, now_ms: int) -> bool:
        """Go on with a pass, or begin one that is due."""
        with self._lock:
            asked, self._asked = self._asked, False
        if not asked:
            if self._state.under_way:
                return True
            if not is_due(self._state, self._rules, now_ms):
                return False
        self._waiting, self._listed = [], -1
        self._begun_at = -math.inf
        self._keep(ScrubState(started_at_ms=now_ms, ended_at_ms=self._state.ended_at_ms, under_way=True, hurried=asked))
        self.save()
        return True

    def _end_pass(self, now_ms: int) -> None:
        state = self._state
        self._keep(msgspec.structs.replace(state, under_way=False, hurried=False, after=b"", ended_at_ms=now_ms))
        self.save()
        log.info("the scrub read all %d chunks; bad: %d", state.chunks, state.bad)

    def _next(self) -> tuple[bytes, int] | None:
        """The chunk, and its size, behind the last one; None at the end of the volume."""
        after = self._state.after
        while not self._waiting:
            prefix = max(self._listed + 1, after[0] if after else 0)
            if prefix > 255:
                return None
            self._waiting = sorted((each for each in self._volume.names(prefix) if each[0] > after), reverse=True)
            self._listed = prefix
        return self._waiting.pop()

    def _read(self, digest: bytes, size: int) -> None:
        """Verify one chunk. One that went away meanwhile was deleted: what is lost is found by the inventory."""
        self._begun_at, self._begun_size = self._clock.monotonic(), size
        finding = self._volume.verify(digest)
        bad = finding.kind is FindingKind.CORRUPT
        if bad:
            log.warning("the scrub found chunk %s bad: %s", digest.hex(), finding.detail)
            self._findings.add(finding)
        state = self._state
        self._keep(
            msgspec.structs.replace(
                state, after=digest, chunks=state.chunks + 1, bytes=state.bytes + size, bad=state.bad + bad
            )
        )
        if self._clock.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()
            self._saved_at = self._clock.monotonic()

    def _keep(self, state: ScrubState) -> None:
        with self._lock:
            self._state = state

    # -- pace --------------------------------------------------------------------------------------------------

    def _users_come_first(self) -> bool:
        """Whether this chunk waits a little longer, because users' bytes move."""
        now = self._clock.monotonic()
        if not self._traffic():
            self._yielding_since = None
            return False
        if self._yielding_since is None:
            self._yielding_since = now
        if now - self._yielding_since < YIELD_SECONDS_MAX:
            return True
        self._yielding_since = None
        return False


def scrub_thread(scrubber: Scrubber) -> SelfPaced:
    """Scrubs until it is stopped, behind everybody else, and keeps its place then."""
    return SelfPaced(
        "scrub",
        scrubber.step,
        first_seconds=LOOK_SECONDS / 5,
        again_seconds=LOOK_SECONDS,
        begin=_step_back,
        end=scrubber.save,
    )


def _step_back() -> None:
    with suppress(OSError):  # where threads have no priority of their own, the pace alone must do
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
