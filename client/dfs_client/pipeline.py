"""The chunks of one version on their way: one thread cuts and hashes, tasks send."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.commit_room import CommitRoom
from dfs_client.engine import Engine
from dfs_client.receipts import Ledger
from dfs_client.sending import Chunk
from dfs_wire.limits import MIB
from dfs_wire.messages import Extent, WriteTicket

#: Chunks are planned together from this many bytes on: half of the buffers, so that reading never stands still.
PLAN_BYTES = 32 * MIB
#: With nothing under way, so many chunks are planned at once: the nodes must not wait while the client reads on. Not
#: after one: it may be the only one, which is hashed once.
IDLE_CHUNKS = 2
#: How long a given-up upload waits for its tasks to notice, in seconds.
ABORT_SECONDS = 2.0


class ChunkPipeline:
    """Takes the content of one file in order. Used by one thread; after an error, `abort` it.

    Attributes:
        size: bytes added so far.
        bytes_sent: bytes of those chunks that the cluster did not hold.
        room: what the commit can carry; told the size by who knows it.
    """

    def __init__(self, engine: Engine, path: str, ledger: Ledger, on_bytes: Callable[[int], None]) -> None:
        self._engine = engine
        self._path = path
        self._ledger = ledger
        self._on_bytes = on_bytes
        self._cancellation = Cancellation()
        self._whole = blake3()
        #: The first chunk, while it may still turn out to be the only one: then it is hashed once.
        self._first: memoryview | None = None
        self._seen: set[bytes] = set()
        self._unplanned: list[tuple[Chunk, bytearray]] = []
        self._unplanned_bytes = 0
        self._tasks: list[Future[int]] = []
        self.extents: list[Extent] = []
        self.room = CommitRoom(path)
        self.size = 0
        self.bytes_sent = 0

    def take_buffer(self, size: int) -> bytearray:
        """A buffer to read the next chunk into."""
        self._collect()
        buffer = self._engine.buffers.try_take(size)
        if buffer is None:
            # Nothing may be held back while we wait: see `BufferPool`.
            self._hash_first()
            self._flush()
            buffer = self._engine.buffers.take(size)
        return buffer

    def give_buffer(self, buffer: bytearray) -> None:
        """Return a buffer that was not needed."""
        self._engine.buffers.give(buffer)

    def add(self, buffer: bytearray, size: int) -> None:
        """The first `size` bytes of the buffer are the next chunk. The pipeline owns the buffer from here on."""
        view = memoryview(buffer)[:size]
        digest = blake3(view).digest()
        if self.extents:
            self._hash_first()
            self._whole.update(view)
        else:
            self._first = view
        self.extents.append(Extent(digest, size, 0, size))
        self.size += size
        if digest in self._seen:
            self.give_buffer(buffer)
            self._on_bytes(size)
            return
        self._seen.add(digest)
        self._unplanned.append((Chunk(digest, view), buffer))
        self._unplanned_bytes += size
        if self._unplanned_bytes >= PLAN_BYTES or (len(self._unplanned) >= IDLE_CHUNKS and self._idle()):
            self._hash_first()
            self._flush()

    def finish(self) -> bytes:
        """Wait until every chunk is stored; returns the digest of the whole content.

        Raises:
            DfsError: a chunk could not be stored.
        """
        self._flush()
        self._collect(all_of_them=True)
        if self._first is not None:
            return self.extents[0].digest
        return self._whole.digest()

    def abort(self) -> None:
        """Give up: tasks end at their next step, buffers come back."""
        self._cancellation.cancel()
        for _, buffer in self._unplanned:
            self.give_buffer(buffer)
        self._unplanned.clear()
        wait(self._tasks, timeout=ABORT_SECONDS)

    def _hash_first(self) -> None:
        """The first chunk will not be alone, or its buffer goes away."""
        if self._first is not None:
            self._whole.update(self._first)
            self._first = None

    def _flush(self) -> None:
        """Plan what was read, and start to send what the cluster does not hold."""
        if not self._unplanned:
            return
        wanted = [chunk.wanted for chunk, _ in self._unplanned]
        tickets = self._engine.sender.plan(self._path, wanted, self._ledger)
        self.room.check(len(self.extents), [self._receipts(digest, ticket) for digest, ticket in tickets.items()])
        batch, self._unplanned, self._unplanned_bytes = self._unplanned, [], 0
        for chunk, buffer in batch:
            ticket = tickets[chunk.digest]
            if ticket is None:
                self.give_buffer(buffer)
                self._on_bytes(len(chunk.data))
            else:
                self._tasks.append(self._engine.executor.submit(partial(self._send, chunk, buffer, ticket)))

    def _receipts(self, digest: bytes, ticket: WriteTicket | None) -> int:
        """How many the commit will carry for a chunk: those that are here, and those that its put brings."""
        return len(self._ledger.of([digest])) + (len(ticket.hops) if ticket is not None else 0)

    def _send(self, chunk: Chunk, buffer: bytearray, ticket: WriteTicket) -> int:
        try:
            self._cancellation.check()
            self._engine.sender.send(self._path, chunk, ticket, self._ledger, self._cancellation)
            return len(chunk.data)
        finally:
            self.give_buffer(buffer)

    def _idle(self) -> bool:
        return all(task.done() for task in self._tasks)

    def _collect(self, *, all_of_them: bool = False) -> None:
        """Account for tasks that are done, and raise what they raised."""
        left: list[Future[int]] = []
        for task in self._tasks:
            if all_of_them or task.done():
                size = task.result()
                self.bytes_sent += size
                self._on_bytes(size)
            else:
                left.append(task)
        self._tasks = left
