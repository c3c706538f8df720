"""Names: look-ups, listings, changes."""

from enum import StrEnum

from dfs_wire.messages.base import Header, Item
from dfs_wire.messages.upload import EXPECT_ANY


class EntryKind(StrEnum):
    """What a name stands for."""

    FILE = "file"
    DIRECTORY = "directory"


class Copy(Item, frozen=True):
    """A node that holds something of a file."""

    node: str
    address: str


class Entry(Item, frozen=True):
    """One name in the tree. A directory has size 0, version 0 and an empty digest. `copies` only where asked for."""

    path: str
    kind: EntryKind
    size: int
    mtime_ns: int
    mode: int
    version: int
    digest: bytes
    copies: list[Copy] = []


class Stat(Header, frozen=True, kw_only=True):
    """One entry. With `chunks`, the reply's body is a list of `ChunkInfo`."""

    path: str
    chunks: bool = False


class StatReply(Header, frozen=True, kw_only=True):
    """`copies_wanted` and the directory whose policy says so (empty: the cluster's default)."""

    entry: Entry
    copies_wanted: int
    policy_from: str = ""


class ReplicaInfo(Item, frozen=True):
    """One chunk on one node. `state` is `good`, `bad` or `missing`."""

    node: str
    address: str
    state: str


class ChunkInfo(Item, frozen=True):
    """One extent of a version with the replicas of its chunk."""

    ordinal: int
    digest: bytes
    chunk_size: int
    offset: int
    length: int
    replicas: list[ReplicaInfo]


class List(Header, frozen=True, kw_only=True):
    """A page of a directory by name, from the first name behind `after`. A file lists itself.
    With `recursive` the page is of the whole tree below it, each directory before what is in it, and `after` is the
    last entry's path relative to `path`. Reply body: list of `Entry`.
    """

    path: str
    after: str = ""
    limit: int = 1000
    copies: bool = False
    recursive: bool = False


class ListReply(Header, frozen=True, kw_only=True):
    """`more`: there are names behind the last one of this page."""

    more: bool = False


class DirectorySpec(Item, frozen=True):
    """A directory to make. Missing parents are made as well."""

    path: str
    mode: int
    mtime_ns: int


class MakeDirectories(Header, frozen=True, kw_only=True):
    """Make directories. With `exist_ok` an existing directory takes the mode and time given.
    Body: list of `DirectorySpec`; reply body: list of `Outcome`.
    """

    request_id: bytes
    exist_ok: bool = True


class Remove(Header, frozen=True, kw_only=True):
    """Remove a name. A directory that is not empty needs `recursive`."""

    request_id: bytes
    path: str
    recursive: bool = False
    expect: int = EXPECT_ANY


class Rename(Header, frozen=True, kw_only=True):
    """Move a file or a whole tree to a new name. `expect` speaks of the target."""

    request_id: bytes
    source: str
    target: str
    expect: int = EXPECT_ANY


class SetPolicy(Header, frozen=True, kw_only=True):
    """Set the copies wanted below a directory; 0 inherits again."""

    request_id: bytes
    path: str
    copies: int


class DiskUsage(Header, frozen=True, kw_only=True):
    """Sums over a tree. Reply body: list of `UsageRow`, the tree first, then its direct children by name."""

    path: str


class DiskUsageReply(Header, frozen=True, kw_only=True):
    """Header of the reply to `DiskUsage`."""


class UsageRow(Item, frozen=True):
    """Files, directories (itself included) and bytes of content below a path."""

    path: str
    files: int
    directories: int
    size: int


class Space(Header, frozen=True, kw_only=True):
    """Free and used space of the cluster."""


class SpaceReply(Header, frozen=True, kw_only=True):
    """Bytes over all nodes that serve; volumes on one file system are counted once."""

    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    nodes: int
