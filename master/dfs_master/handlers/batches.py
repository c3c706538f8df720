"""`OpenMany` and `StatMany`: many files in one request."""

from collections.abc import Callable

from dfs_master.catalog.reader_batches import ReadableVersion
from dfs_master.cluster import Cluster
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import DfsError, TooLargeError
from dfs_wire.limits import BATCH_PATHS_MAX, TICKET_SECONDS
from dfs_wire.service import Session

#: session, digest, nodes, expiry -> where a chunk can be read, best first.
Replicas = Callable[[Session, bytes, tuple[int, ...], int], list[m.ReplicaTicket]]


class BatchHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster, replicas: Replicas) -> None:
        self._cluster = cluster
        self._replicas = replicas

    def open_many(self, session: Session, _request: m.OpenMany, body: bytes) -> Answer[m.OpenManyReply]:
        """Versions with their extents; the tickets of a chunk come once, however many files lie in it."""
        cluster = self._cluster
        wanted = decode(body, list[m.FileWanted])
        _check_count(len(wanted))
        batch = cluster.reader.open_many([(each.path, each.version) for each in wanted])
        now_ms = cluster.clock.wall_ms()
        expires_at_ms = now_ms + TICKET_SECONDS * 1000
        numbers = {chunk_id: number for number, chunk_id in enumerate(batch.chunks)}
        chunks = [
            m.OpenedChunk(
                chunk.digest, chunk.size, self._replicas(session, chunk.digest, chunk.node_ids, expires_at_ms)
            )
            for chunk in batch.chunks.values()
        ]
        files = [_opened(found, numbers) for found in batch.files]
        reply = m.OpenManyReply(expires_at_ms=expires_at_ms, time_ms=now_ms)
        return Answer(reply, encode_list(m.OpenedFiles(files, chunks)))

    def stat_many(self, _session: Session, _request: m.StatMany, body: bytes) -> Answer[m.StatManyReply]:
        """The entry at each path."""
        paths = decode(body, list[str])
        _check_count(len(paths))
        found = [_found(each) for each in self._cluster.reader.stat_many(paths)]
        return Answer(m.StatManyReply(), encode_list(found))


def _opened(found: ReadableVersion | DfsError, numbers: dict[int, int]) -> m.OpenedFile:
    if isinstance(found, DfsError):
        return m.OpenedFile(0, 0, b"", 0, 0, [], found.code, found.message)
    extents = [m.SharedExtent(numbers[chunk_id], offset, length) for chunk_id, offset, length in found.extents]
    return m.OpenedFile(found.id, found.size, found.digest, found.mtime_ns, found.mode, extents)


def _found(found: m.Entry | DfsError) -> m.FoundEntry:
    return m.FoundEntry(None, found.code, found.message) if isinstance(found, DfsError) else m.FoundEntry(found)


def _check_count(count: int) -> None:
    if not 0 < count <= BATCH_PATHS_MAX:
        raise TooLargeError(f"1 to {BATCH_PATHS_MAX} paths a request, not {count}; send several")
