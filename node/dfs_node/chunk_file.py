"""One chunk in one file that names and checks itself: header, then data.

    offset        size  field
    0             8     magic           DFSCHUNK
    8             4     format          version of this layout, 1
    12            4     header_bytes    the data begins here: the fixed part and the table, rounded up to 4 KiB
    16            8     generation      epoch and counter of the write ticket or copy order
    24            8     length          bytes of data; the file ends behind them
    32            32    digest          BLAKE3 of the data; the file's name is its hex text
    64            4     block_bytes     65536
    68            4     blocks          ceil(length / block_bytes)
    72            8     reserved        0
    80            4     header_crc32c   CRC32C of bytes 0 to 79, followed by those from 84 to header_bytes
    84            4*n   block_crc32c    CRC32C of each block of the data (the last may be short)
    84+4*n        -     padding         0 up to header_bytes, so that the data begins at a page
    header_bytes  -     data

All numbers are unsigned and big-endian. The header is written last, over the space that was left for it, because
the CRCs are known only when the data has arrived; the file gets its name only after both are durable.
"""

import os
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from blake3 import blake3

from dfs_node.disk import Disk, SystemDisk
from dfs_node.volume_health import LIMITS
from dfs_wire.checksum import crc32c
from dfs_wire.errors import BusyError, ChunkCorruptError, CorruptError
from dfs_wire.limits import BLOCK_BYTES, CHUNK_BYTES_MAX, DIGEST_BYTES, STREAM_BLOCK_BYTES

MAGIC = b"DFSCHUNK"
FORMAT = 1
PAGE_BYTES = 4096

_FIXED = struct.Struct(">8sIIQQ32sIIQ")
_CRC = struct.Struct(">I")
CRC_BYTES = _CRC.size
TABLE_OFFSET = _FIXED.size + CRC_BYTES
if (_FIXED.size, TABLE_OFFSET) != (80, 84):
    raise ValueError("the chunk header's layout and its documentation differ")


class Damage(StrEnum):
    """What can be wrong with a chunk file; the `finding` of a `ChunkCorruptError`."""

    TRUNCATED = "truncated"
    EXTENDED = "extended"
    MAGIC = "no chunk file"
    HEADER = "header checksum"
    FORMAT = "unknown format"
    NAME = "another chunk's file"
    BLOCK = "block checksum"
    DIGEST = "digest"
    UNREADABLE = "unreadable"


def damaged(digest: bytes, damage: Damage, detail: str = "") -> ChunkCorruptError:
    """The error for a bad chunk file."""
    where = f" ({detail})" if detail else ""
    return ChunkCorruptError(
        f"the stored copy of chunk {digest.hex()} is bad: {damage}{where}; read another copy",
        digest=digest,
        finding=str(damage),
    )


def unreadable(digest: bytes, error: OSError) -> ChunkCorruptError | BusyError:
    """The error for a chunk file that could not be read. To be out of descriptors or memory says nothing of the file:
    as a finding it would make a good copy count as lost.
    """
    if error.errno in LIMITS:
        return BusyError(f"the node is out of descriptors or memory ({error.strerror}); try again")
    return damaged(digest, Damage.UNREADABLE, str(error.strerror))


def blocks_of(length: int) -> int:
    """How many blocks `length` bytes make."""
    return -(-length // BLOCK_BYTES)


def header_bytes_for(length: int) -> int:
    """Size of the header of a chunk of `length` bytes: whole pages."""
    return -(-(TABLE_OFFSET + CRC_BYTES * blocks_of(length)) // PAGE_BYTES) * PAGE_BYTES


HEADER_BYTES_MAX = header_bytes_for(CHUNK_BYTES_MAX)
#: What is read to look at a header: with it comes the data of the smallest chunks.
_START_BYTES = max(HEADER_BYTES_MAX, 3 * PAGE_BYTES)


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """The decoded header. `crc_table` is the big-endian CRC32C of each block."""

    digest: bytes
    length: int
    generation: int
    crc_table: bytes

    @property
    def data_offset(self) -> int:
        """Where the data begins in the file."""
        return header_bytes_for(self.length)

    @property
    def file_bytes(self) -> int:
        """How long the file is."""
        return self.data_offset + self.length

    def block_crcs(self, first: int, count: int) -> bytes:
        """The CRCs of `count` blocks from block `first`, big-endian."""
        return self.crc_table[first * CRC_BYTES : (first + count) * CRC_BYTES]

    def encode(self) -> bytes:
        """All bytes before the data."""
        fixed = _FIXED.pack(
            MAGIC, FORMAT, self.data_offset, self.generation, self.length, self.digest,
            BLOCK_BYTES, blocks_of(self.length), 0,
        )  # fmt: skip
        rest = self.crc_table.ljust(self.data_offset - TABLE_OFFSET, b"\0")
        return fixed + _CRC.pack(crc32c(rest, crc32c(fixed))) + rest


def _decode(data: memoryview, digest: bytes) -> ChunkHeader:
    """Check `data`, which is at least a page and at most the longest header, and begins a chunk file.

    Raises:
        ChunkCorruptError: it is not the whole header of chunk `digest`.
    """
    magic, version, header_bytes, generation, length, named, block_bytes, blocks, _ = _FIXED.unpack_from(data)
    if magic != MAGIC:
        raise damaged(digest, Damage.MAGIC)
    # The length is not trusted yet: the checksum comes first, and it needs only the header's own length.
    if header_bytes < PAGE_BYTES or header_bytes > len(data):
        raise damaged(digest, Damage.HEADER if header_bytes > HEADER_BYTES_MAX else Damage.TRUNCATED)
    (expected,) = _CRC.unpack_from(data, _FIXED.size)
    if crc32c(data[TABLE_OFFSET:header_bytes], crc32c(data[: _FIXED.size])) != expected:
        raise damaged(digest, Damage.HEADER)
    if version != FORMAT or block_bytes != BLOCK_BYTES or blocks != blocks_of(length):
        raise damaged(digest, Damage.FORMAT, f"format {version}")
    if named != digest:
        raise damaged(digest, Damage.NAME, named.hex())
    table = bytes(data[TABLE_OFFSET : TABLE_OFFSET + CRC_BYTES * blocks])
    return ChunkHeader(digest, length, generation, table)


def read_start(
    disk: Disk, descriptor: int, digest: bytes, *, from_disk: bool = False
) -> tuple[ChunkHeader, memoryview]:
    """Read and check an open chunk file's header and length; with them comes unchecked data, all of a small chunk's.

    `from_disk`: not from memory, which may still hold what the disk has lost; that goes for `check_data` behind it too.

    Raises:
        ChunkCorruptError: bad, or unreadable.
        BusyError: the process is out of descriptors or memory.
    """
    buffer = memoryview(bytearray(_START_BYTES))
    try:
        if from_disk:
            disk.forget_cached(descriptor)
        filled = disk.pread_into(descriptor, buffer, 0)
        file_bytes = os.fstat(descriptor).st_size
    except OSError as error:
        raise unreadable(digest, error) from error
    if filled < PAGE_BYTES:
        raise damaged(digest, Damage.TRUNCATED, f"{filled} bytes")
    header = _decode(buffer[:filled], digest)
    if file_bytes != header.file_bytes:
        damage = Damage.TRUNCATED if file_bytes < header.file_bytes else Damage.EXTENDED
        raise damaged(digest, damage, f"{file_bytes} bytes instead of {header.file_bytes}")
    return header, buffer[header.data_offset : filled]


def check_data(disk: Disk, descriptor: int, header: ChunkHeader) -> None:
    """Read all data and compare it with the header.

    Raises:
        ChunkCorruptError: it differs, or is unreadable.
        BusyError: the process is out of memory.
    """
    checks = ChunkChecks()
    buffer = memoryview(bytearray(min(STREAM_BLOCK_BYTES, header.length)))
    try:
        while checks.length < header.length:
            view = buffer[: header.length - checks.length]
            filled = disk.pread_into(descriptor, view, header.data_offset + checks.length)
            if filled == 0:
                raise damaged(header.digest, Damage.TRUNCATED, f"{checks.length} bytes of data")
            checks.update(view[:filled])
    except OSError as error:
        raise unreadable(header.digest, error) from error
    table = checks.crc_table()
    if table != header.crc_table:
        first = next(at for at in range(0, len(table), CRC_BYTES) if table[at:][:4] != header.crc_table[at:][:4])
        raise damaged(header.digest, Damage.BLOCK, f"block {first // CRC_BYTES}")
    if checks.digest() != header.digest:
        raise damaged(header.digest, Damage.DIGEST)


def digest_from_name(name: str) -> bytes | None:
    """The digest that a chunk file's name says, or None for any other file."""
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    # `fromhex` also takes upper case and blanks, which are not how we name files.
    return digest if len(digest) == DIGEST_BYTES and digest.hex() == name else None


def verify(path: Path, disk: Disk | None = None) -> ChunkHeader:
    """Check every byte of a chunk file, with nothing but the file at hand.

    Raises:
        ChunkCorruptError: something is wrong; details say what.
        BusyError: the process is out of descriptors or memory.
        FileNotFoundError: there is no such file.
    """
    disk = disk or SystemDisk()
    digest = digest_from_name(path.name)
    if digest is None:
        raise ChunkCorruptError(f"{path} is not named like a chunk", digest=b"", finding=str(Damage.NAME))
    try:
        descriptor = disk.open(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(digest, error) from error
    try:
        header, _ = read_start(disk, descriptor, digest, from_disk=True)
        check_data(disk, descriptor, header)
    finally:
        os.close(descriptor)
    return header


class ChunkChecks:
    """BLAKE3 and block CRCs of bytes as they come by. Used by one thread; BLAKE3 runs outside the interpreter lock."""

    __slots__ = ("_blake3", "_crcs", "_open_crc", "length")

    def __init__(self) -> None:
        self.length = 0
        self._blake3 = blake3()
        self._crcs = bytearray()
        self._open_crc = 0

    def update(self, data: memoryview) -> None:
        """Take the next bytes, any number of them."""
        self._blake3.update(data)
        at = 0
        while at < len(data):
            room = BLOCK_BYTES - self.length % BLOCK_BYTES
            part = data[at : at + room]
            # A block takes microseconds: to let go of the interpreter lock for each would cost more than it gives.
            self._open_crc = crc32c(part, self._open_crc, gil_release_mode=0)
            self.length += len(part)
            at += len(part)
            if self.length % BLOCK_BYTES == 0:
                self._crcs += _CRC.pack(self._open_crc)
                self._open_crc = 0

    def digest(self) -> bytes:
        """BLAKE3 of all bytes so far."""
        return self._blake3.digest()

    def crc_table(self) -> bytes:
        """The CRC of each block so far, big-endian; the last may be short."""
        tail = _CRC.pack(self._open_crc) if self.length % BLOCK_BYTES else b""
        return bytes(self._crcs) + tail

    def header_for(self, digest: bytes, size: int, generation: int) -> ChunkHeader:
        """The header of a chunk whose bytes have all come by.

        Raises:
            CorruptError: these bytes are not that chunk.
        """
        if self.length != size or self.digest() != digest:
            raise CorruptError(
                f"{self.length} bytes arrived that are not chunk {digest.hex()} of {size} bytes; read the source again"
            )
        return ChunkHeader(digest, size, generation, self.crc_table())
