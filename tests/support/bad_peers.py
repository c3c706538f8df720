"""A peer that speaks the frames by hand, so that it can speak them wrongly."""

import socket
import struct
import time
from dataclasses import dataclass
from typing import Self

import msgspec
from crc32c import crc32c

FIXED = struct.Struct(">4sBBHQIQII")
HEAD_BYTES = FIXED.size + 4
REQUEST, REPLY, ERROR = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Frame:
    """What a server answered."""

    kind: int
    verb: int
    header: dict[str, object]
    body: bytes = b""

    @property
    def code(self) -> object:
        """The error's code; None of a reply."""
        return self.header.get("code") if self.kind == ERROR else None


def encode_frame(
    verb: int,
    header: object,
    body: bytes = b"",
    *,
    kind: int = REQUEST,
    magic: bytes = b"\xdfDFS",
    version: int = 1,
    header_bytes: int | None = None,
    body_bytes: int | None = None,
    body_crc: int | None = None,
    spoil_header_crc: bool = False,
) -> bytes:
    """A frame by the book, but for what is said otherwise. `header` is anything msgpack can hold, or bytes as is."""
    packed = header if isinstance(header, bytes) else msgspec.msgpack.encode(header)
    fixed = FIXED.pack(
        magic,
        version,
        kind,
        verb,
        7,
        len(packed) if header_bytes is None else header_bytes,
        len(body) if body_bytes is None else body_bytes,
        (crc32c(body) if body else 0) if body_crc is None else body_crc,
        0,
    )
    checksum = crc32c(packed, crc32c(fixed)) ^ spoil_header_crc
    return fixed + checksum.to_bytes(4, "big") + packed + body


class RawPeer:
    """A plain connection to a server. Used by one thread."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """All of it, unless the server has hung up."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def reset(self) -> None:
        """Close so that the server gets a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read_frame(self) -> Frame | None:
        """The next answer; None when the server hung up."""
        head = self._read(HEAD_BYTES)
        if head is None:
            return None
        _, _, kind, verb, _, header_bytes, body_bytes, _, _ = FIXED.unpack_from(head)
        header = self._read(header_bytes) or b"\x80"
        body = self._read(body_bytes) if body_bytes else b""
        return Frame(kind, verb, msgspec.msgpack.decode(header), body or b"")

    def hung_up_within(self, seconds: float) -> bool:
        """Whether the server ends the connection by then; what it still says is thrown away."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.socket.recv(65_536):
                    return True
            except TimeoutError:
                return False
            except ConnectionResetError:
                return True
        return False

    def _read(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            data += piece
        return data
