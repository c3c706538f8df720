"""Frames out of bytes as they arrive, without any I/O: for the listener that never blocks."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

from dfs_wire import frame
from dfs_wire.errors import TooLargeError
from dfs_wire.frame import FIXED_BYTES, FrameHead
from dfs_wire.limits import HEADER_BYTES_MAX_BEFORE_HELLO, LIST_BODY_BYTES_MAX


class Frame(NamedTuple):
    """One whole frame with a list body."""

    head: FrameHead
    header: bytes
    body: bytes


#: To call the type itself costs three times as much.
_new_frame = cast("Callable[[tuple[FrameHead, bytes, bytes]], Frame]", partial(tuple.__new__, Frame))


class FrameParser:
    """Collects bytes and gives whole frames. Used by one thread.

    What arrives in one piece, as small frames do, is cut where it lies; only a frame that comes in several pieces is
    collected.
    """

    __slots__ = ("_at", "_data", "_head", "body_bytes_max", "header_bytes_max")

    def __init__(self) -> None:
        self.header_bytes_max = HEADER_BYTES_MAX_BEFORE_HELLO
        self.body_bytes_max = 0
        self._data: bytes | bytearray = b""
        #: Where the next frame begins in the data.
        self._at = 0
        self._head: FrameHead | None = None

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished frame is held."""
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        held = self._data
        if self._at == len(held):
            self._data = data
        elif isinstance(held, bytearray):
            del held[: self._at]
            held += data
        else:
            self._data = bytearray(held[self._at :])
            self._data += data
        self._at = 0

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more was fed. Limits are checked as soon as a length is known.

        Raises:
            ProtocolError: this is not a frame; nothing behind it can be trusted.
            TooLargeError: over a limit.
        """
        data, at = self._data, self._at
        held = len(data) - at
        head = self._head
        if head is None:
            if held < FIXED_BYTES:
                return None
            head = frame.decode_head(data, at, header_bytes_max=self.header_bytes_max)
            if head.body_bytes > self.body_bytes_max:
                raise TooLargeError(f"a list of {head.body_bytes} bytes is over the limit of {self.body_bytes_max}")
        if held < FIXED_BYTES + head.header_bytes + head.body_bytes:
            self._head = head
            return None
        self._head = None
        return self._cut(head)

    def greeted(self, header_bytes_max: int) -> None:
        """Hello was accepted: from now on the full limits hold."""
        self.header_bytes_max = header_bytes_max
        self.body_bytes_max = LIST_BODY_BYTES_MAX

    def _cut(self, head: FrameHead) -> Frame:
        """Take a frame that is here as a whole."""
        data, at = self._data, self._at
        body_start = at + FIXED_BYTES + head.header_bytes
        end = body_start + head.body_bytes
        if isinstance(data, bytes):
            header, body = data[at + FIXED_BYTES : body_start], data[body_start:end]
        else:
            with memoryview(data) as view:
                header, body = bytes(view[at + FIXED_BYTES : body_start]), bytes(view[body_start:end])
        frame.check_header(data[at : at + FIXED_BYTES], header, head)
        if body or head.body_crc32c:
            frame.check_body(body, head)
        if end == len(data):
            self._data, end = b"", 0  # nothing is kept of a large frame
        self._at = end
        return _new_frame((head, header, body))
