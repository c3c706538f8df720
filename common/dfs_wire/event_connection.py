"""The state of one connection of the event listener."""

import selectors
import socket
import threading
from collections import deque

from dfs_wire.limits import UNSENT_REPLY_BYTES_MAX
from dfs_wire.parser import FrameParser
from dfs_wire.service import Session

#: How much is read at a time: one large plan should not hold up everybody else's small requests.
READ_BYTES = 256 * 1024
#: Requests of one connection that are not answered yet.
PENDING_MAX = 64
#: Answers that wait together are sent as one up to this size.
_JOINED_BYTES_MAX = 64 * 1024
_READ = selectors.EVENT_READ


class EventConnection:
    """Touched by the I/O thread only, except for `send_whole`."""

    def __init__(self, connected: socket.socket, peer: str, now: float) -> None:
        self.socket = connected
        self.session = Session(peer)
        self.parser = FrameParser()
        #: No byte was read yet, so that the protocol is not known.
        self.fresh = True
        self.pending = 0
        self.opened_at = now
        self.heard_at = now
        #: When the frame that is only half here began to arrive.
        self.partial_since: float | None = None
        #: What the selector watches, as registered by the listener.
        self.events = _READ
        self.reading_paused = False
        #: No request is begun any more; what is queued goes out, then the connection ends.
        self.closing = False
        #: Since when all is said, and what still comes is thrown away.
        self.lingering_since: float | None = None
        self.closed = False
        self.unsent_bytes = 0
        #: Answers are collected: they go out together, when what was read is served.
        self.collecting = False
        self._unsent: deque[bytes | memoryview] = deque()
        #: Held for each call of the socket that sends or closes: never for longer, since none of them waits.
        self._sending = threading.Lock()

    def may_take_more(self) -> bool:
        """Whether another request may be begun."""
        return not self.closing and self.pending < PENDING_MAX and self.unsent_bytes <= UNSENT_REPLY_BYTES_MAX

    def is_usual(self) -> bool:
        """Whether it is read from, has all its answers, and may go on so: there is nothing to change."""
        return (
            self.events == _READ
            and not self.unsent_bytes
            and not self.reading_paused
            and not self.closing
            and self.pending < PENDING_MAX
        )

    def queue(self, data: bytes) -> None:
        """Add a reply to what is to be sent."""
        with self._sending:
            self._unsent.append(data)
            self.unsent_bytes += len(data)

    def send_whole(self, data: bytes) -> bool:
        """Send a reply at once, from any thread; False, and nothing is sent, where it must wait its turn.

        What the socket does not take of it is queued.
        """
        with self._sending:
            if self.closed or self.closing or self._unsent:
                return False
            try:
                sent = self.socket.send(data)
            except OSError:  # full, or the peer is gone: the I/O thread will see which
                return False
            if sent < len(data):
                self.unsent_bytes += len(data) - sent
                self._unsent.append(memoryview(data)[sent:])
            return True

    def close(self) -> None:
        """Close the socket; nobody sends on it any more, not even on a number that is given out anew."""
        with self._sending:
            self.closed = True
            self.socket.close()

    def send_some(self) -> None:
        """Send what the socket takes now.

        Raises:
            OSError: the peer is gone.
        """
        with self._sending:
            self._send_queued()

    def _send_queued(self) -> None:
        unsent = self._unsent
        if len(unsent) > 1 and self.unsent_bytes <= _JOINED_BYTES_MAX:
            joined = b"".join(unsent)
            unsent.clear()
            unsent.append(joined)
        while unsent:
            first = unsent[0]
            try:
                sent = self.socket.send(first)
            except BlockingIOError:
                return
            self.unsent_bytes -= sent
            if sent < len(first):
                unsent[0] = memoryview(first)[sent:]
                return
            unsent.popleft()
