"""Frames out of bytes as they arrive, without any I/O: for the listener that never blocks."""

from dataclasses import dataclass

from dfs_wire import frame
from dfs_wire.errors import TooLargeError
from dfs_wire.frame import FIXED_BYTES, FrameHead
from dfs_wire.limits import HEADER_BYTES_MAX_BEFORE_HELLO, LIST_BODY_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame with a list body."""

    head: FrameHead
    header: bytes
    body: bytes


class FrameParser:
    """Collects bytes and gives whole frames. Used by one thread."""

    def __init__(self) -> None:
        self.header_bytes_max = HEADER_BYTES_MAX_BEFORE_HELLO
        self.body_bytes_max = 0
        self._data = bytearray()
        self._head: FrameHead | None = None

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished frame is held."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._data += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more was fed. Limits are checked as soon as a length is known.

        Raises:
            ProtocolError: this is not a frame; nothing behind it can be trusted.
            TooLargeError: over a limit.
        """
        if self._head is None:
            if len(self._data) < FIXED_BYTES:
                return None
            self._head = frame.decode_head(self._data, header_bytes_max=self.header_bytes_max)
            if self._head.body_bytes > self.body_bytes_max:
                raise TooLargeError(
                    f"a list of {self._head.body_bytes} bytes is over the limit of {self.body_bytes_max}"
                )
        head = self._head
        body_start = FIXED_BYTES + head.header_bytes
        end = body_start + head.body_bytes
        if len(self._data) < end:
            return None
        with memoryview(self._data) as view:
            header = bytes(view[FIXED_BYTES:body_start])
            frame.check_header(view[:FIXED_BYTES], header, head)
            body = bytes(view[body_start:end])
        frame.check_body(body, head)
        del self._data[:end]
        self._head = None
        return Frame(head, header, body)

    def greeted(self, header_bytes_max: int) -> None:
        """Hello was accepted: from now on the full limits hold."""
        self.header_bytes_max = header_bytes_max
        self.body_bytes_max = LIST_BODY_BYTES_MAX
