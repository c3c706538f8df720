"""What the library hands to its callers: results, progress, and the shape of a connection.

Structs rather than dataclasses: those are compiled when the module is loaded, which each short command would pay.
"""

import os
from collections.abc import Callable
from typing import Literal

import msgspec

from dfs_wire.errors import DfsError
from dfs_wire.messages import ChunkInfo, Entry, NodeInfo, StatusReply

#: A name on this machine.
LocalPath = str | os.PathLike[str]

ProgressKind = Literal["start", "bytes", "done", "skipped"]


class ProgressEvent(msgspec.Struct, frozen=True):
    """How far one file is. `bytes_total` is -1 where the source does not tell its size."""

    kind: ProgressKind
    path: str
    bytes_done: int
    bytes_total: int


#: Called in the thread that called the library, never by two threads at once. What it raises ends the operation.
Progress = Callable[[ProgressEvent], None]


class Uploaded(msgspec.Struct, frozen=True):
    """A version that the cluster acknowledged: durable in as many copies as its policy asks for.

    `bytes_sent` leaves out what the cluster held already.
    """

    path: str
    version: int
    size: int
    digest: bytes
    bytes_sent: int


class UploadResult(msgspec.Struct, frozen=True):
    """What became of one file of `upload_many`: exactly one of `uploaded` and `error` is set; `source` as given."""

    source: LocalPath
    path: str
    uploaded: Uploaded | None = None
    error: DfsError | None = None

    @property
    def ok(self) -> bool:
        """Whether the file is stored."""
        return self.error is None


class Downloaded(msgspec.Struct, frozen=True):
    """A version that was read in full and verified. `target` is None where it went to a file object."""

    path: str
    target: LocalPath | None
    version: int
    size: int
    digest: bytes


class DownloadResult(msgspec.Struct, frozen=True):
    """What became of one file of `download_many`: exactly one of `downloaded` and `error` is set; `target` as given."""

    path: str
    target: LocalPath
    downloaded: Downloaded | None = None
    error: DfsError | None = None

    @property
    def ok(self) -> bool:
        """Whether the file stands at its target."""
        return self.error is None


class FileStat(msgspec.Struct, frozen=True):
    """One entry in full. `policy_from` is the directory whose policy holds; empty: the cluster's default.

    `chunks` is empty unless they were asked for.
    """

    entry: Entry
    copies_wanted: int
    policy_from: str
    chunks: list[ChunkInfo]


class ClusterStatus(msgspec.Struct, frozen=True):
    """The cluster at a glance, and its nodes."""

    reply: StatusReply
    nodes: list[NodeInfo]
