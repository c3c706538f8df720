"""Finding the way down the tree, for every mutation that takes a path."""

from typing import NamedTuple

from dfs_master.catalog.mutations.base import Context
from dfs_master.catalog.rows import EntryRow
from dfs_wire.errors import AlreadyExistsError, ConflictError, CorruptError, NotFoundError, UsageError, WrongKindError
from dfs_wire.messages import EXPECT_ABSENT, EXPECT_ANY, EntryKind
from dfs_wire.paths import join_path, split_path

#: The words of `entries.kind`, as plain text: the driver takes a detour for what is only almost a str.
FILE = EntryKind.FILE.value
DIRECTORY = EntryKind.DIRECTORY.value

#: Directories that nobody asked for by name get these permission bits.
IMPLICIT_MODE = 0o755
MODE_BITS = 0o7777

_NS_PER_MS = 1_000_000


class Place(NamedTuple):
    """Where a path leads: the directories above it that exist, the names of those that do not, its own name."""

    path: str
    #: From the root down; never empty.
    directories: tuple[EntryRow, ...]
    #: Directories between the last of `directories` and the entry that do not exist yet.
    missing: tuple[str, ...]
    name: str
    entry: EntryRow | None

    @property
    def parent(self) -> EntryRow:
        """The lowest directory that exists."""
        return self.directories[-1]

    def copies(self, default: int) -> int:
        """The policy that holds here: the nearest directory's own, else the cluster's."""
        for row in reversed(self.directories):
            if row.copies is not None:
                return row.copies
        return default


def find(context: Context, path: str) -> Place:
    """Follow a path as far as it goes.

    Raises:
        UsageError: it is malformed, or it is `/`.
        WrongKindError: a file is where it needs a directory.
    """
    names = split_path(path)
    if not names:
        raise UsageError("/ is the root itself; name something in it")
    child = context.tree.child
    parent = root(context)
    directories = [parent]
    last = len(names) - 1
    for depth in range(last):
        entry = child(parent.id, names[depth])
        if entry is None:
            return Place(path, tuple(directories), names[depth:-1], names[-1], None)
        if entry.kind != DIRECTORY:
            raise WrongKindError(f"{join_path(names[: depth + 1])} is a file, not a directory; choose another path")
        directories.append(entry)
        parent = entry
    return Place(path, tuple(directories), (), names[last], child(parent.id, names[last]))


def find_existing(context: Context, path: str) -> tuple[Place, EntryRow]:
    """Follow a path to its end.

    Raises:
        NotFoundError: nothing has this name.
        UsageError, WrongKindError: see `find`.
    """
    place = find(context, path)
    if place.entry is None:
        raise NotFoundError(f"{path} does not exist")
    return place, place.entry


def root(context: Context) -> EntryRow:
    """The directory `/`."""
    row = context.tree.root()
    if row is None:
        raise CorruptError("the metadata has no root directory; restore a backup of it")
    return row


def make_parents(context: Context, place: Place) -> EntryRow:
    """The directory that the entry lies in, after making what is missing above it."""
    parent = place.parent
    for name in place.missing:
        parent = add_directory(context, parent, name, IMPLICIT_MODE, context.now_ms * _NS_PER_MS)
    return parent


def add_directory(context: Context, parent: EntryRow, name: str, mode: int, mtime_ns: int) -> EntryRow:
    """A new, empty directory. Nothing has the name yet."""
    row = EntryRow(
        id=context.staging.new_id(),
        parent_id=parent.id,
        name=name,
        kind=DIRECTORY,
        version_id=None,
        mode=mode & MODE_BITS,
        mtime_ns=mtime_ns,
        copies=None,
    )
    context.tree.put(row)
    return row


def require_expected(path: str, entry: EntryRow | None, expect: int) -> None:
    """Judge what a request says of its target. A directory counts as version 0.

    Raises:
        AlreadyExistsError: it exists and should not.
        ConflictError: it is another version, or gone; details: `version`.
    """
    if expect == EXPECT_ANY:
        return
    if expect == EXPECT_ABSENT:
        if entry is not None:
            raise AlreadyExistsError(f"{path} exists; choose another name, or allow to replace it")
        return
    current = 0 if entry is None else entry.version_id or 0
    if current != expect:
        raise ConflictError(f"{path} was changed by somebody else; look at it again", version=current)
