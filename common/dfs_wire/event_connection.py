"""The state of one connection of the event listener."""

import socket
from collections import deque

from dfs_wire.limits import UNSENT_REPLY_BYTES_MAX
from dfs_wire.parser import FrameParser
from dfs_wire.service import Session

#: How much is read at a time: one large plan should not hold up everybody else's small requests.
READ_BYTES = 256 * 1024
#: Requests of one connection that are not answered yet.
PENDING_MAX = 64


class EventConnection:
    """Touched by the I/O thread only."""

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
        #: What the selector watches; 1 is EVENT_READ, as registered by the listener.
        self.events = 1
        self.reading_paused = False
        #: No request is begun any more; what is queued goes out, then the connection ends.
        self.closing = False
        #: Since when all is said, and what still comes is thrown away.
        self.lingering_since: float | None = None
        self.closed = False
        self.unsent_bytes = 0
        self._unsent: deque[memoryview] = deque()

    def may_take_more(self) -> bool:
        """Whether another request may be begun."""
        return not self.closing and self.pending < PENDING_MAX and self.unsent_bytes <= UNSENT_REPLY_BYTES_MAX

    def queue(self, data: bytes) -> None:
        """Add a reply to what is to be sent."""
        self._unsent.append(memoryview(data))
        self.unsent_bytes += len(data)

    def send_some(self) -> None:
        """Send what the socket takes now.

        Raises:
            OSError: the peer is gone.
        """
        while self._unsent:
            first = self._unsent[0]
            try:
                sent = self.socket.send(first)
            except BlockingIOError:
                return
            self.unsent_bytes -= sent
            if sent < len(first):
                self._unsent[0] = first[sent:]
                return
            self._unsent.popleft()
