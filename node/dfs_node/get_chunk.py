"""`GetChunk`: hand out a range of a chunk, widened to whole blocks so that the reader can verify it."""

from dfs_node.findings import FindingQueue
from dfs_node.receipts import Credentials
from dfs_node.volume import OpenChunk, Volume
from dfs_wire.errors import ChunkCorruptError, NotFoundError, UsageError
from dfs_wire.limits import BLOCK_BYTES
from dfs_wire.messages import Finding, FindingKind, GetChunk, GetChunkReply
from dfs_wire.service import ChunkAnswer, Session


def widen(offset: int, length: int, size: int) -> tuple[int, int]:
    """First and last-plus-one byte of the blocks that hold `length` bytes (-1: to the end) from `offset`.

    Raises:
        UsageError: the range is not inside a chunk of `size` bytes.
    """
    end = size if length < 0 else offset + length
    if not 0 <= offset <= end <= size:
        raise UsageError(f"bytes {offset} to {end} are not inside a chunk of {size} bytes")
    start = offset // BLOCK_BYTES * BLOCK_BYTES
    return start, max(start, min(size, -(-end // BLOCK_BYTES) * BLOCK_BYTES))


class ChunkSlice:
    """`ChunkSource` over a part of an open chunk, which it owns. Used by one thread."""

    def __init__(self, chunk: OpenChunk, start: int) -> None:
        self._chunk = chunk
        self._start = start
        self.file_offset = chunk.file_offset + start

    def fileno(self) -> int | None:
        """The chunk's file."""
        return self._chunk.fileno()

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the slice."""
        return self._chunk.read(self._start + offset, length)

    def close(self) -> None:
        """Close the chunk."""
        self._chunk.close()


class ChunkReader:
    """Opens chunks for readers. Safe to share between threads."""

    def __init__(self, volume: Volume, credentials: Credentials, findings: FindingQueue) -> None:
        self._volume = volume
        self._credentials = credentials
        self._findings = findings
        #: Reads begun so far, roughly: only whether it changes is of interest.
        self.begun = 0

    def get_chunk(self, _session: Session, request: GetChunk) -> ChunkAnswer:
        """Check the ticket, then open the range. A bad or missing chunk is also told to the master.

        Raises:
            BadTicketError: no leave to read this here.
            NotFoundError, ChunkCorruptError: another copy must do.
            UsageError: the range is outside of the chunk.
        """
        self._credentials.check_read(request.ticket)
        self.begun += 1
        chunk = self._open(request.ticket.digest)
        try:
            start, end = widen(request.offset, request.length, chunk.size)
            first = start // BLOCK_BYTES
            header = GetChunkReply(
                size=chunk.size,
                generation=chunk.generation,
                offset=start,
                length=end - start,
                block_crcs=chunk.block_crcs(first, -(-end // BLOCK_BYTES) - first),
            )
        except BaseException:
            chunk.close()
            raise
        return ChunkAnswer(header, ChunkSlice(chunk, start))

    def _open(self, digest: bytes) -> OpenChunk:
        try:
            return self._volume.open(digest)
        except NotFoundError:
            self._findings.add(Finding(digest, 0, FindingKind.MISSING))
            raise
        except ChunkCorruptError as error:
            self._findings.add(Finding(digest, 0, FindingKind.CORRUPT, str(error.details.get("finding", ""))))
            raise
