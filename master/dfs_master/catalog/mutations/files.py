"""`Commit`: versions become visible, each whole or not at all, and only where the copies that they need exist."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dfs_master.catalog.mutations.base import ClientMutation, Context, Reads, require_int64
from dfs_master.catalog.mutations.copies import Evidence, judge_chunk
from dfs_master.catalog.mutations.outcomes import any_done, apply_each
from dfs_master.catalog.mutations.paths import FILE, MODE_BITS, Place, find, make_parents, require_expected
from dfs_master.catalog.rows import ChunkRow, ExtentRow, new_entry, new_extent, new_version
from dfs_wire.errors import ChunksMissingError, UsageError, WrongKindError
from dfs_wire.limits import CHUNK_BYTES_MAX, DIGEST_BYTES, EXTENTS_MAX
from dfs_wire.messages import Extent, FileCommit, Outcome, Receipt


@dataclass(frozen=True, slots=True)
class CommitFiles(ClientMutation[list[Outcome]]):
    """New versions of files. The caller has checked MAC and expiry of every receipt.

    What is refused for missing chunks must be asked for again under a new request id: under this one, the outcome of
    the files that were written is on record.
    """

    reply_type: ClassVar[object] = list[Outcome]

    request_id: bytes
    files: Sequence[FileCommit]
    receipts: Sequence[Receipt] = field(default=())

    def apply(self, context: Context) -> list[Outcome]:
        """An outcome for each file, in order; none of them spoils another."""
        evidence = Evidence(context, self.receipts)
        return apply_each(context, self.files, lambda _, file: _commit(context, file, evidence))

    def will_read(self) -> Reads:
        """The names of the files, and their chunks."""
        digests = dict.fromkeys(extent.digest for file in self.files for extent in file.extents)
        return Reads([file.path for file in self.files], digests)

    def row_count(self) -> int:
        """Entry and version of each file, extent and chunk of each slice, a replica for each receipt."""
        rows = 1 + len(self.receipts) + 2 * len(self.files)
        for file in self.files:
            rows += 2 * len(file.extents)
        return rows

    def is_worth_remembering(self, reply: list[Outcome]) -> bool:
        """Unless all were refused."""
        return any_done(reply)


def _commit(context: Context, file: FileCommit, evidence: Evidence) -> int:
    """Judge one file and stage it; returns the new version's id.

    Raises:
        UsageError: path, sizes, extents or digests make no sense.
        WrongKindError: the target, or something above it, is not of the kind needed.
        ConflictError: the target is not what was expected.
        ChunksMissingError: chunks without enough copies; details: `digests`, and the `copies` that the policy asks for.
    """
    _check_shape(file)
    place = find(context, file.path)
    if place.entry is not None and place.entry.kind != FILE:
        raise WrongKindError(f"{file.path} is a directory; choose another name for the file")
    require_expected(file.path, place.entry, file.expect)
    chunks = _stage_chunks(context, file, evidence, place.copies(context.copies)) if file.extents else {}
    entry_id = place.entry.id if place.entry is not None else context.staging.new_id()
    version_id = context.staging.new_id()
    mode = file.mode & MODE_BITS
    version = (version_id, entry_id, file.size, file.digest, file.mtime_ns, mode, context.now_ms, None)
    context.content.add_version(new_version(version), _extent_rows(version_id, file.extents, chunks))
    _point_entry(context, place, entry_id, version_id)
    return version_id


def _point_entry(context: Context, place: Place, entry_id: int, version_id: int) -> None:
    """The name gets its new content; the old one begins its grace."""
    old = place.entry
    if old is None:
        parent = make_parents(context, place)
        row = (entry_id, parent.id, place.name, FILE, version_id, None, None, None)
        context.tree.put(new_entry(row))
        return
    context.tree.put(old._replace(version_id=version_id))
    if old.version_id is not None:
        context.content.remove_version(old.version_id, context.now_ms)


def _stage_chunks(context: Context, file: FileCommit, evidence: Evidence, copies: int) -> dict[bytes, ChunkRow]:
    """Every chunk of a file with its copies, or none of them."""
    if len(file.extents) == 1:
        (extent,) = file.extents
        row = evidence.settled(context, extent.digest, extent.chunk_size, copies)
        if row is not None:
            return {extent.digest: row}
    sizes = {extent.digest: extent.chunk_size for extent in file.extents}
    judged = [judge_chunk(context, digest, size, evidence, copies) for digest, size in sizes.items()]
    missing = [chunk.row.digest for chunk in judged if chunk.copies < copies]
    if missing:
        raise ChunksMissingError(
            f"{len(missing)} of {len(sizes)} chunks of {file.path} have fewer than {copies} copies; upload those again",
            digests=missing,
            copies=copies,
        )
    for chunk in judged:
        context.content.put_chunk(chunk.row, chunk.replicas)
        evidence.settle(context, chunk)
    return {chunk.row.digest: chunk.row for chunk in judged}


def _extent_rows(version_id: int, extents: Sequence[Extent], chunks: dict[bytes, ChunkRow]) -> list[ExtentRow]:
    return [
        new_extent((version_id, ordinal, chunks[extent.digest].id, extent.offset, extent.length))
        for ordinal, extent in enumerate(extents)
    ]


def _check_shape(file: FileCommit) -> None:
    """What can be judged without looking anything up.

    Raises:
        UsageError: it contradicts itself or a limit.
    """
    require_int64("mtime_ns", file.mtime_ns)
    if len(file.digest) != DIGEST_BYTES:
        raise UsageError(f"the digest of {file.path} has {len(file.digest)} bytes, not {DIGEST_BYTES}")
    if len(file.extents) > EXTENTS_MAX:
        raise UsageError(f"{file.path} has over {EXTENTS_MAX} extents; cut it into larger chunks")
    sizes: dict[bytes, int] = {}
    for extent in file.extents:
        _check_extent(file.path, extent)
        if sizes.setdefault(extent.digest, extent.chunk_size) != extent.chunk_size:
            raise UsageError(f"{file.path} names one chunk with two sizes: {extent.digest.hex()}")
    total = sum([extent.length for extent in file.extents])
    if total != file.size:
        raise UsageError(f"the extents of {file.path} hold {total} bytes, not {file.size}")


def _check_extent(path: str, extent: Extent) -> None:
    if len(extent.digest) != DIGEST_BYTES:
        raise UsageError(f"a chunk digest of {path} has {len(extent.digest)} bytes, not {DIGEST_BYTES}")
    if not 0 < extent.chunk_size <= CHUNK_BYTES_MAX:
        raise UsageError(f"a chunk of {path} has {extent.chunk_size} bytes; a chunk has 1 to {CHUNK_BYTES_MAX}")
    if extent.offset < 0 or extent.length <= 0 or extent.offset + extent.length > extent.chunk_size:
        raise UsageError(f"an extent of {path} lies outside its chunk {extent.digest.hex()}")
