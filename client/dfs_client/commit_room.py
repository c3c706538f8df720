"""How large a version may be: one commit carries all its extents, and the receipts of all chunks that are new."""

from collections.abc import Sequence

from dfs_client.chunking import chunk_bytes_for
from dfs_wire.errors import TooLargeError
from dfs_wire.limits import CHUNK_BYTES_MAX, EXTENTS_MAX, GIB, KIB, LIST_BODY_BYTES_MAX

#: Of each as it is sent; a receipt's with a node id of up to 65,535.
EXTENT_BYTES = 46
RECEIPT_BYTES = 104
#: The path and what is around the lists have the rest of the body.
ROOM_BYTES = LIST_BODY_BYTES_MAX - 8 * KIB


def size_max(copies: int) -> int:
    """Bytes of the largest new file of so many copies."""
    return min(ROOM_BYTES // (EXTENT_BYTES + copies * RECEIPT_BYTES), EXTENTS_MAX) * CHUNK_BYTES_MAX


class CommitRoom:
    """Watches one version grow, so that nothing is sent which cannot be committed. Used by one thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._begun = False
        self._receipts = 0
        #: Where the size is known: all chunks, and those that cannot be holes.
        self._chunks = 0
        self._filled = 0

    def expect(self, size: int, allocated: int) -> None:
        """The file has `size` bytes, of which the disk holds `allocated`: the rest are holes, which are one chunk."""
        chunk_bytes = chunk_bytes_for(size)
        self._chunks = -(-size // chunk_bytes)
        self._filled = min(self._chunks, allocated // chunk_bytes)

    def check(self, extents: int, receipts: Sequence[int]) -> None:
        """Before chunks are sent: of each, how many receipts its commit will carry; and all extents so far.

        Raises:
            TooLargeError: the version is too large, or will be.
        """
        copies = max(receipts)
        expected = 0
        if not self._begun and all(receipts):
            # What begins with new chunks is new. What begins with known ones may go on so: that is seen on the way.
            expected = self._filled * copies
        self._begun = True
        self._receipts += sum(receipts)
        extents = max(extents, self._chunks)
        needed = extents * EXTENT_BYTES + max(self._receipts, expected) * RECEIPT_BYTES
        if extents > EXTENTS_MAX or needed > ROOM_BYTES:
            raise TooLargeError(
                f"{self._path} is too large for one file: at {copies} copies {size_max(copies) // GIB} GiB is about the"
                " most; split it, or set a policy with fewer copies"
            )
