"""The journal's records are found as they were written, up to the first that is not whole."""

import pytest
from tests.support.volumes import chunk_of

from dfs_node.journal_format import (
    RECORD_HEAD_BYTES,
    RECORDS_OFFSET,
    Record,
    decode_header,
    encode_header,
    encode_record,
    records_of,
)

CHUNKS = [chunk_of(3_000 + seed, seed) for seed in range(3)]


def half() -> bytearray:
    """Three records and room behind them."""
    records = b"".join(encode_record(7, digest, 3, data) for data, digest in CHUNKS)
    return bytearray(encode_header(7).ljust(RECORDS_OFFSET, b"\0") + records + bytes(5_000))


def test_all_records() -> None:
    """In order, with their generations."""
    content = memoryview(half())
    assert decode_header(content) == 7
    assert list(records_of(content, 7)) == [Record(digest, 3, data) for data, digest in CHUNKS]
    assert list(records_of(content, 8)) == []


@pytest.mark.parametrize("where", [*range(RECORD_HEAD_BYTES), RECORD_HEAD_BYTES + 1, RECORD_HEAD_BYTES + 3_000])
def test_a_flipped_bit_ends_the_records(where: int) -> None:
    """Before it all are found, from it on none."""
    content = half()
    second = RECORDS_OFFSET + RECORD_HEAD_BYTES + len(CHUNKS[0][0])
    content[second + where] ^= 0x10
    assert [record.digest for record in records_of(memoryview(content), 7)] == [CHUNKS[0][1]]


@pytest.mark.parametrize("cut", [0, 1, RECORD_HEAD_BYTES, 3_000])
def test_a_cut_file_ends_the_records(cut: int) -> None:
    """What is not whole is none."""
    content = half()
    second = RECORDS_OFFSET + RECORD_HEAD_BYTES + len(CHUNKS[0][0])
    assert len(list(records_of(memoryview(content)[: second + cut], 7))) == 1


def test_each_bit_of_the_header_counts() -> None:
    """A header that is not whole says no lap."""
    for at in range(24):
        content = half()
        content[at] ^= 1
        assert decode_header(memoryview(content)) is None
    assert decode_header(memoryview(b"DFSJRNL1")) is None
