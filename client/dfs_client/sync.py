"""What `sync` has to do to make a target tree like a source tree. Pure: both trees come in as tables."""

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from dfs_wire.messages import EntryKind

#: File systems keep times with different steps; all that matter here keep microseconds.
_TIME_STEP_NS = 1_000


@dataclass(frozen=True, slots=True)
class SyncItem:
    """One name of a tree. `kind` is None for what cannot be stored (a symbolic link, a socket); `size` in bytes."""

    relative: str
    kind: EntryKind | None
    size: int
    mtime_ns: int
    mode: int


#: A tree: relative path -> item, the root (empty path) not among them.
Tree = Mapping[str, SyncItem]

#: Whether two files of equal size have equal content.
SameContent = Callable[[SyncItem, SyncItem], bool]


@dataclass(slots=True)
class SyncPlan:
    """Relative paths of the steps; `sync_run` has their order. `touch` sets what directories keep.

    `replace` and `delete` name the top of what goes; what is below goes with it.
    """

    replace: list[str] = field(default_factory=list)
    make: list[str] = field(default_factory=list)
    copy: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    touch: list[str] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)

    def successors(self) -> dict[str, str]:
        """What is made and copied at and below the names in `replace`, each with that name."""
        return tops_of((*self.make, *self.copy), self.replace)


def tops_of(relatives: Iterable[str], tops: Collection[str]) -> dict[str, str]:
    """Those that lie at or below one of the tops, each with its top."""
    known = set(tops)
    if not known:
        return {}
    found = ((each, next((name for name in (*_parents(each), each) if name in known), None)) for each in relatives)
    return {relative: top for relative, top in found if top is not None}


def same_size_and_time(source: SyncItem, target: SyncItem) -> bool:
    """The quick check: a file that was changed and kept its size has another time."""
    return source.size == target.size and source.mtime_ns // _TIME_STEP_NS == target.mtime_ns // _TIME_STEP_NS


def plan_sync(source: Tree, target: Tree, *, same: SameContent, delete: bool) -> SyncPlan:
    """Compare two trees.

    A file and a directory of the same name are a conflict, unless `delete` allows to remove the target's.
    What cannot be stored is neither copied nor touched nor deleted, on either side; nor is anything below its name on
    the other side, where a directory may have been.
    """
    plan = SyncPlan()
    kept = {relative for relative, item in target.items() if item.kind is None}
    kept_parents = {parent for relative in kept for parent in _parents(relative)}
    blocked: set[str] = set()
    replaced: set[str] = set()
    for relative in sorted(source, key=_parents_first):
        item = source[relative]
        if item.kind is None or _is_below(relative, blocked):
            continue
        if _is_below(relative, kept):
            # A link in its parent's place would lead out of the tree.
            plan.conflicts.append((relative, "a parent of it is no directory in the target; remove that first"))
            continue
        found = None if _is_below(relative, replaced) else target.get(relative)
        if found is not None and found.kind is not item.kind:
            reason = _conflict(item, found, keeps=relative in kept_parents, delete=delete)
            if reason:
                plan.conflicts.append((relative, reason))
                blocked.add(relative)
                continue
            plan.replace.append(relative)
            replaced.add(relative)
            found = None
        _compare(item, found, same, plan)
    if delete:
        unstorable = {relative for relative, item in source.items() if item.kind is None}
        stays = kept | kept_parents | source.keys()
        plan.delete = _surplus(target, stays, done_with=replaced | blocked | unstorable)
    return plan


def _compare(item: SyncItem, found: SyncItem | None, same: SameContent, plan: SyncPlan) -> None:
    if item.kind is EntryKind.DIRECTORY:
        if found is None:
            plan.make.append(item.relative)
        elif (item.mode, item.mtime_ns // _TIME_STEP_NS) != (found.mode, found.mtime_ns // _TIME_STEP_NS):
            plan.touch.append(item.relative)
    elif found is None or not same(item, found):
        plan.copy.append(item.relative)


def _conflict(item: SyncItem, found: SyncItem, *, keeps: bool, delete: bool) -> str:
    """Why an item cannot take the place of what was found there; empty where it can.

    `keeps`: below it the target holds what is never removed.
    """
    if found.kind is None:
        return "the target holds something there that is neither a file nor a directory; remove it first"
    if keeps:
        return "the target's directory holds something that is neither a file nor a directory; remove that first"
    if delete:
        return ""
    return f"the target holds a {found.kind} where the source has a {item.kind}; use --delete to replace it"


def _surplus(target: Tree, stays: Set[str], done_with: set[str]) -> list[str]:
    """The tops of what only the target has. What is below the names in `done_with` is no matter of ours."""
    gone: set[str] = set()
    for relative in sorted(target, key=_parents_first):
        if relative not in stays and not _is_below(relative, gone) and not _is_below(relative, done_with):
            gone.add(relative)
    return sorted(gone, key=_parents_first)


def _is_below(relative: str, tops: set[str]) -> bool:
    return any(parent in tops for parent in _parents(relative)) if tops else False


def _parents(relative: str) -> list[str]:
    names = relative.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names))]


def _parents_first(relative: str) -> tuple[str, ...]:
    return tuple(relative.split("/"))
