"""What lies in one half of a volume's journal: a header, then small chunks one behind the other.

    offset   size  field
    0        8     magic         DFSJRNL1
    8        4     crc32c        of bytes 12 to 23
    12       4     reserved      0
    16       8     lap           rises each time one of the halves is begun anew
    4096     -     records, without a gap between them:

    0        4     crc32c        of all that follows in the record
    4        4     length        bytes of data, at most 65536
    8        8     lap           that of the half's header
    16       8     generation    the chunk file's
    24       32    digest        BLAKE3 of the data
    56       -     data

All numbers are unsigned and big-endian. The records end at the first that is not whole or is of another lap: what
stands behind it is left of earlier laps, or was never acknowledged.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from dfs_wire.checksum import crc32c
from dfs_wire.limits import BLOCK_BYTES

MAGIC = b"DFSJRNL1"
#: A page of its own: the header is never written in one go with a record.
RECORDS_OFFSET = 4096

_HEADER = struct.Struct(">8sIIQ")
_CHECKED_FROM = 12
_RECORD = struct.Struct(">IIQQ32s")
_CRC = struct.Struct(">I")
RECORD_HEAD_BYTES = _RECORD.size
if (_HEADER.size, RECORD_HEAD_BYTES) != (24, 56):
    raise ValueError("the journal's layout and its documentation differ")


@dataclass(frozen=True, slots=True)
class Record:
    """A small chunk as the journal keeps it."""

    digest: bytes
    generation: int
    data: bytes


def encode_header(lap: int) -> bytes:
    """The first bytes of a half that was begun anew."""
    checked = _HEADER.pack(MAGIC, 0, 0, lap)[_CHECKED_FROM:]
    return MAGIC + _CRC.pack(crc32c(checked)) + checked


def decode_header(data: memoryview) -> int | None:
    """The lap, or None: then nothing that stands in this half is needed, since a header is written only over records
    whose chunk files are durable.
    """
    if len(data) < _HEADER.size:
        return None
    magic, crc, _, lap = _HEADER.unpack_from(data)
    if magic != MAGIC or crc32c(data[_CHECKED_FROM : _HEADER.size]) != crc:
        return None
    return int(lap)


def encode_record(lap: int, digest: bytes, generation: int, data: bytes) -> bytes:
    """A record, to be written right behind the one before it."""
    rest = _RECORD.pack(0, len(data), lap, generation, digest)[_CRC.size :] + data
    return _CRC.pack(crc32c(rest)) + rest


def records_of(data: memoryview, lap: int) -> Iterator[Record]:
    """The chunks in a whole half, `data` from its first byte on, oldest first."""
    at = RECORDS_OFFSET
    while (found := _record_at(data, at)) is not None:
        found_lap, record = found
        if found_lap != lap:
            return
        yield record
        at += RECORD_HEAD_BYTES + len(record.data)


def lap_of_records(data: memoryview) -> int:
    """The latest lap that wrote records into a half whose header is bad; 0 where none did.

    The first record tells: each lap begins there, so what stands behind it is never of a later one.
    """
    found = _record_at(data, RECORDS_OFFSET)
    return 0 if found is None else found[0]


def _record_at(data: memoryview, at: int) -> tuple[int, Record] | None:
    """A whole record and its lap, or None where there is none."""
    if at + RECORD_HEAD_BYTES > len(data):
        return None
    crc, length, lap, generation, digest = _RECORD.unpack_from(data, at)
    end = at + RECORD_HEAD_BYTES + length
    if length > BLOCK_BYTES or end > len(data) or crc32c(data[at + _CRC.size : end]) != crc:
        return None
    content = bytes(data[at + RECORD_HEAD_BYTES : end])
    # Checked again: what the journal gives back becomes a chunk file, and that one names itself by its digest.
    if blake3(content).digest() != digest:
        return None
    return lap, Record(digest, generation, content)
