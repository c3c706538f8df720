"""The rules of `cp` for a destination, the same for uploads, downloads and moves. Pure: no file is touched.

An existing directory, or a path that ends with `/`, takes each source under the source's own name; any other path
is the new name of the one source. A source that means contents (`.`, `src/.`, `/`) goes straight into the directory.
"""

from collections.abc import Sequence

import msgspec

from dfs_client.remote_paths import join, last_name, means_contents, means_directory
from dfs_wire.errors import UsageError, WrongKindError
from dfs_wire.messages import EntryKind

#: Standard input as a source, standard output as a destination.
STANDARD_STREAM = "-"


class Source(msgspec.Struct, frozen=True):
    """Something to copy or move. `name` is what it is called inside a directory: empty for "its contents",
    None for standard input, which has no name.
    """

    text: str
    kind: EntryKind
    name: str | None


class Destination(msgspec.Struct, frozen=True):
    """Where sources go. `kind` says what is there now, None for nothing; `slash`: written as a directory."""

    path: str
    kind: EntryKind | None
    slash: bool

    @property
    def is_directory(self) -> bool:
        """Whether sources go inside it."""
        return self.slash or self.kind is EntryKind.DIRECTORY


def source(text: str, kind: EntryKind, path: str | None = None) -> Source:
    """A source as written. `path` is its normal form, where the text alone may name nothing (`.` in a terminal)."""
    if kind is EntryKind.DIRECTORY and means_contents(text):
        return Source(text, kind, "")
    return Source(text, kind, last_name(path or text))


def unusable(text: str) -> Source:
    """A source that failed already: the rules about several sources count it all the same."""
    return Source(text, EntryKind.FILE, last_name(text))


def standard_input() -> Source:
    """Standard input: a file without a name."""
    return Source(STANDARD_STREAM, EntryKind.FILE, None)


def destination(text: str, path: str, kind: EntryKind | None) -> Destination:
    """A destination as written (`text`), in normal form (`path`), and what is there now."""
    return Destination(path, kind, means_directory(text))


def split_arguments(arguments: Sequence[str], default: str) -> tuple[list[str], str]:
    """Sources and destination: with two or more arguments the last is the destination, with one it is `default`.

    Raises:
        UsageError: there is no source.
    """
    if not arguments:
        raise UsageError("name at least one source")
    if len(arguments) == 1:
        return [arguments[0]], default
    return list(arguments[:-1]), arguments[-1]


def place(sources: Sequence[Source], target: Destination) -> list[str]:
    """The new path of each source, in their order.

    Raises:
        UsageError: several sources without a directory, an input without a name, or two sources with one new path.
        WrongKindError: the destination is a file where only a directory fits.
    """
    _check_destination(sources, target)
    paths = [_path_of(each, target) for each in sources]
    taken: dict[str, Source] = {}
    for each, path in zip(sources, paths, strict=True):
        if path in taken and not (each.name == "" and taken[path].name == ""):
            raise UsageError(f"{taken[path].text} and {each.text} would both become {path}; copy them one at a time")
        taken[path] = each
    return paths


def _check_destination(sources: Sequence[Source], target: Destination) -> None:
    if target.kind is EntryKind.FILE:
        if target.slash:
            raise WrongKindError(f"{target.path} is a file; leave out the / at its end to replace it")
        if len(sources) > 1:
            raise WrongKindError(f"{target.path} is a file; several sources need a directory as destination")
        if sources[0].kind is EntryKind.DIRECTORY:
            raise WrongKindError(f"{target.path} is a file and cannot take the directory {sources[0].text}")
    elif len(sources) > 1 and not target.is_directory:
        raise UsageError(f"several sources need a directory as destination; write {target.path}/ to make one")


def _path_of(each: Source, target: Destination) -> str:
    if not target.is_directory:
        return target.path
    if each.name is None:
        raise UsageError(f"standard input has no name; write the whole name, such as {join(target.path, 'NAME')}")
    return join(target.path, each.name)
