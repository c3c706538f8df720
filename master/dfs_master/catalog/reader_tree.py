"""Reads of names: walking a path, pages of a directory, the policy of a place."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from dfs_master.catalog import models, reader_cluster
from dfs_master.catalog.models import ROOT_ENTRY_ID, Version
from dfs_master.catalog.rows import EntryRow
from dfs_master.catalog.statements import Row, Statement, columns
from dfs_wire.errors import CorruptError
from dfs_wire.messages import Copy, Entry, EntryKind
from dfs_wire.paths import join_path

_ENTRY = columns(models.Entry, EntryRow)
BY_ID = Statement(_ENTRY.where(models.Entry.id == bindparam("id")))
CHILD = Statement(
    _ENTRY.where(models.Entry.parent_id == bindparam("parent_id"), models.Entry.name == bindparam("name"))
)
VERSION = Statement(
    select(Version.size, Version.mtime_ns, Version.mode, Version.digest).where(Version.id == bindparam("id"))
)
#: What a listing tells of an entry and its version.
LISTED = (
    models.Entry.name,
    models.Entry.kind,
    models.Entry.mode,
    models.Entry.mtime_ns,
    models.Entry.version_id,
    Version.size,
    Version.mtime_ns,
    Version.mode,
    Version.digest,
)
PAGE = Statement(
    select(*LISTED)
    .outerjoin(Version, Version.id == models.Entry.version_id)
    .where(models.Entry.parent_id == bindparam("parent_id"), models.Entry.name > bindparam("after"))
    .order_by(models.Entry.name)
    .limit(bindparam("limit"))
)


def _found(condition: ColumnElement[bool]) -> Statement:
    """An entry, and the version of a file."""
    entry = models.Entry
    about_entry = (entry.id, entry.version_id, entry.copies, entry.mtime_ns, entry.mode)
    about_version = (Version.size, Version.mtime_ns, Version.mode, Version.digest)
    joined = select(*about_entry, *about_version).outerjoin(Version, Version.id == entry.version_id)
    return Statement(joined.where(condition))


FOUND_ROOT = _found(models.Entry.id == bindparam("id"))
FOUND = _found(and_(models.Entry.parent_id == bindparam("parent_id"), models.Entry.name == bindparam("name")))
if FOUND.names != ("parent_id", "name"):
    raise ValueError("a hot statement takes its values in another order than it is given them")


class Found(NamedTuple):
    """An entry with what `stat` tells of it. A directory has no version, size 0 and an empty digest."""

    id: int
    version_id: int | None
    copies: int | None
    size: int
    mtime_ns: int
    mode: int
    digest: bytes


class Policy(NamedTuple):
    """Copies wanted, and the path of the directory that says so (empty: the cluster's default)."""

    copies: int
    source: str


def walk(cursor: DBAPICursor, names: Sequence[str]) -> list[EntryRow]:
    """The entries along a path, the root first, as far as they exist: one more than `names` when all do."""
    root = BY_ID.one(cursor, id=ROOT_ENTRY_ID)
    if root is None:
        raise CorruptError("the metadata database has no root directory; restore a backup of it")
    chain = [EntryRow._make(root)]
    for name in names:
        row = CHILD.one(cursor, parent_id=chain[-1].id, name=name)
        if row is None:
            break
        chain.append(EntryRow._make(row))
    return chain


def look_up(cursor: DBAPICursor, parent_id: int, name: str) -> Found | None:
    """The entry of a name in a directory, by one statement; the root's parent counts as 0."""
    row = FOUND.row(cursor, parent_id, name) if parent_id else FOUND_ROOT.row(cursor, ROOT_ENTRY_ID)
    if row is None:
        return None
    entry_id, version_id, copies, mtime_ns, mode, size, *version = row
    if version_id is None:
        return Found(entry_id, None, copies, 0, mtime_ns or 0, mode or 0, b"")
    if size is None:
        raise CorruptError(f"{name} has no content in the metadata database; run dfs-master db check")
    return Found(entry_id, version_id, copies, size, *version)


def policy(cursor: DBAPICursor, chain: Sequence[EntryRow], names: Sequence[str]) -> Policy:
    """The nearest directory of a walk that has a policy, else the cluster's default."""
    for depth in range(len(chain) - 1, -1, -1):
        copies = chain[depth].copies
        if copies is not None:
            return Policy(copies, join_path(names[:depth]))
    return Policy(reader_cluster.default_copies(cursor), "")


def entry_at(cursor: DBAPICursor, path: str, row: EntryRow) -> Entry:
    """The entry as the wire has it."""
    if row.version_id is None:
        return directory_entry(path, row.mode, row.mtime_ns)
    version = VERSION.one(cursor, id=row.version_id)
    if version is None:
        raise CorruptError(f"{path} has no content in the metadata database; run dfs-master db check")
    return file_entry(path, row.version_id, version)


def page(cursor: DBAPICursor, parent_id: int, path: str, after: str, limit: int) -> tuple[list[Entry], bool]:
    """Up to `limit` entries of a directory behind `after`, and whether there are more."""
    rows = PAGE.all(cursor, parent_id=parent_id, after=after, limit=limit + 1)
    prefix = path if path.endswith("/") else path + "/"
    entries = []
    for name, kind, mode, mtime_ns, version_id, *version in rows[:limit]:
        if kind == EntryKind.DIRECTORY:
            entries.append(directory_entry(prefix + name, mode, mtime_ns))
        else:
            entries.append(file_entry(prefix + name, version_id, version))
    return entries, len(rows) > limit


def with_copies(entry: Entry, nodes: Mapping[int, Copy], holders: Iterable[int]) -> Entry:
    """The entry with the nodes that hold something of it, by name."""
    copies = sorted((nodes[node] for node in holders), key=lambda copy: copy.node)
    return msgspec.structs.replace(entry, copies=copies) if copies else entry


def directory_entry(path: str, mode: int | None, mtime_ns: int | None) -> Entry:
    """A directory as the wire has it."""
    return Entry(path, EntryKind.DIRECTORY, 0, mtime_ns or 0, mode or 0, 0, b"")


def file_entry(path: str, version_id: int, version: Sequence[object] | Row) -> Entry:
    """A file as the wire has it; `version` is its size, time, mode and digest."""
    size, mtime_ns, mode, digest = version
    return Entry(path, EntryKind.FILE, size, mtime_ns, mode, version_id, digest)  # type: ignore[arg-type]
