"""The tree as a plain dictionary: what every mutation must do to it, in the simplest code that can say so."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from tests.support.writing import commit_files, file_commit, make_directories, remove, rename, set_policy

from dfs_master.catalog.mutations.base import Mutation
from dfs_wire.messages import EXPECT_ABSENT, EXPECT_ANY

Names = tuple[str, ...]


class Refused(Exception):  # noqa: N818 - an outcome of the model, not a fault
    """The mutation must be refused with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Operation:
    """One mutation, as drawn."""

    kind: str
    path: str
    other: str = ""
    text: str = ""
    flag: bool = False

    def mutation(self) -> Mutation[object]:
        """What the committer is asked."""
        made: Mutation[object]
        match self.kind:
            case "commit":
                expect = EXPECT_ABSENT if self.flag else EXPECT_ANY
                made = commit_files(file_commit(self.path, self.text, expect=expect))
            case "mkdir":
                made = make_directories(self.path, exist_ok=self.flag)
            case "remove":
                made = remove(self.path, recursive=self.flag)
            case "rename":
                made = rename(self.path, self.other, expect=EXPECT_ABSENT if self.flag else EXPECT_ANY)
            case _:
                made = set_policy(self.path, 1 if self.flag else 0)
        return made


def _paths() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from("abc"), max_size=3).map(lambda names: "/" + "/".join(names))


def operations(*, policies: bool = False) -> st.SearchStrategy[Operation]:
    """Any mutation of a tree so small that they meet."""
    kinds = ["commit", "commit", "mkdir", "mkdir", "remove", "rename", "rename"] + ["policy"] * policies
    return st.builds(
        Operation, st.sampled_from(kinds), _paths(), _paths(), st.sampled_from(["x", "y", "z"]), st.booleans()
    )


@dataclass
class TreeModel:
    """Path by names -> text of a file, None for a directory. The root is the empty tuple."""

    entries: dict[Names, str | None] = field(default_factory=lambda: {(): None})

    def apply(self, operation: Operation) -> str:
        """Do it; returns the code of the refusal, empty when it was done."""
        names = tuple(name for name in operation.path.split("/") if name)
        other = tuple(name for name in operation.other.split("/") if name)
        try:
            match operation.kind:
                case "commit":
                    self._commit(names, operation.text, absent=operation.flag)
                case "mkdir":
                    self._mkdir(names, exist_ok=operation.flag)
                case "remove":
                    self._remove(names, recursive=operation.flag)
                case "rename":
                    self._rename(names, other, absent=operation.flag)
        except Refused as refused:
            return refused.code
        return ""

    def paths(self) -> dict[str, str]:
        """Every path and its kind."""
        return {
            "/" + "/".join(names): "directory" if text is None else "file"
            for names, text in self.entries.items()
            if names
        }

    def _is_file(self, names: Names) -> bool:
        return self.entries.get(names) is not None

    def _walk(self, names: Names) -> None:
        if not names:
            raise Refused("usage")
        for depth in range(1, len(names)):
            if self._is_file(names[:depth]):
                raise Refused("wrong_kind")

    def _make_parents(self, names: Names) -> None:
        for depth in range(len(names)):
            self.entries.setdefault(names[:depth], None)

    def _below(self, names: Names) -> list[Names]:
        return [each for each in self.entries if len(each) > len(names) and each[: len(names)] == names]

    def _commit(self, names: Names, text: str, *, absent: bool) -> None:
        self._walk(names)
        if names in self.entries and not self._is_file(names):
            raise Refused("wrong_kind")
        if absent and names in self.entries:
            raise Refused("exists")
        self._make_parents(names)
        self.entries[names] = text

    def _mkdir(self, names: Names, *, exist_ok: bool) -> None:
        if names:
            self._walk(names)
        if self._is_file(names):
            raise Refused("wrong_kind")
        if names in self.entries and not exist_ok:
            raise Refused("exists")
        self._make_parents(names)
        self.entries[names] = None

    def _remove(self, names: Names, *, recursive: bool) -> None:
        self._require(names)
        below = self._below(names)
        if below and not recursive:
            raise Refused("not_empty")
        for each in [names, *below]:
            del self.entries[each]

    def _require(self, names: Names) -> None:
        self._walk(names)
        if names not in self.entries:
            raise Refused("not_found")

    def _rename(self, source: Names, target: Names, *, absent: bool) -> None:
        self._require(source)
        self._walk(target)
        if len(target) > len(source) and target[: len(source)] == source:
            raise Refused("usage")
        if target[:-1] not in self.entries:
            raise Refused("not_found")
        if source == target:
            return
        if target in self.entries:
            self._replace(source, target, absent=absent)
        moved = {target + each[len(source) :]: self.entries.pop(each) for each in [source, *self._below(source)]}
        self.entries.update(moved)

    def _replace(self, source: Names, target: Names, *, absent: bool) -> None:
        if absent:
            raise Refused("exists")
        if self._is_file(source) != self._is_file(target):
            raise Refused("wrong_kind")
        if self._below(target):
            raise Refused("not_empty")
