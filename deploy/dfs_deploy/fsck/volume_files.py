"""Reads a volume as `docs/storage-format.md` describes it: written from that page, not from the node's code."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import crc32c
import msgspec
from blake3 import blake3

from dfs_wire.errors import VolumeForeignError

_FIXED = struct.Struct(">8sIIQQ32sII8s")
_CRC_AT = 80
_TABLE_AT = 84
_PAGE_BYTES = 4_096
_BLOCK_BYTES = 65_536
_READ_BYTES = 16 * _BLOCK_BYTES
_NANOSECONDS_PER_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class VolumeIdentity:
    """Whose volume it is."""

    cluster_id: str
    node_id: int


class FoundCopy(msgspec.Struct, frozen=True):
    """A chunk file. `damage` is empty where nothing is wrong; `size` and `generation` are the header's.

    `changed_at_ms` is the file's own time.
    """

    digest: str
    size: int
    generation: int
    changed_at_ms: int
    damage: str = ""


def read_identity(volume: Path) -> VolumeIdentity:
    """Who the volume is.

    Raises:
        VolumeForeignError: no volume of dfs is there, or its identity is damaged.
    """
    try:
        data = (volume / "identity").read_bytes()
    except OSError as error:
        raise VolumeForeignError(f"{volume} holds no volume that can be read ({error.strerror})") from error
    if data[:8] != b"DFSIDENT" or crc32c.crc32c(data[12:]) != int.from_bytes(data[8:12], "big"):
        raise VolumeForeignError(f"the identity of {volume} is damaged")
    content = msgspec.msgpack.decode(data[12:], type=dict[str, object])
    cluster_id, node_id = content.get("cluster_id"), content.get("node_id")
    if not isinstance(cluster_id, str) or not isinstance(node_id, int):
        raise VolumeForeignError(f"the identity of {volume} is damaged")
    return VolumeIdentity(cluster_id, node_id)


def copies(volume: Path, *, read_data: bool) -> Iterator[FoundCopy]:
    """Every file below `chunks` whose name is a digest, with what is wrong with it. A file that goes meanwhile is none.

    Without `read_data` only headers and lengths are looked at.
    """
    chunks = volume / "chunks"
    # A volume whose chunks are gone altogether is one that has lost them all.
    for directory in sorted(chunks.iterdir()) if chunks.is_dir() else ():
        if not directory.is_dir():
            continue
        for path in sorted(directory.iterdir()):
            if len(path.name) == 64 and path.name.strip("0123456789abcdef") == "":
                found = look_at(path, read_data=read_data)
                if found is not None:
                    yield found


def look_at(path: Path, *, read_data: bool) -> FoundCopy | None:
    """One chunk file; None where it is gone."""
    try:
        with path.open("rb") as file:
            size_on_disk = file.seek(0, 2)
            changed_at_ms = path.stat().st_mtime_ns // _NANOSECONDS_PER_MILLISECOND
            file.seek(0)
            head = file.read(_PAGE_BYTES)
            if len(head) < _TABLE_AT or head[:8] != b"DFSCHUNK":
                return FoundCopy(path.name, 0, 0, changed_at_ms, "no chunk file")
            _, version, header_bytes, generation, length, digest, block_bytes, blocks, _ = _FIXED.unpack_from(head)
            damage = _header_damage(version, header_bytes, length, block_bytes, blocks)
            if not damage:
                head += file.read(max(header_bytes - len(head), 0))
                stored = int.from_bytes(head[_CRC_AT:_TABLE_AT], "big")
                if crc32c.crc32c(head[_TABLE_AT:header_bytes], crc32c.crc32c(head[:_CRC_AT])) != stored:
                    damage = "header checksum"
                elif digest.hex() != path.name:
                    damage = "another chunk's file"
                elif size_on_disk != header_bytes + length:
                    damage = "truncated" if size_on_disk < header_bytes + length else "extended"
                elif read_data:
                    file.seek(header_bytes)
                    table = struct.unpack_from(f">{blocks}I", head, _TABLE_AT)
                    damage = _data_damage(file.read, length, table, digest)
            return FoundCopy(path.name, length, generation, changed_at_ms, damage)
    except FileNotFoundError:
        return None
    except OSError as error:
        return FoundCopy(path.name, 0, 0, 0, f"unreadable ({error.strerror})")


def _header_damage(version: int, header_bytes: int, length: int, block_bytes: int, blocks: int) -> str:
    """What contradicts the layout, before the checksum can even be taken."""
    if version != 1:
        return "unknown format"
    expected_blocks = -(-length // _BLOCK_BYTES)
    expected_header = -(-(_TABLE_AT + 4 * expected_blocks) // _PAGE_BYTES) * _PAGE_BYTES
    if block_bytes != _BLOCK_BYTES or blocks != expected_blocks or header_bytes != expected_header:
        return "header checksum"
    return ""


def _data_damage(read: Callable[[int], bytes], length: int, table: tuple[int, ...], digest: bytes) -> str:
    """Read the data whole, a bounded piece at a time."""
    hasher = blake3()
    block, left = 0, length
    while left:
        piece = read(min(_READ_BYTES, left))
        if not piece:
            return "truncated"
        hasher.update(piece)
        for start in range(0, len(piece), _BLOCK_BYTES):
            if crc32c.crc32c(piece[start : start + _BLOCK_BYTES]) != table[block]:
                return "block checksum"
            block += 1
        left -= len(piece)
    return "" if hasher.digest() == digest else "digest"
