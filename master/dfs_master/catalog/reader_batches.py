"""Reads for many names or versions at once: a few statements for a batch, not one for each item."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Integer, Text, bindparam, column, select, values
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog import models
from dfs_master.catalog.models import BEING_REMOVED, ROOT_ENTRY_ID, Chunk, Extent, Replica, ReplicaState, Version
from dfs_master.catalog.reader_tree import directory_entry, file_entry
from dfs_master.catalog.rows import EntryRow
from dfs_master.catalog.statements import Row, Statement, columns
from dfs_wire.errors import (
    CorruptError,
    DfsError,
    NotFoundError,
    TooLargeError,
    UsageError,
    VersionGoneError,
    WrongKindError,
)
from dfs_wire.limits import BATCH_EXTENTS_MAX
from dfs_wire.messages import Entry
from dfs_wire.paths import join_path, split_path

#: Look-ups of many keys go in statements of these sizes, largest first.
_SIZES = (256, 16, 1)

T = TypeVar("T")

Names = tuple[str, ...]


def _children(size: int) -> Statement:
    wanted = (
        values(column("parent_id", Integer), column("name", Text), name="wanted")
        .data([(bindparam(f"parent{number}"), bindparam(f"name{number}")) for number in range(size)])
        .cte("wanted")
    )
    matches = (models.Entry.parent_id == wanted.c.parent_id) & (models.Entry.name == wanted.c.name)
    return Statement(columns(models.Entry, EntryRow).join(wanted, matches))


def _keys(size: int) -> list[Any]:
    return [bindparam(f"k{number}") for number in range(size)]


CHILDREN = {size: _children(size) for size in _SIZES}
VERSIONS = {
    size: Statement(
        select(Version.id, Version.size, Version.mtime_ns, Version.mode, Version.digest).where(
            Version.id.in_(_keys(size))
        )
    )
    for size in _SIZES
}
#: One row more than a batch gives of a file: it shows that there are more.
EXTENTS = {
    size: Statement(
        select(
            Version.id,
            Version.size,
            Version.digest,
            Version.mtime_ns,
            Version.mode,
            Version.removed_at,
            Extent.chunk_id,
            Extent.offset,
            Extent.length,
        )
        .outerjoin(Extent, (Extent.version_id == Version.id) & (Extent.ordinal <= BATCH_EXTENTS_MAX))
        .where(Version.id.in_(_keys(size)))
        .order_by(Version.id, Extent.ordinal)
    )
    for size in _SIZES
}
CHUNKS = {
    size: Statement(
        select(Chunk.id, Chunk.digest, Chunk.size, Replica.node_id)
        .outerjoin(Replica, (Replica.chunk_id == Chunk.id) & (Replica.state == ReplicaState.GOOD))
        .where(Chunk.id.in_(_keys(size)))
        .order_by(Chunk.id, Replica.node_id)
    )
    for size in _SIZES
}
ROOT = Statement(columns(models.Entry, EntryRow).where(models.Entry.id == ROOT_ENTRY_ID))


class OpenedBatch(NamedTuple):
    """What `open_many` found, in the order of the request, and the chunks of all of it by id."""

    files: "list[ReadableVersion | DfsError]"
    chunks: "dict[int, ChunkCopies]"


class ReadableVersion(NamedTuple):
    """A version and its (chunk id, offset, length), one more than `BATCH_EXTENTS_MAX` where there are too many."""

    id: int
    size: int
    digest: bytes
    mtime_ns: int
    mode: int
    extents: list[tuple[int, int, int]]


class ChunkCopies(NamedTuple):
    """A chunk and the nodes of its good replicas."""

    digest: bytes
    size: int
    node_ids: tuple[int, ...]


def entries_at(cursor: DBAPICursor, paths: Iterable[Names]) -> dict[Names, EntryRow]:
    """Those of the paths that exist. Goes down level by level, all paths together."""
    wanted = set(paths)
    found: dict[Names, EntryRow] = {}
    if not wanted:
        return found
    found[()] = EntryRow._make(ROOT.all(cursor)[0])
    for depth in range(1, max(map(len, wanted)) + 1):
        level = {names[:depth] for names in wanted if len(names) >= depth}
        by_key = {(found[names[:-1]].id, names[-1]): names for names in level if names[:-1] in found}
        for row in _children_of(cursor, list(by_key)):
            entry = EntryRow._make(row)
            found[by_key[entry.parent_id or 0, entry.name]] = entry
    return {names: found[names] for names in wanted if names in found}


def stat_many(cursor: DBAPICursor, paths: Sequence[str]) -> list[Entry | DfsError]:
    """What each path names, or why there is nothing to say of it, in order."""
    results: list[Entry | DfsError | None] = [None] * len(paths)
    names = dict(_split_each(paths, results))
    rows = entries_at(cursor, names.values())
    wanted = {row.version_id: None for row in rows.values() if row.version_id is not None}
    versions = {row[0]: row[1:] for row in _by_id(cursor, VERSIONS, wanted)}
    for index, each in names.items():
        if (row := rows.get(each)) is not None:
            results[index] = _as_entry(join_path(each), row, versions)
    return [result or NotFoundError(f"{path} does not exist") for path, result in zip(paths, results, strict=True)]


def open_many(cursor: DBAPICursor, wanted: Sequence[tuple[str, int]]) -> OpenedBatch:
    """Versions by path or, where that is not 0, by version id."""
    results: list[ReadableVersion | DfsError | None] = [None] * len(wanted)
    version_ids = {index: version_id for index, (_, version_id) in enumerate(wanted) if version_id}
    by_path = [index for index, (_, version_id) in enumerate(wanted) if not version_id]
    if by_path:
        paths = [path for path, _ in wanted]
        names = {index: each for index, each in _split_each(paths, results) if index not in version_ids}
        rows = entries_at(cursor, names.values())
        for index, each in names.items():
            row = rows.get(each)
            if row is None:
                results[index] = NotFoundError(f"{join_path(each)} does not exist")
            elif row.version_id is None:
                results[index] = WrongKindError(f"{join_path(each)} is a directory; name a file, or list it")
            else:
                version_ids[index] = row.version_id
    versions = readable_versions(cursor, version_ids.values())
    for index, version_id in version_ids.items():
        results[index] = versions.get(version_id) or VersionGoneError(
            f"version {version_id} was replaced or removed long ago; open the file again"
        )
    for index, result in enumerate(results):
        if isinstance(result, ReadableVersion) and len(result.extents) > BATCH_EXTENTS_MAX:
            results[index] = TooLargeError(f"{wanted[index][0]} has over {BATCH_EXTENTS_MAX} extents; open it alone")
    found = [result for result in results if isinstance(result, ReadableVersion)]
    chunks = chunk_copies(cursor, (chunk_id for version in found for chunk_id, _, _ in version.extents))
    return OpenedBatch([result for result in results if result is not None], chunks)


def readable_versions(cursor: DBAPICursor, version_ids: Iterable[int]) -> dict[int, ReadableVersion]:
    """Those of the versions that are current, or within their grace."""
    found: dict[int, ReadableVersion] = {}
    for version_id, size, digest, mtime_ns, mode, removed_at, chunk_id, offset, length in _by_id(
        cursor, EXTENTS, dict.fromkeys(version_ids)
    ):
        version = found.get(version_id)
        if version is None:
            if removed_at == BEING_REMOVED:
                continue
            version = found[version_id] = ReadableVersion(version_id, size, digest, mtime_ns, mode, [])
        if chunk_id is not None:
            version.extents.append((chunk_id, offset, length))
    return found


def chunk_copies(cursor: DBAPICursor, chunk_ids: Iterable[int]) -> dict[int, ChunkCopies]:
    """Chunks with their good replicas, by id."""
    rows = _by_id(cursor, CHUNKS, dict.fromkeys(chunk_ids))
    return {
        chunk_id: ChunkCopies(digest, size, tuple(node for *_, node in group if node is not None))
        for (chunk_id, digest, size), group in groupby(rows, itemgetter(0, 1, 2))
    }


def _split_each(paths: Sequence[str], refused: "list[Any]") -> Iterator[tuple[int, Names]]:
    """The names of each path by its place; a path that cannot be one gets its error in `refused`."""
    for index, path in enumerate(paths):
        try:
            yield index, split_path(path)
        except UsageError as error:
            refused[index] = error


def _as_entry(path: str, row: EntryRow, versions: "dict[int, Row]") -> Entry | DfsError:
    if row.version_id is None:
        return directory_entry(path, row.mode, row.mtime_ns)
    version = versions.get(row.version_id)
    if version is None:
        return CorruptError(f"{path} has no content in the metadata database; run dfs-master db check")
    return file_entry(path, row.version_id, version)


def _children_of(cursor: DBAPICursor, keys: Sequence[tuple[int, str]]) -> Iterator[Row]:
    for size, part in _parts(keys):
        bound: dict[str, object] = {}
        for number, (parent_id, name) in enumerate(part):
            bound[f"parent{number}"], bound[f"name{number}"] = parent_id, name
        yield from CHILDREN[size].all(cursor, **bound)


def _by_id(cursor: DBAPICursor, statements: dict[int, Statement], ids: Iterable[int]) -> Iterator[Row]:
    for size, part in _parts(list(ids)):
        yield from statements[size].all(cursor, **{f"k{number}": key for number, key in enumerate(part)})


def _parts(keys: Sequence[T]) -> Iterator[tuple[int, Sequence[T]]]:
    """Cut a batch into statements of fixed sizes, as few as its length allows."""
    position = 0
    while position < len(keys):
        size = next(size for size in _SIZES if size <= len(keys) - position)
        yield size, keys[position : position + size]
        position += size
