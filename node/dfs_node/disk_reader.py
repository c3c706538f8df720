"""A stored chunk, open for reading from its file."""

import os
from types import TracebackType
from typing import Self

from dfs_node.chunk_file import ChunkHeader, Damage, check_data, damaged, unreadable
from dfs_node.disk import Disk


class OpenChunkFile:
    """The `OpenChunk` of a chunk file whose header is in order. Used by one thread; owns the descriptor."""

    def __init__(self, disk: Disk, descriptor: int, header: ChunkHeader, ahead: memoryview) -> None:
        """`ahead` is the beginning of the data, as much of it as came with the header."""
        self._disk = disk
        self._ahead = ahead
        self._descriptor: int | None = descriptor
        self._header = header
        self.size = header.length
        self.generation = header.generation
        self.file_offset = header.data_offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def block_crcs(self, first: int, count: int) -> bytes:
        """From the header's table."""
        return self._header.block_crcs(first, count)

    def fileno(self) -> int:
        """The open file.

        Raises:
            ValueError: it was closed.
        """
        if self._descriptor is None:
            raise ValueError("the chunk file is closed")
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        """Read from the file; the bytes are not checked here, the reader has their CRCs."""
        if offset + length <= len(self._ahead):
            return bytes(self._ahead[offset : offset + length])
        buffer = bytearray(min(length, max(0, self.size - offset)))
        try:
            filled = self._disk.pread_into(self.fileno(), memoryview(buffer), self.file_offset + offset)
        except OSError as error:
            raise unreadable(self._header.digest, error) from error
        if filled < len(buffer):
            raise damaged(self._header.digest, Damage.TRUNCATED)
        return bytes(buffer)

    def check(self) -> None:
        """Read all data and compare it with the header.

        Raises:
            ChunkCorruptError: it differs.
        """
        check_data(self._disk, self.fileno(), self._header)

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
