"""One frame on the wire: a fixed header, a msgpack header, a raw body.

    offset size  field
    0      4     magic            DF 44 46 53; the first byte is neither ASCII (line protocol) nor 0x16 (TLS)
    4      1     protocol         version of this protocol, 1
    5      1     kind             1 request, 2 reply, 3 error, 4 go on
    6      2     verb             number of the verb; a reply repeats the request's
    8      8     request          number chosen by the sender of the request; a reply repeats it
    16     4     header_bytes     length of the msgpack header behind these 40 bytes
    20     8     body_bytes       length of the raw body behind that
    28     4     body_crc32c      CRC32C of the body; 0 where the body is a chunk's data, which has its own checks
    32     4     reserved         0
    36     4     header_crc32c    CRC32C of bytes 0 to 35 and of the msgpack header
    40

All numbers are unsigned and big-endian.
"""

import struct
from enum import IntEnum

import msgspec

from dfs_wire.checksum import crc32c
from dfs_wire.errors import ProtocolError, TooLargeError
from dfs_wire.limits import CHUNK_BYTES_MAX, HEADER_BYTES_MAX

MAGIC = b"\xdfDFS"
PROTOCOL_VERSION = 1

_FIXED = struct.Struct(">4sBBHQIQII")
_CRC = struct.Struct(">I")
_WHOLE = struct.Struct(">4sBBHQIQIII")
CHECKED_BYTES = _FIXED.size
FIXED_BYTES = _WHOLE.size
if FIXED_BYTES != 40:
    raise ValueError("the fixed header's layout and its documentation differ")


class Kind(IntEnum):
    """What a frame is. Numbers are never reused."""

    REQUEST = 1
    REPLY = 2
    ERROR = 3
    #: The node has checked a large put's ticket, space and next hop: send the body now.
    GO_ON = 4


_KINDS = {kind.value: kind for kind in Kind}


class FrameHead(msgspec.Struct, frozen=True, gc=False):
    """The decoded fixed header."""

    kind: Kind
    verb: int
    request: int
    header_bytes: int
    body_bytes: int
    body_crc32c: int
    header_crc32c: int


def encode_head(kind: Kind, verb: int, request: int, header: bytes, body_bytes: int, body_crc32c: int = 0) -> bytes:
    """The 40 bytes before `header`. `body_bytes` is the length of what the caller sends behind it."""
    fixed = _FIXED.pack(MAGIC, PROTOCOL_VERSION, kind, verb, request, len(header), body_bytes, body_crc32c, 0)
    return fixed + _CRC.pack(crc32c(header, crc32c(fixed)))


def encode_frame(kind: Kind, verb: int, request: int, header: bytes, body: bytes = b"") -> bytes:
    """A whole frame with a list body, or with none."""
    checksum = crc32c(body) if body else 0
    fixed = _FIXED.pack(MAGIC, PROTOCOL_VERSION, kind, verb, request, len(header), len(body), checksum, 0)
    return fixed + _CRC.pack(crc32c(header, crc32c(fixed))) + header + body


def decode_head(
    data: bytes | bytearray | memoryview, start: int = 0, *, header_bytes_max: int = HEADER_BYTES_MAX
) -> FrameHead:
    """Read the fixed header that begins at `start`, before anything is allocated for what follows.

    Raises:
        ProtocolError: not our magic, another protocol version, or an unknown kind.
        TooLargeError: a length is over its limit.
    """
    magic, version, kind, verb, request, header_bytes, body_bytes, body_crc, _, crc = _WHOLE.unpack_from(data, start)
    if magic != MAGIC:
        raise ProtocolError("this is not a dfs frame; is the peer a dfs program?")
    if version != PROTOCOL_VERSION:
        raise ProtocolError(f"the peer speaks protocol {version}, this program {PROTOCOL_VERSION}; upgrade one")
    if header_bytes > header_bytes_max:
        raise TooLargeError(f"a header of {header_bytes} bytes is over the limit of {header_bytes_max}")
    if body_bytes > CHUNK_BYTES_MAX:
        raise TooLargeError(f"a body of {body_bytes} bytes is over the limit of {CHUNK_BYTES_MAX}")
    known = _KINDS.get(kind)
    if known is None:
        raise ProtocolError(f"frame kind {kind} is unknown")
    return FrameHead(known, verb, request, header_bytes, body_bytes, body_crc, crc)


def check_header(fixed: bytes | bytearray | memoryview, header: bytes | memoryview, head: FrameHead) -> None:
    """Compare the header checksum.

    Raises:
        ProtocolError: bytes were altered on the way; nothing of this connection can be trusted any more.
    """
    if crc32c(header, crc32c(fixed[:CHECKED_BYTES])) != head.header_crc32c:
        raise ProtocolError("a frame's header checksum is wrong")


def body_checksum(body: bytes | memoryview) -> int:
    """What `body_crc32c` holds for a list body."""
    return crc32c(body) if body else 0


def check_body(body: bytes | memoryview, head: FrameHead) -> None:
    """Compare the checksum of a list body.

    Raises:
        ProtocolError: bytes were altered on the way.
    """
    if body_checksum(body) != head.body_crc32c:
        raise ProtocolError("a frame's body checksum is wrong")
