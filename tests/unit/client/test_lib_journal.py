"""The receipts that survive an interrupted upload."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dfs_client.journal import SUFFIX, ReceiptJournal, decode_records, encode_record
from dfs_client.receipts import Ledger
from dfs_wire.limits import RECEIPT_SECONDS
from dfs_wire.messages import Receipt

NOW_MS = 1_700_000_000_000


def receipt(digest: bytes = b"d" * 32, node_id: int = 1, *, expires_at_ms: int = NOW_MS + 1) -> Receipt:
    """A receipt as nodes sign them."""
    return Receipt(node_id, digest, 100, 7, NOW_MS, expires_at_ms, b"m" * 32)


def write_files_as_of_now(directory: Path) -> None:
    """The tests' time is long ago; the files must not look older than that."""
    for path in directory.glob(f"*{SUFFIX}"):
        os.utime(path, (NOW_MS / 1000, NOW_MS / 1000))


@given(st.integers(0, 3), st.integers(0, 1_000))
def test_a_torn_tail_costs_only_itself(whole: int, cut: int) -> None:
    """Whatever a crash leaves of the last record, those before it are read."""
    records = [encode_record(receipt(node_id=number)) for number in range(whole + 1)]
    torn = records[-1][: cut % len(records[-1])]
    found = list(decode_records(b"".join(records[:-1]) + torn))
    assert [each.node_id for each in found] == list(range(whole))


@given(st.binary(max_size=300))
def test_garbage_is_no_receipt(data: bytes) -> None:
    """A file that is none of ours raises nothing."""
    assert len(list(decode_records(data))) == 0


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_never_makes_another_receipt(place: int, bit: int) -> None:
    """The checksum covers each record."""
    data = bytearray(encode_record(receipt()) + encode_record(receipt(node_id=2)))
    data[place % len(data)] ^= 1 << bit
    assert all(each in (receipt(), receipt(node_id=2)) for each in decode_records(bytes(data)))


def test_receipts_of_an_unfinished_run_are_found(tmp_path: Path) -> None:
    """The next run begins with them, and drops the file when they are committed."""
    first = Ledger(ReceiptJournal(tmp_path, NOW_MS))
    first.add([receipt(), receipt(node_id=2)])
    first.close()
    write_files_as_of_now(tmp_path)
    second = Ledger(ReceiptJournal(tmp_path, NOW_MS))
    assert second.of([b"d" * 32]) == [receipt(), receipt(node_id=2)]
    second.committed([b"d" * 32])
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_stays_until_all_of_it_is_committed(tmp_path: Path) -> None:
    """A half-committed run is still worth something."""
    ledger = Ledger(ReceiptJournal(tmp_path, NOW_MS))
    ledger.add([receipt(b"a" * 32), receipt(b"b" * 32)])
    ledger.committed([b"a" * 32])
    ledger.close()
    write_files_as_of_now(tmp_path)
    assert len(ReceiptJournal(tmp_path, NOW_MS).loaded) == 2


def test_expired_receipts_and_old_files_are_forgotten(tmp_path: Path) -> None:
    """Nothing grows for ever."""
    ledger = Ledger(ReceiptJournal(tmp_path, NOW_MS))
    ledger.add([receipt(expires_at_ms=NOW_MS + 10), receipt(node_id=2, expires_at_ms=NOW_MS + 30)])
    ledger.close()
    write_files_as_of_now(tmp_path)
    assert [each.node_id for each in ReceiptJournal(tmp_path, NOW_MS + 20).loaded] == [2]
    assert ReceiptJournal(tmp_path, NOW_MS + RECEIPT_SECONDS * 1000 + 2).loaded == []
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The journal is a convenience; the upload goes on without it."""
    (tmp_path / "file").write_bytes(b"")
    ledger = Ledger(ReceiptJournal(tmp_path / "file" / "below", NOW_MS))
    ledger.add([receipt()])
    ledger.close()
    assert ledger.of([b"d" * 32]) == [receipt()]


def test_nothing_is_written_without_receipts(tmp_path: Path) -> None:
    """A run that found everything stored leaves no file."""
    Ledger(ReceiptJournal(tmp_path / "new", NOW_MS)).close()
    assert not (tmp_path / "new").exists()
