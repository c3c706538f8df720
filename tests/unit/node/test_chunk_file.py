"""The chunk file: its layout, and that no damage goes unseen."""

import errno
import itertools
from pathlib import Path

import pytest
from blake3 import blake3
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from tests.support.volumes import FaultyDisk, chunk_of

from dfs_node.chunk_file import (
    HEADER_BYTES_MAX,
    PAGE_BYTES,
    TABLE_OFFSET,
    ChunkChecks,
    ChunkHeader,
    Damage,
    blocks_of,
    digest_from_name,
    header_bytes_for,
    verify,
)
from dfs_wire.errors import ChunkCorruptError, CorruptError
from dfs_wire.limits import BLOCK_BYTES, CHUNK_BYTES_MAX


def header_of(data: bytes, generation: int = 3) -> ChunkHeader:
    """The header of some data."""
    checks = ChunkChecks()
    checks.update(memoryview(data))
    return checks.header_for(blake3(data).digest(), len(data), generation)


def write_chunk(directory: Path, data: bytes, generation: int = 3) -> Path:
    """A good chunk file."""
    path = directory / blake3(data).hexdigest()
    path.write_bytes(header_of(data, generation).encode() + data)
    return path


def finding_of(path: Path) -> str:
    """What a verification finds."""
    with pytest.raises(ChunkCorruptError) as caught:
        verify(path)
    return str(caught.value.details["finding"])


def test_the_documented_layout(tmp_path: Path) -> None:
    """The table in the documentation is what lies on the disk: read it here without our decoder."""
    data, digest = chunk_of(150_000)
    raw = write_chunk(tmp_path, data, generation=0x0102030405060708).read_bytes()
    assert raw[:8] == b"DFSCHUNK"
    assert int.from_bytes(raw[8:12], "big") == 1
    assert int.from_bytes(raw[12:16], "big") == 4096
    assert raw[16:24] == bytes(range(1, 9))
    assert int.from_bytes(raw[24:32], "big") == 150_000
    assert raw[32:64] == digest
    assert int.from_bytes(raw[64:68], "big") == 65_536
    assert int.from_bytes(raw[68:72], "big") == 3
    assert raw[72:80] == bytes(8)
    assert int.from_bytes(raw[80:84], "big") == crc32c(raw[84:4096], crc32c(raw[:80]))
    for block in range(3):
        expected = crc32c(data[block * 65_536 : (block + 1) * 65_536])
        assert int.from_bytes(raw[84 + 4 * block : 88 + 4 * block], "big") == expected
    assert raw[96:4096] == bytes(4000)
    assert raw[4096:] == data


def test_header_sizes() -> None:
    """The data begins at a page, and the longest table fits."""
    assert header_bytes_for(0) == header_bytes_for(8 * 1024 * 1024) == PAGE_BYTES
    assert header_bytes_for(CHUNK_BYTES_MAX) == HEADER_BYTES_MAX == 2 * PAGE_BYTES
    assert TABLE_OFFSET + 4 * blocks_of(CHUNK_BYTES_MAX) <= HEADER_BYTES_MAX


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 300_000])
def test_a_good_file_verifies(tmp_path: Path, size: int) -> None:
    """A whole file is good, with nothing but itself at hand."""
    header = verify(write_chunk(tmp_path, chunk_of(size)[0], generation=9))
    assert (header.length, header.generation) == (size, 9)


def test_every_flipped_bit_of_the_header_is_seen(tmp_path: Path) -> None:
    """One bit of any header byte, table and padding included, makes the file bad."""
    path = write_chunk(tmp_path, chunk_of(70_000)[0])
    good = path.read_bytes()
    for at in range(PAGE_BYTES):
        if at > 120 and at % 97:
            continue  # the padding is one region: a sample of it is enough
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            path.write_bytes(bad)
            assert finding_of(path), (at, bit)


@pytest.mark.parametrize("at", [0, 1, 65_535, 65_536, 69_999])
def test_a_flipped_bit_of_the_data_is_seen(tmp_path: Path, at: int) -> None:
    """One bit of the data fails its block."""
    path = write_chunk(tmp_path, chunk_of(70_000)[0])
    bad = bytearray(path.read_bytes())
    bad[PAGE_BYTES + at] ^= 0x80
    path.write_bytes(bad)
    assert finding_of(path) == Damage.BLOCK


@pytest.mark.parametrize("length", [0, 1, 83, 4_095, 4_096, 4_097, 74_095])
def test_a_truncated_file_is_seen(tmp_path: Path, length: int) -> None:
    """A file that lost its end, or more, is called truncated."""
    path = write_chunk(tmp_path, chunk_of(70_000)[0])
    path.write_bytes(path.read_bytes()[:length])
    assert finding_of(path) == Damage.TRUNCATED


def test_an_extended_file_is_seen(tmp_path: Path) -> None:
    """A byte too many is damage, too."""
    path = write_chunk(tmp_path, chunk_of(70_000)[0])
    path.write_bytes(path.read_bytes() + b"\0")
    assert finding_of(path) == Damage.EXTENDED


def test_a_swapped_file_is_seen(tmp_path: Path) -> None:
    """A whole chunk under another chunk's name is not that chunk."""
    first = write_chunk(tmp_path, chunk_of(1_000, 1)[0])
    second = write_chunk(tmp_path, chunk_of(1_000, 2)[0])
    first.write_bytes(second.read_bytes())
    assert finding_of(first) == Damage.NAME


def test_a_forged_table_is_seen(tmp_path: Path) -> None:
    """Data whose CRCs and header were made to fit is still not what the digest says."""
    data, digest = chunk_of(70_000)
    other = b"x" + data[1:]
    checks = ChunkChecks()
    checks.update(memoryview(other))
    forged = ChunkHeader(digest, len(data), 1, checks.crc_table())
    path = tmp_path / digest.hex()
    path.write_bytes(forged.encode() + other)
    assert finding_of(path) == Damage.DIGEST


def test_an_unknown_format_is_not_guessed(tmp_path: Path) -> None:
    """A header of a later format is refused even when its checksum is right."""
    path = write_chunk(tmp_path, chunk_of(10)[0])
    raw = bytearray(path.read_bytes())
    raw[11] = 2
    raw[80:84] = crc32c(bytes(raw[84:4096]), crc32c(bytes(raw[:80]))).to_bytes(4, "big")
    path.write_bytes(raw)
    assert finding_of(path) == Damage.FORMAT


def test_an_unreadable_file_is_a_finding(tmp_path: Path) -> None:
    """A disk that gives an error instead of bytes is damage, at whichever read it comes."""
    path = write_chunk(tmp_path, chunk_of(70_000)[0])
    for nth in (1, 2, 3):
        disk = FaultyDisk()
        disk.arm(nth, errno.EIO)
        with pytest.raises(ChunkCorruptError) as caught:
            verify(path, disk)
        assert caught.value.details["finding"] == Damage.UNREADABLE


def test_only_digests_are_names() -> None:
    """64 lower-case hex digits are a chunk's name, nothing else is."""
    _, digest = chunk_of(1)
    assert digest_from_name(digest.hex()) == digest
    for name in ("", "ab", digest.hex()[:-1], digest.hex() + "0", "g" * 64, "A" * 64, " " * 64, f".{digest.hex()}.tmp"):
        assert digest_from_name(name) is None


@given(cuts=st.lists(st.integers(0, 200_000), max_size=6))
def test_checks_do_not_depend_on_the_cuts(cuts: list[int]) -> None:
    """However the bytes arrive, digest and table are the same."""
    data, digest = chunk_of(200_000)
    checks = ChunkChecks()
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        checks.update(memoryview(data)[start:end])
    assert checks.digest() == digest
    expected = b"".join(
        crc32c(data[at : at + BLOCK_BYTES]).to_bytes(4, "big") for at in range(0, len(data), BLOCK_BYTES)
    )
    assert checks.crc_table() == expected


def test_a_header_is_only_made_for_the_right_bytes() -> None:
    """Wrong bytes and too few bytes make no header."""
    data, digest = chunk_of(10)
    checks = ChunkChecks()
    checks.update(memoryview(data)[:9])
    with pytest.raises(CorruptError):
        checks.header_for(digest, 10, 1)
