"""Frames over a blocking transport: reads ahead for small frames, and straight into the caller's buffer for bodies."""

from dfs_wire.codec import encode
from dfs_wire.errors import ConnectFailedError, TooLargeError
from dfs_wire.frame import (
    CHECKED_BYTES,
    FIXED_BYTES,
    FrameHead,
    Kind,
    body_checksum,
    check_body,
    check_header,
    decode_head,
    encode_frame,
    encode_head,
)
from dfs_wire.limits import HEADER_BYTES_MAX, LIST_BODY_BYTES_MAX
from dfs_wire.messages import Header
from dfs_wire.transport import Transport

#: A list body up to this size is copied into one piece with its head.
_COPIED_BYTES_MAX = 16 * 1024
#: Memory for a list body is taken by pieces of this size, as its bytes come: a head that promises much costs little.
_LIST_PIECE_BYTES = 64 * 1024


class FrameStream:
    """Both directions of one connection. Used by one thread at a time.

    The body of a frame must be read to its end (`read_list`, or `read_body_into` until 0) before the next head.
    """

    def __init__(self, transport: Transport, *, header_bytes_max: int = HEADER_BYTES_MAX) -> None:
        self.transport = transport
        self.header_bytes_max = header_bytes_max
        self.body_left = 0
        self._ahead = memoryview(bytearray(FIXED_BYTES + header_bytes_max))
        self._start = 0
        self._end = 0

    def take_headers_up_to(self, header_bytes_max: int) -> None:
        """Raise the limit. Strangers start with a low one, so that a thousand of them cost little memory."""
        rest = bytes(self._ahead[self._start : self._end])
        self.header_bytes_max = header_bytes_max
        self._ahead = memoryview(bytearray(FIXED_BYTES + header_bytes_max))
        self._ahead[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def read_head(self) -> tuple[FrameHead, bytes] | None:
        """The next frame's fixed header and msgpack header; None when the peer ended between two frames.

        Raises:
            ProtocolError: what came is not a frame; the connection cannot be used any more.
            UnavailableError: the peer stalled or went away.
        """
        if self._end - self._start < FIXED_BYTES and not self._need(FIXED_BYTES, may_end=True):
            return None
        head = decode_head(self._ahead, self._start, header_bytes_max=self.header_bytes_max)
        size = FIXED_BYTES + head.header_bytes
        if self._end - self._start < size:
            self._need(size)
        start = self._start
        self._start = end = start + size
        header = bytes(self._ahead[start + FIXED_BYTES : end])
        check_header(self._ahead[start : start + CHECKED_BYTES], header, head)
        self.body_left = head.body_bytes
        return head, header

    def read_list(self, head: FrameHead, bytes_max: int = LIST_BODY_BYTES_MAX) -> bytes:
        """The whole list body of the frame just begun.

        Raises:
            TooLargeError: over the limit.
            ProtocolError: its checksum is wrong.
            UnavailableError: the peer stalled or went away in the middle.
        """
        if head.body_bytes == 0:
            return b""
        if head.body_bytes > bytes_max:
            raise TooLargeError(f"a list of {head.body_bytes} bytes is over the limit of {bytes_max}")
        if head.body_bytes <= self._end - self._start:
            return self._take_list(head)
        pieces = []
        while self.body_left:
            piece = memoryview(bytearray(min(self.body_left, _LIST_PIECE_BYTES)))
            filled = 0
            while filled < len(piece):
                filled += self.read_body_into(piece[filled:])
            pieces.append(piece)
        body = b"".join(pieces)
        check_body(body, head)
        return body

    def _take_list(self, head: FrameHead) -> bytes:
        """A list body that came together with its head."""
        end = self._start + head.body_bytes
        body = bytes(self._ahead[self._start : end])
        self._start, self.body_left = end, 0
        check_body(body, head)
        return body

    def read_body_into(self, buffer: memoryview) -> int:
        """Some bytes of the body of the frame just begun; 0 at its end.

        Raises:
            UnavailableError: the peer stalled or went away in the middle.
        """
        wanted = min(len(buffer), self.body_left)
        if wanted == 0:
            return 0
        ready = min(wanted, self._end - self._start)
        if ready:
            buffer[:ready] = self._ahead[self._start : self._start + ready]
            self._start += ready
        else:
            ready = self.transport.recv_into(buffer[:wanted])
            if ready == 0:
                raise ConnectFailedError(f"{self.transport.peer} closed the connection in the middle; try again")
        self.body_left -= ready
        return ready

    def send(self, kind: Kind, verb: int, request: int, header: Header, body: bytes = b"") -> None:
        """Send a frame with a list body, or with none."""
        encoded = encode(header)
        if len(body) <= _COPIED_BYTES_MAX:
            self.transport.send(encode_frame(kind, verb, request, encoded, body))
            return
        checksum = body_checksum(body)
        self.transport.send(encode_head(kind, verb, request, encoded, len(body), checksum), encoded, body)

    def send_chunk_head(
        self,
        kind: Kind,
        verb: int,
        request: int,
        header: Header,
        body_bytes: int,
        begin: bytes | bytearray | memoryview = b"",
    ) -> None:
        """Send a frame's head; of its chunk body, `begin` goes with it in one packet where both are small.

        The rest of the `body_bytes` follows by `transport.send` or `send_file`.
        """
        encoded = encode(header)
        self.transport.send(encode_head(kind, verb, request, encoded, body_bytes), encoded, begin)

    def send_go_on(self, verb: int, request: int) -> None:
        """Tell the sender of a large body to send it."""
        self.transport.send(encode_head(Kind.GO_ON, verb, request, b"", 0))

    def idle(self) -> bool:
        """Whether the connection stands between two frames and the peer has not hung up."""
        return self.body_left == 0 and self._start == self._end and not self.transport.hung_up()

    def _need(self, count: int, *, may_end: bool = False) -> bool:
        """Have `count` unread bytes in the buffer; False where the stream ended cleanly before the first."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + count > len(self._ahead):
            # The unread rest moves to the front; it is small, and this is rare.
            rest = bytes(self._ahead[self._start : self._end])
            self._ahead[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        while self._end - self._start < count:
            received = self.transport.recv_into(self._ahead[self._end :] if self._end else self._ahead)
            if received == 0:
                if may_end and self._start == self._end:
                    return False
                raise ConnectFailedError(f"{self.transport.peer} closed the connection in the middle; try again")
            self._end += received
        return True
