"""An opened version: which bytes are where, with tickets that are always fresh."""

import threading
from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from dfs_client.master import MasterClient
from dfs_runtime.clock import Clock
from dfs_wire.errors import ProtocolError, TooLargeError
from dfs_wire.limits import MIB
from dfs_wire.messages import Open, OpenExtent, OpenReply

#: Extents are asked for by stretches of the file: the list of a very large one does not fit a reply, and the master
#: answers small ones without a thread.
WINDOW_BYTES = 256 * MIB
WINDOW_BYTES_MIN = 1 * MIB
#: Stretches that are remembered; readers that go forward need two.
WINDOWS_MAX = 4
#: A ticket is renewed this long before its end: a node's transfer must have begun by then.
RENEW_SECONDS = 30.0


class _Window(msgspec.Struct, frozen=True):
    """The extents that overlap one stretch. `fresh_until` is in monotonic seconds."""

    reply: OpenReply
    extents: list[OpenExtent]
    starts: list[int]
    fresh_until: float


class OpenedVersion:
    """One version of a file, fixed when it was opened. Safe to use from several threads.

    Attributes:
        path: as it was opened; the file may have another name by now.
    """

    def __init__(self, master: MasterClient, clock: Clock, path: str, *, window_bytes: int = WINDOW_BYTES) -> None:
        """Open the file's current version.

        Raises:
            NotFoundError: there is no such file.
            WrongKindError: it is a directory.
        """
        self.path = path
        self._master = master
        self._clock = clock
        self._window_bytes = window_bytes
        self._lock = threading.Lock()
        self._windows: dict[int, _Window] = {}
        self._version = 0
        window = self._load(0)
        self._reply = window.reply
        self._version = window.reply.version
        #: The extents at its beginning: all of them, where it is small.
        self.first = window.extents

    def after_fork(self) -> None:
        """In a child: nobody holds the lock. For the file object that keeps the version."""
        self._lock = threading.Lock()

    @property
    def reply(self) -> OpenReply:
        """Size, digest, mode and time of the version."""
        return self._reply

    @property
    def size(self) -> int:
        """Bytes of the whole content."""
        return self._reply.size

    def extent_at(self, start: int) -> OpenExtent:
        """The extent that holds the byte `start`, with fresh tickets; see `ticketed_extent_at`."""
        return self.ticketed_extent_at(start)[0]

    def ticketed_extent_at(self, start: int) -> tuple[OpenExtent, int]:
        """The extent that holds the byte `start`, and when its tickets end in the master's time.

        Raises:
            VersionGoneError: the version was replaced or removed, and its hour of grace is over.
            ProtocolError: the master's list leaves that byte out.
        """
        window = self._window(start)
        place = bisect_right(window.starts, start) - 1
        if place >= 0:
            extent = window.extents[place]
            if extent.start <= start < extent.start + extent.length:
                return extent, window.reply.expires_at_ms
        raise ProtocolError(f"the master's list of extents of {self.path} leaves out byte {start}; see `dfs status`")

    def starts(self) -> Iterator[int]:
        """Where each extent begins, in order."""
        start = 0
        while start < self.size:
            extent = self.extent_at(start)
            if extent.start != start:
                raise ProtocolError(f"the extents of {self.path} overlap at byte {start}; see `dfs status`")
            yield start
            start += extent.length

    def renew(self, start: int) -> None:
        """Ask for other tickets and the copies as they are now."""
        with self._lock:
            self._windows.pop(start // self._window_bytes, None)

    def _window(self, start: int) -> _Window:
        # Under the lock: workers whose tickets end together must not all ask for the same list.
        with self._lock:
            found = self._windows.get(start // self._window_bytes)
            if found is None or found.fresh_until <= self._clock.monotonic():
                found = self._load(start)
            return found

    def _load(self, start: int) -> _Window:
        while True:
            number = start // self._window_bytes
            try:
                request = Open(
                    path="" if self._version else self.path,
                    version=self._version,
                    offset=number * self._window_bytes,
                    length=self._window_bytes,
                )
                reply, extents = self._master.open(request)
                break
            except TooLargeError:
                # Many small extents: shorter stretches fit.
                if self._window_bytes <= WINDOW_BYTES_MIN:
                    raise
                self._window_bytes //= 2
                self._windows.clear()
        fresh = fresh_until(self._clock, reply.expires_at_ms, reply.time_ms)
        window = _Window(reply, extents, [extent.start for extent in extents], fresh)
        while len(self._windows) >= WINDOWS_MAX:
            del self._windows[next(iter(self._windows))]
        self._windows[number] = window
        return window


def fresh_until(clock: Clock, expires_at_ms: int, time_ms: int) -> float:
    """Until when tickets are used that end at `expires_at_ms`, where it is `time_ms` now: in monotonic seconds."""
    lifetime = (expires_at_ms - time_ms) / 1000
    return clock.monotonic() + lifetime - min(RENEW_SECONDS, lifetime / 4)
