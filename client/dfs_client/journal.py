"""Receipts remembered on this machine, so that an upload that is started again sends only what is missing.

Each run of an upload appends to a file of its own under `DFS_HOME/receipts/<cluster id>/` and removes it once
everything in it is committed. A receipt is only a hint (the master verifies it), so nothing here is fsynced, a torn
tail is ignored, and a journal that cannot be written does not stop an upload.

Record: length of the payload (4 bytes, big-endian), CRC32C of the payload (4 bytes), payload (a `Receipt` as msgpack).
"""

import contextlib
import logging
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from dfs_runtime import forks
from dfs_wire.checksum import crc32c
from dfs_wire.codec import decode, encode
from dfs_wire.errors import ProtocolError
from dfs_wire.limits import RECEIPT_SECONDS
from dfs_wire.messages import Receipt

logger = logging.getLogger(__name__)

SUFFIX = ".receipts"
_HEAD = struct.Struct(">II")
#: A receipt is about 130 bytes; anything longer is a torn or foreign file.
_RECORD_BYTES_MAX = 4_096
#: More than this of old receipts is not worth reading at the start of an upload: 64 MiB is some 4 TB of content.
_LOAD_BYTES_MAX = 64 * 1024 * 1024


def encode_record(receipt: Receipt) -> bytes:
    """One record, to be appended in one write."""
    payload = encode(receipt)
    return _HEAD.pack(len(payload), crc32c(payload)) + payload


def decode_records(data: bytes) -> Iterator[Receipt]:
    """The receipts of a journal file up to its end or its first damaged record."""
    start = 0
    while start + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, start)
        start += _HEAD.size
        payload = data[start : start + length]
        if length > _RECORD_BYTES_MAX or len(payload) < length or crc32c(payload) != checksum:
            return
        try:
            yield decode(payload, Receipt)
        except ProtocolError:
            return
        start += length


class ReceiptJournal:
    """The receipts of earlier runs, and the file of this one. Safe to use from several threads."""

    def __init__(self, directory: Path, now_ms: int) -> None:
        """Read what earlier runs left; receipts that expired by `now_ms` and their files are forgotten."""
        self._directory = directory
        self._lock = threading.Lock()
        self._own: int | None = None
        self._own_path = directory / f"{os.urandom(8).hex()}{SUFFIX}"
        self._broken = False
        #: File -> digests in it that are not committed yet.
        self._pending: dict[Path, set[bytes]] = {}
        self.loaded: list[Receipt] = list(self._load(now_ms))
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: the upload is the parent's, and so are the files; neither is written nor removed here."""
        self._lock = threading.Lock()
        self._broken = True
        self._pending = {}
        own, self._own = self._own, None
        if own is not None:
            os.close(own)

    def append(self, receipts: Iterable[Receipt]) -> None:
        """Remember receipts as they arrive."""
        with self._lock:
            if self._broken:
                return
            try:
                if self._own is None:
                    self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                    self._own = os.open(self._own_path, flags, 0o600)
                for receipt in receipts:
                    os.write(self._own, encode_record(receipt))
                    self._pending.setdefault(self._own_path, set()).add(receipt.digest)
            except OSError as error:
                # The upload itself does not need the journal; only a later one would have been shorter.
                self._broken = True
                logger.warning("receipts are not remembered: %s", error)

    def committed(self, digests: Iterable[bytes]) -> None:
        """Forget these: a file whose digests are all committed is removed."""
        done = set(digests)
        with self._lock:
            for path, pending in list(self._pending.items()):
                pending -= done
                if not pending and path != self._own_path:
                    self._remove(path)

    def close(self) -> None:
        """This run is over; its file stays only if something in it was not committed."""
        with self._lock:
            # A task that comes late must not begin another file.
            self._broken = True
            if self._own is not None:
                os.close(self._own)
                self._own = None
                if not self._pending.get(self._own_path):
                    self._remove(self._own_path)

    def _load(self, now_ms: int) -> Iterator[Receipt]:
        try:
            paths = sorted(path for path in self._directory.iterdir() if path.suffix == SUFFIX)
        except OSError:
            return
        left = _LOAD_BYTES_MAX
        for path in paths:
            with contextlib.suppress(OSError):
                found = path.stat()
                if found.st_mtime * 1000 + RECEIPT_SECONDS * 1000 < now_ms:
                    self._remove(path)
                    continue
                left -= found.st_size
                if left < 0:
                    return
                alive = [each for each in decode_records(path.read_bytes()) if each.expires_at_ms > now_ms]
                if alive:
                    self._pending[path] = {receipt.digest for receipt in alive}
                yield from alive

    def _remove(self, path: Path) -> None:
        self._pending.pop(path, None)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
