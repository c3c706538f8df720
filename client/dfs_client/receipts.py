"""The receipts that one upload holds, by chunk and node."""

import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dfs_wire.messages import Receipt

if TYPE_CHECKING:
    # Most uploads are small and have no journal.
    from dfs_client.journal import ReceiptJournal


class Ledger:
    """What the nodes said to hold of one upload. Safe to share between threads."""

    def __init__(self, journal: "ReceiptJournal | None" = None) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._receipts: defaultdict[bytes, dict[int, Receipt]] = defaultdict(dict)
        if journal is not None:
            self._keep(journal.loaded)

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Take new receipts; a later one of the same node takes the place of the older."""
        found = list(receipts)
        self._keep(found)
        if self._journal is not None:
            self._journal.append(found)

    def of(self, digests: Iterable[bytes]) -> list[Receipt]:
        """All receipts for these chunks."""
        with self._lock:
            return [
                receipt for digest in digests if digest in self._receipts for receipt in self._receipts[digest].values()
            ]

    def drop(self, digests: Iterable[bytes]) -> None:
        """Forget receipts that the master did not take."""
        with self._lock:
            for digest in digests:
                self._receipts.pop(digest, None)

    def committed(self, digests: Iterable[bytes]) -> None:
        """These chunks belong to a version now: their receipts have done their work."""
        found = list(digests)
        self.drop(found)
        if self._journal is not None:
            self._journal.committed(found)

    def close(self) -> None:
        """The upload is over, well or not."""
        if self._journal is not None:
            self._journal.close()

    def _keep(self, receipts: Iterable[Receipt]) -> None:
        with self._lock:
            for receipt in receipts:
                self._receipts[receipt.digest][receipt.node_id] = receipt
