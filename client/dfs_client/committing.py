"""Make uploaded files visible, and mend what the master finds missing at the last moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.engine import Engine
from dfs_client.master import outcome_error
from dfs_client.receipts import Ledger
from dfs_client.sending import Chunk
from dfs_client.source import source_changed
from dfs_wire.errors import BadTicketError, ChunksMissingError, DfsError, ProtocolError
from dfs_wire.messages import ChunkWanted, FileCommit, Outcome

#: Commits of one file, before `chunks_missing` is taken for an answer.
COMMIT_TRIES_MAX = 4

#: (offset, length) -> the same bytes of the source again.
ReadAgain = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Pending:
    """A file whose chunks are stored. `read_again` is None for a stream that is gone."""

    commit: FileCommit
    read_again: ReadAgain | None = None


def commit_files(
    engine: Engine, files: Sequence[Pending], ledger: Ledger, cancellation: Cancellation
) -> list[int | DfsError]:
    """Commit files in one request; the version id, or the error, of each in order.

    Raises:
        UnavailableError, NotAllowedError: the master did not judge the files at all.
    """
    results: dict[int, int | DfsError] = {}
    left = dict(enumerate(files))
    for tries_left in reversed(range(COMMIT_TRIES_MAX)):
        again: dict[int, Pending] = {}
        for (index, pending), outcome in zip(left.items(), _commit_once(engine, left, ledger), strict=True):
            error = outcome_error(outcome)
            results[index] = outcome.version if error is None else error
            if tries_left and isinstance(error, (ChunksMissingError, BadTicketError)):
                failure = _mend(engine, pending, error, ledger, cancellation)
                if failure is None:
                    again[index] = pending
                else:
                    results[index] = failure
        left = again
        if not left:
            break
    for index, result in results.items():
        if isinstance(result, int):
            ledger.committed(extent.digest for extent in files[index].commit.extents)
    return [results[index] for index in range(len(files))]


def _commit_once(engine: Engine, files: dict[int, Pending], ledger: Ledger) -> list[Outcome]:
    """One request, which has an id of its own: a repeat of an earlier id would only repeat its outcome."""
    commits = [pending.commit for pending in files.values()]
    digests = {extent.digest: None for commit in commits for extent in commit.extents}
    try:
        outcomes = engine.master.commit(commits, ledger.of(digests))
    except BadTicketError as error:
        # A receipt spoilt the whole request: each file is mended as if it had been told so.
        outcomes = [Outcome(0, error.code, error.message, error.details) for _ in commits]
    if len(outcomes) != len(commits):
        raise ProtocolError(f"the master answered {len(outcomes)} outcomes for {len(commits)} files; upgrade one")
    return outcomes


def _mend(
    engine: Engine, pending: Pending, error: DfsError, ledger: Ledger, cancellation: Cancellation
) -> DfsError | None:
    """Store again what the commit missed; None when the file can be committed again."""
    named = error.details.get("digests")
    missing = {bytes(digest) for digest in named} if isinstance(named, list) else None
    places: dict[bytes, tuple[int, int]] = {}
    offset = 0
    for extent in pending.commit.extents:
        if missing is None or extent.digest in missing:
            places[extent.digest] = (offset, extent.length)
        offset += extent.length
    try:
        if isinstance(error, BadTicketError):
            engine.sender.renew(places, ledger)
        wanted = [ChunkWanted(digest, length) for digest, (_, length) in places.items()]
        tickets = engine.sender.plan(pending.commit.path, wanted, ledger) if wanted else {}
        for digest, ticket in tickets.items():
            if ticket is None:
                continue
            if pending.read_again is None:
                return error
            chunk = _chunk_again(pending, pending.read_again, digest, places[digest])
            engine.sender.send(pending.commit.path, chunk, ticket, ledger, cancellation)
    except DfsError as failure:
        return failure
    return None


def _chunk_again(pending: Pending, read_again: ReadAgain, digest: bytes, place: tuple[int, int]) -> Chunk:
    data = read_again(*place)
    if blake3(data).digest() != digest:
        raise source_changed(f"the source of {pending.commit.path}")
    return Chunk(digest, memoryview(data))
