"""Carrying a sync's plan out, so that nothing goes before all that is to come is there.

What failed on the way may be the only successor of what would go: the same content under a new name. So the removals
come last, and not at all when anything failed. What takes the place of something of the other kind is brought whole
under a temporary name beside it first. Then the old is renamed aside, the new takes its name, and the old is removed:
whenever that ends, by an error or by a kill, one of the two is there whole, under its own name or the temporary one.
"""

import os
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from dfs_client.batch import Batch
from dfs_client.remote_paths import join
from dfs_client.sync import SyncItem, SyncPlan, Tree, same_size_and_time, tops_of
from dfs_client.sync_targets import Places, Target
from dfs_wire.errors import ConflictError, DfsError
from dfs_wire.messages import EntryKind

if TYPE_CHECKING:
    from dfs_client.types import Progress

#: How temporary names begin. What a kill left goes with the next `--delete`, since the source has no such name.
TEMPORARY_PREFIX = ".dfs-sync-"

NOTHING_REMOVED = "warning: nothing is removed, because not all went well before"


class SyncRun:
    """One plan on its way. `source` and `target` are the trees that it was made from. Used once, by one thread."""

    def __init__(self, plan: SyncPlan, source: Tree, target: Tree, side: Target, batch: Batch) -> None:
        self._plan = plan
        self._source = source
        self._target = target
        self._side = side
        self._batch = batch
        #: Directories whose time or mode is to be set.
        self._changed = set(plan.touch)
        #: Steps done, by action.
        self.done = {"replace": 0, "make": 0, "copy": 0, "delete": 0}

    def carry_out(self, progress: "Progress | None", warn: Callable[[str], None]) -> None:
        """Do all steps; directories get their times last, when nothing changes in them any more.

        Raises:
            DfsError: the target does not say what it holds now; what fails else is in the batch.
        """
        apart = self._plan.successors()
        places = {each: each for each in (*self._plan.make, *self._plan.copy) if each not in apart}
        for action, relative, error in self._bring(places, progress):
            self._report(action, relative, error)
        if self._plan.replace:
            self._replace(apart, progress)
        if self._plan.delete and self._batch.failed:
            warn(NOTHING_REMOVED)
        elif self._plan.delete:
            self._delete()
        self._touch()

    def _bring(self, places: Places, progress: "Progress | None") -> Iterator[tuple[str, str, DfsError | None]]:
        """Make and copy to these places; each step with its action and its error, if any."""
        kinds = {relative: self._source[relative].kind for relative in places}
        directories = {each: place for each, place in places.items() if kinds[each] is EntryKind.DIRECTORY}
        for relative, error in self._side.make(directories):
            yield "make", relative, error
        files = {each: place for each, place in places.items() if kinds[each] is EntryKind.FILE}
        for relative, error in self._side.copy(files, progress) if files else ():
            yield "copy", relative, error

    def _replace(self, successors: dict[str, str], progress: "Progress | None") -> None:
        """Bring what takes another's place, and let them change places once all of it is there."""
        refusal = ConflictError("is not replaced, because not all went well before; sync again when that is mended")
        if self._batch.failed:
            for top in self._plan.replace:
                self._report("replace", top, refusal)
            return
        token = os.urandom(6).hex()
        names = {top: _beside(top, f"{token}-{number}") for number, top in enumerate(self._plan.replace)}
        places = {each: names[top] + ".new" + each.removeprefix(top) for each, top in successors.items()}
        steps = list(self._bring(places, progress))
        self._changed.update(_parent(top) for top in self._plan.replace)
        if any(error is not None for _, _, error in steps):
            for action, relative, error in steps:
                if error is not None:
                    self._report(action, relative, error)
            for top in self._plan.replace:
                self._report("replace", top, refusal)
            self._discard([name + ".new" for name in names.values()])
            return
        disturbed = self._disturbed(self._plan.replace)
        replaced = {top for top, name in names.items() if self._swap(top, name, disturbed=top in disturbed)}
        for action, relative, error in steps:
            if successors[relative] in replaced:
                self._report(action, relative, error)

    def _swap(self, top: str, name: str, *, disturbed: bool) -> bool:
        """Let the new, which stands beside it, take the place of the old; whether it did.

        Where neither the new nor the old gets the name, both stay beside it and are listed.
        """
        new, old = name + ".new", name + ".old"
        error: DfsError | None = _changed_meanwhile() if disturbed else self._move(top, old)
        back: DfsError | None = None
        if error is None:
            error = self._move(new, top)
            if error is not None:
                back = self._move(old, top)
        self._report("replace", top, error)
        if back is not None:
            self._report("replace", old, back)
        else:
            self._discard([old] if error is None else [new])
        return error is None

    def _move(self, relative: str, new: str) -> DfsError | None:
        try:
            self._side.move(relative, new)
        except DfsError as error:
            return error
        return None

    def _discard(self, relatives: list[str]) -> None:
        """Remove what stands under temporary names."""
        for relative, error in self._side.delete(relatives):
            if error is not None:
                self._report("delete", relative, error)

    def _delete(self) -> None:
        disturbed = self._disturbed(self._plan.delete)
        for relative in self._plan.delete:
            if relative in disturbed:
                self._report("delete", relative, _changed_meanwhile())
        for relative, error in self._side.delete([each for each in self._plan.delete if each not in disturbed]):
            self._report("delete", relative, error)

    def _disturbed(self, tops: Collection[str]) -> set[str]:
        """Those of the names where something is now that the plan did not know: somebody else's, and no surplus.

        Between the listing and this lie all the copies, which may take hours.
        """
        now = self._side.look(tops)
        above = tops_of(now, tops)
        return {above[relative] for relative, item in now.items() if not _as_listed(self._target.get(relative), item)}

    def _touch(self) -> None:
        directories = [each for each in self._changed if _is_directory(self._source.get(each))]
        for relative, error in self._side.touch(sorted(directories, key=lambda each: each.split("/"))):
            if error is not None:
                self._batch.add_failed(relative, error, {"action": "touch", "path": relative})

    def _report(self, action: str, relative: str, error: DfsError | None) -> None:
        record: dict[str, object] = {"action": action, "path": relative}
        if error is not None:
            self._batch.add_failed(relative, error, record)
            return
        self._batch.add_done({**record, "status": "done"})
        self.done[action] += 1
        self._changed.add(_parent(relative))
        if action == "make":
            self._changed.add(relative)


def _changed_meanwhile() -> ConflictError:
    return ConflictError("changed in the target while the rest was synced; sync again")


def _as_listed(listed: SyncItem | None, now: SyncItem) -> bool:
    """Whether nothing came or changed. The time of a directory says nothing that its files do not say."""
    if listed is None or listed.kind is not now.kind:
        return False
    return now.kind is EntryKind.DIRECTORY or same_size_and_time(listed, now)


def _is_directory(item: SyncItem | None) -> bool:
    return item is not None and item.kind is EntryKind.DIRECTORY


def _beside(relative: str, token: str) -> str:
    return join(_parent(relative), TEMPORARY_PREFIX + token) if _parent(relative) else TEMPORARY_PREFIX + token


def _parent(relative: str) -> str:
    return relative.rpartition("/")[0]
