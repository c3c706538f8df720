"""Make uploaded files visible, and mend what the master finds missing at the last moment."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from blake3 import blake3

from dfs_client.backoff import Cancellation
from dfs_client.engine import Engine
from dfs_client.master import outcome_error
from dfs_client.receipts import Ledger
from dfs_client.sending import Chunk
from dfs_client.source import source_changed
from dfs_wire.errors import BadTicketError, ChunksMissingError, DfsError, ProtocolError, TooFewNodesError
from dfs_wire.messages import ChunkWanted, FileCommit, Outcome, WriteTicket

#: Commits of one file, before `chunks_missing` is taken for an answer.
COMMIT_TRIES_MAX = 4

#: (offset, length) -> the same bytes of the source again.
ReadAgain = Callable[[int, int], bytes]
#: Told of each path whose commit was refused, with the reason, before that is mended.
OnRefused = Callable[[str, DfsError], None]


class Pending(msgspec.Struct, frozen=True):
    """A file whose chunks are stored. Its bytes can be had again from `pack`, the one chunk that it shares with
    others, or by `read_again`; from neither, where it was a stream that is gone.
    """

    commit: FileCommit
    read_again: ReadAgain | None = None
    pack: memoryview | None = None


class _Gap(msgspec.Struct, frozen=True):
    """A chunk that has too few copies, and the file through which it is stored again: the one that asks for most."""

    pending: Pending
    size: int
    #: Where the chunk lies in the file, for one that does not share it.
    offset: int
    copies: int


def commit_files(
    engine: Engine,
    files: Sequence[Pending],
    ledger: Ledger,
    cancellation: Cancellation,
    *,
    on_refused: OnRefused | None = None,
    tries: int = COMMIT_TRIES_MAX,
) -> list[int | DfsError]:
    """Commit files in one request; the version id, or the error, of each in order.

    Raises:
        UnavailableError, NotAllowedError: the master did not judge the files at all.
    """
    results: dict[int, int | DfsError] = {}
    left = dict(enumerate(files))
    for tries_left in reversed(range(tries)):
        refused: dict[int, tuple[Pending, DfsError]] = {}
        for (index, pending), outcome in zip(left.items(), _commit_once(engine, left, ledger), strict=True):
            error = outcome_error(outcome)
            results[index] = outcome.version if error is None else error
            if tries_left and isinstance(error, (ChunksMissingError, BadTicketError)):
                refused[index] = pending, error
                if on_refused is not None:
                    on_refused(pending.commit.path, error)
        if not refused:
            break
        failures = _mend(engine, refused, ledger, cancellation)
        results.update(failures)
        left = {index: pending for index, (pending, _) in refused.items() if index not in failures}
        if not left:
            break
    done = {
        extent.digest: None
        for index, result in results.items()
        if isinstance(result, int)
        for extent in files[index].commit.extents
    }
    ledger.committed(done)
    return [results[index] for index in range(len(files))]


def commit_one(
    engine: Engine,
    pending: Pending,
    ledger: Ledger,
    cancellation: Cancellation,
    *,
    on_refused: OnRefused | None = None,
) -> int:
    """Commit one file whose chunks are stored; its version id. As `commit_files`, with nothing to sort.

    Raises:
        DfsError: nothing is visible.
    """
    commit = pending.commit
    error: DfsError | None
    try:
        outcomes = engine.master.commit([commit], ledger.of([extent.digest for extent in commit.extents]))
        if len(outcomes) != 1:
            raise ProtocolError(f"the master answered {len(outcomes)} outcomes for one file; upgrade one")
        error = outcome_error(outcomes[0])
        if error is None:
            return outcomes[0].version
    except BadTicketError as refused:
        error = refused
    if not isinstance(error, (ChunksMissingError, BadTicketError)):
        raise error
    if on_refused is not None:
        on_refused(commit.path, error)
    failures = _mend(engine, {0: (pending, error)}, ledger, cancellation)
    if failures:
        raise failures[0]
    (result,) = commit_files(engine, [pending], ledger, cancellation, on_refused=on_refused, tries=COMMIT_TRIES_MAX - 1)
    if isinstance(result, DfsError):
        raise result
    return result


def copies_asked(error: DfsError | None) -> int:
    """How many copies a refused commit wanted; 0 where it does not say."""
    copies = error.details.get("copies") if isinstance(error, ChunksMissingError) else None
    return copies if isinstance(copies, int) else 0


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
    engine: Engine, refused: Mapping[int, tuple[Pending, DfsError]], ledger: Ledger, cancellation: Cancellation
) -> dict[int, DfsError]:
    """Store again what a commit missed, each chunk once; what cannot be mended, by the index of its file."""
    needed: dict[int, list[bytes]] = {}
    gaps: dict[bytes, _Gap] = {}
    expired: dict[bytes, None] = {}
    for index, (pending, error) in refused.items():
        found = dict(_gaps(pending, error))
        needed[index] = list(found)
        for digest, gap in found.items():
            if digest not in gaps or gap.copies > gaps[digest].copies:
                gaps[digest] = gap
        if isinstance(error, BadTicketError):
            expired.update(dict.fromkeys(found))
    if expired:
        engine.sender.renew(expired, ledger)
    failures = _store_again(engine, gaps, ledger, cancellation)
    unmended: dict[int, DfsError] = {}
    for index, digests in needed.items():
        error = refused[index][1]
        failed = [digest for digest in digests if digest in failures]
        if any(
            isinstance(failures[each], TooFewNodesError) and copies_asked(error) < gaps[each].copies for each in failed
        ):
            # Another file asked for too many copies. Without it, fewer are tried next.
            continue
        if failed:
            unmended[index] = failures[failed[0]] or error
    return unmended


def _gaps(pending: Pending, error: DfsError) -> Iterator[tuple[bytes, _Gap]]:
    """The chunks of a file that its refusal names; all of them where it names none."""
    named = error.details.get("digests")
    missing = {bytes(digest) for digest in named} if isinstance(named, list) else None
    copies = copies_asked(error)
    offset = 0
    for extent in pending.commit.extents:
        if missing is None or extent.digest in missing:
            yield extent.digest, _Gap(pending, extent.chunk_size, offset, copies)
        offset += extent.length


def _store_again(
    engine: Engine, gaps: Mapping[bytes, _Gap], ledger: Ledger, cancellation: Cancellation
) -> dict[bytes, DfsError | None]:
    """Plan and send; the chunks that could not be stored, with the reason (None: their bytes are gone)."""
    failures: dict[bytes, DfsError | None] = {}
    by_path: dict[str, list[ChunkWanted]] = {}
    for digest, gap in gaps.items():
        by_path.setdefault(gap.pending.commit.path, []).append(ChunkWanted(digest, gap.size))
    for path, wanted in by_path.items():
        try:
            tickets = engine.sender.plan(path, wanted, ledger)
        except DfsError as error:
            failures.update(dict.fromkeys((chunk.digest for chunk in wanted), error))
            continue
        for digest, ticket in tickets.items():
            if ticket is None:
                continue
            try:
                if not _send_again(engine, gaps[digest], digest, ticket, ledger, cancellation):
                    failures[digest] = None
            except DfsError as error:
                failures[digest] = error
    return failures


def _send_again(
    engine: Engine, gap: _Gap, digest: bytes, ticket: WriteTicket, ledger: Ledger, cancellation: Cancellation
) -> bool:
    """Send a chunk anew; False where nobody has its bytes any more."""
    pending = gap.pending
    if pending.pack is not None:
        data = pending.pack
    elif pending.read_again is not None:
        data = memoryview(pending.read_again(gap.offset, gap.size))
    else:
        return False
    if blake3(data).digest() != digest:
        raise source_changed(f"the source of {pending.commit.path}")
    engine.sender.send(pending.commit.path, Chunk(digest, data), ticket, ledger, cancellation)
    return True
