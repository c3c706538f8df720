"""Mutations of the tree: directories, removing, renaming, policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dfs_master.catalog.models import REMOVED_ENTRY_ID
from dfs_master.catalog.mutations.base import ClientMutation, Context, Reads, require_int64
from dfs_master.catalog.mutations.outcomes import any_done, apply_each
from dfs_master.catalog.mutations.paths import (
    DIRECTORY,
    FILE,
    MODE_BITS,
    Place,
    add_directory,
    find,
    find_existing,
    make_parents,
    require_expected,
    root,
)
from dfs_master.catalog.rows import EntryRow
from dfs_wire.errors import AlreadyExistsError, NotEmptyError, NotFoundError, UsageError, WrongKindError
from dfs_wire.limits import COPIES_MAX
from dfs_wire.messages import EXPECT_ANY, DirectorySpec, Outcome
from dfs_wire.paths import split_path


@dataclass(frozen=True, slots=True)
class MakeDirectories(ClientMutation[list[Outcome]]):
    """Make directories and what is missing above them, each with its own outcome.

    With `exist_ok` a directory that exists takes the mode and time given. Making something in a directory does not
    touch that directory's time: times are what a client set, so that a tree comes back as it was.
    """

    reply_type: ClassVar[object] = list[Outcome]

    request_id: bytes
    exist_ok: bool
    specs: Sequence[DirectorySpec]

    def apply(self, context: Context) -> list[Outcome]:
        """An outcome for each directory, in order; none of them spoils another."""
        return apply_each(context, self.specs, self._make)

    def will_read(self) -> Reads:
        """The names of the directories."""
        return Reads([spec.path for spec in self.specs])

    def row_count(self) -> int:
        """One each, and perhaps one above it."""
        return 1 + 2 * len(self.specs)

    def is_worth_remembering(self, reply: list[Outcome]) -> bool:
        """Unless all were refused."""
        return any_done(reply)

    def _make(self, context: Context, spec: DirectorySpec) -> int:
        mtime_ns = require_int64("mtime_ns", spec.mtime_ns)
        if not split_path(spec.path):
            self._change(context, spec, root(context))
            return 0
        place = find(context, spec.path)
        if place.entry is None:
            add_directory(context, make_parents(context, place), place.name, spec.mode, mtime_ns)
        else:
            self._change(context, spec, place.entry)
        return 0

    def _change(self, context: Context, spec: DirectorySpec, entry: EntryRow) -> None:
        if entry.kind != DIRECTORY:
            raise WrongKindError(f"{spec.path} is a file; choose another name for the directory")
        if not self.exist_ok:
            raise AlreadyExistsError(f"{spec.path} exists; choose another name")
        context.tree.put(entry._replace(mode=spec.mode & MODE_BITS, mtime_ns=spec.mtime_ns))


@dataclass(frozen=True, slots=True)
class Remove(ClientMutation[None]):
    """Remove a name. A tree goes in one row: it moves below the hidden entry, which the collector empties."""

    request_id: bytes
    path: str
    recursive: bool = False
    expect: int = EXPECT_ANY

    def will_read(self) -> Reads:
        """The name."""
        return Reads([self.path])

    def apply(self, context: Context) -> None:
        """Remove it.

        Raises:
            UsageError: the path is malformed or `/`.
            NotFoundError, ConflictError: it is not there, or not what was expected.
            NotEmptyError: a directory that holds something, without `recursive`.
        """
        _, entry = find_existing(context, self.path)
        require_expected(self.path, entry, self.expect)
        if entry.kind == FILE:
            drop_file(context, entry)
        elif not context.tree.has_children(entry.id):
            context.tree.drop(entry)
        elif self.recursive:
            # The id as its name: unique, and free there for ever.
            context.tree.put(entry._replace(parent_id=REMOVED_ENTRY_ID, name=str(entry.id)))
        else:
            raise NotEmptyError(f"{self.path} is not empty; remove it with all that is in it, or empty it first")


@dataclass(frozen=True, slots=True)
class Rename(ClientMutation[None]):
    """Move a file or a whole tree to a new name: one row. `expect` speaks of the target.

    A file replaces a file, a directory an empty directory. The same path twice changes nothing.
    """

    request_id: bytes
    source: str
    target: str
    expect: int = EXPECT_ANY

    def will_read(self) -> Reads:
        """Both names."""
        return Reads([self.source, self.target])

    def apply(self, context: Context) -> None:
        """Move it.

        Raises:
            UsageError: a path is malformed or `/`, or the target lies inside the source.
            NotFoundError: the source or the directory of the target does not exist.
            ConflictError: the target is not what was expected, of another kind, or not empty.
        """
        before, entry = find_existing(context, self.source)
        place = find(context, self.target)
        if any(row.id == entry.id for row in place.directories):
            raise UsageError(f"{self.source} cannot move into itself; choose a target outside it")
        if place.missing:
            raise NotFoundError(f"the directory of {self.target} does not exist; make it first")
        if place.entry is not None and place.entry.id == entry.id:
            return
        require_expected(self.target, place.entry, self.expect)
        self._replace(context, entry, place)
        context.tree.put(entry._replace(parent_id=place.parent.id, name=place.name))
        if entry.copies is None and before.copies(context.copies) != place.copies(context.copies):
            context.staging.put_policy_change(entry.id, context.now_ms)

    def _replace(self, context: Context, entry: EntryRow, place: Place) -> None:
        old = place.entry
        if old is None:
            return
        if old.kind != entry.kind:
            kinds = f"{self.source} is a {entry.kind} and {self.target} a {old.kind}"
            raise WrongKindError(f"{kinds}; remove the target first, or choose another")
        if old.kind == FILE:
            drop_file(context, old)
        elif context.tree.has_children(old.id):
            raise NotEmptyError(f"{self.target} is a directory that is not empty; empty it first, or choose another")
        else:
            context.tree.drop(old)


@dataclass(frozen=True, slots=True)
class SetPolicy(ClientMutation[None]):
    """Set the copies wanted below a directory; 0 inherits again. New commits obey it, and what is there follows."""

    request_id: bytes
    path: str
    copies: int

    def apply(self, context: Context) -> None:
        """Set it.

        Raises:
            UsageError: the path is malformed, or the number out of range.
            NotFoundError: nothing has this name.
            WrongKindError: it is a file.
        """
        if not 0 <= self.copies <= COPIES_MAX:
            raise UsageError(f"a policy asks for 1 to {COPIES_MAX} copies, or 0 to inherit; not {self.copies}")
        entry = find_existing(context, self.path)[1] if split_path(self.path) else root(context)
        if entry.kind != DIRECTORY:
            raise WrongKindError(f"{self.path} is a file; set the policy of its directory")
        if entry.copies != (self.copies or None):
            context.tree.put(entry._replace(copies=self.copies or None))
            context.staging.put_policy_change(entry.id, context.now_ms)


def drop_file(context: Context, entry: EntryRow) -> None:
    """Remove a file's name; its content stays readable for its grace."""
    context.tree.drop(entry)
    if entry.version_id is not None:
        context.content.remove_version(entry.version_id, context.now_ms)
