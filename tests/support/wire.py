"""A small node made of a dictionary, behind a real listener: for tests of the wire alone."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from blake3 import blake3

from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.errors import BadCredentialError, BusyError, ChunkCorruptError, NotFoundError
from dfs_wire.service import ChunkAnswer, ChunkBody, Handler, Session
from dfs_wire.thread_listener import ThreadListener


class MemorySource:
    """A chunk's bytes for a reply."""

    file_offset = 0

    def __init__(self, data: bytes, break_after: int | None = None) -> None:
        self._data = data
        self._break_after = break_after

    def fileno(self) -> int | None:
        return None

    def read(self, offset: int, length: int) -> bytes:
        if self._break_after is not None and offset >= self._break_after:
            raise ChunkCorruptError("the disk gives no more of it")
        return self._data[offset : offset + length]

    def close(self) -> None:
        return None


class DictionaryNode:
    """Stores chunks in a dictionary; refuses generation 666 with `busy`."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, bytes] = {}
        #: Stops the listener that serves this node.
        self.stop: Callable[[], None] = lambda: None
        #: From this offset of a reply on, reading fails.
        self.break_reads_after: int | None = None

    def put_chunk(self, _session: Session, request: m.PutChunk, body: ChunkBody) -> m.PutChunkReply:
        if request.ticket.generation == 666:
            raise BusyError("all slots are taken; try again in a moment")
        body.go_on()
        data = bytearray(body.size)
        view, filled = memoryview(data), 0
        while count := body.read_into(view[filled : filled + 100_000]):
            filled += count
            if request.ticket.generation == 667 and filled > 200_000:
                raise ChunkCorruptError("the disk says no", digest=request.ticket.digest)
        if blake3(data).digest() != request.ticket.digest:
            raise ChunkCorruptError("the bytes are not the chunk that was announced")
        self.chunks[request.ticket.digest] = bytes(data)
        receipt = m.Receipt(1, request.ticket.digest, body.size, 1, 0, 0, b"")
        return m.PutChunkReply(receipts=[receipt])

    def get_chunk(self, _session: Session, request: m.GetChunk) -> ChunkAnswer:
        data = self.chunks.get(request.ticket.digest)
        if data is None:
            raise NotFoundError("no such chunk here")
        length = len(data) if request.length < 0 else request.length
        part = data[request.offset : request.offset + length]
        return ChunkAnswer(
            m.GetChunkReply(size=len(data), generation=1, offset=request.offset, length=len(part), block_crcs=b""),
            MemorySource(part, self.break_reads_after),
        )


def _hello(_session: Session, request: m.Hello) -> m.HelloReply:
    if request.role is not m.Role.TICKET:
        raise BadCredentialError("this is a node; keys are for the master")
    return m.HelloReply(cluster_id="test")


def _echo(_session: Session, _request: m.Header, body: bytes) -> Answer[m.RenewReceiptsReply]:
    return Answer(m.RenewReceiptsReply(), body)


def _fail(_session: Session, _request: m.Header, _body: bytes) -> Answer[m.ProveJoinReply]:
    raise ZeroDivisionError("a fault of ours")


HANDLERS: Mapping[type[m.Header], Handler] = {
    m.Ping: lambda _session, _request, _body: Answer(m.Done()),
    m.RenewReceipts: _echo,
    m.ProveJoin: _fail,
}


@contextmanager
def dictionary_node(*, connections_max: int = 64) -> Iterator[tuple[str, DictionaryNode]]:
    """Address and node of a running listener."""
    node = DictionaryNode()
    listener = ThreadListener(
        "127.0.0.1:0", handlers=HANDLERS, chunks=node, hello=_hello, connections_max=connections_max
    )
    node.stop = listener.stop
    listener.start()
    try:
        yield listener.address, node
    finally:
        listener.stop()


def ticket_for(data: bytes, *, generation: int = 1) -> m.WriteTicket:
    """An unsigned ticket: the dictionary node does not look at signatures."""
    return m.WriteTicket(blake3(data).digest(), len(data), generation, 0, b"", [m.Hop(1, "", b"")])


def hello_for(_address: str) -> m.Hello:
    """The Hello of a ticket holder."""
    return m.Hello(role=m.Role.TICKET)


def poll_for(predicate: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is true, or fail."""
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"not true within {seconds} s")
        time.sleep(0.01)
