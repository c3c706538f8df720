"""Many files in one request: what `Open` and `Stat` give for one."""

import msgspec

from dfs_wire.messages.base import Header, Item
from dfs_wire.messages.download import ReplicaTicket
from dfs_wire.messages.tree import Entry


class OpenMany(Header, frozen=True, kw_only=True):
    """Open many small files. Body: list of `FileWanted`; reply body: `OpenedFiles`."""


class FileWanted(Item, frozen=True):
    """A file by path or, where `version` is not 0, by version id."""

    path: str
    version: int = 0


class OpenManyReply(Header, frozen=True, kw_only=True):
    """All tickets of the reply expire at `expires_at_ms` of the master's time."""

    expires_at_ms: int
    time_ms: int


class SharedExtent(Item, frozen=True):
    """An extent whose chunk is the one with the number `chunk` among the reply's chunks."""

    chunk: int
    offset: int
    length: int


class OpenedFile(Item, frozen=True):
    """One version, its extents in order; with a `code`, an error instead."""

    version: int
    size: int
    digest: bytes
    mtime_ns: int
    mode: int
    extents: list[SharedExtent]
    code: str = ""
    message: str = ""


class OpenedChunk(Item, frozen=True):
    """A chunk that extents of the reply lie in, once for all of them. Replicas come best first."""

    digest: bytes
    size: int
    replicas: list[ReplicaTicket]


class OpenedFiles(msgspec.Struct, frozen=True):
    """What was opened, in the order of the request."""

    files: list[OpenedFile]
    chunks: list[OpenedChunk]


class StatMany(Header, frozen=True, kw_only=True):
    """Look many names up. Body: list of paths; reply body: list of `FoundEntry`."""


class StatManyReply(Header, frozen=True, kw_only=True):
    """Header of the reply to `StatMany`."""


class FoundEntry(Item, frozen=True):
    """What one path names; with a `code`, an error instead."""

    entry: Entry | None
    code: str = ""
    message: str = ""
