"""What a path may look like. Client and master judge it by the same rules; a name is never a path on anybody's disk."""

from collections.abc import Iterable

from dfs_wire.errors import UsageError
from dfs_wire.limits import NAME_BYTES_MAX, PATH_BYTES_MAX


def split_path(path: str) -> tuple[str, ...]:
    """The names of a path from the root down; `/` has none.

    The leading slash may be missing; a trailing one and repeated ones say nothing. Names are stored exactly as
    given: no case folding, no Unicode normalisation, control characters included. Whoever prints a name for people
    or into a line of text escapes it.

    Raises:
        UsageError: the path is empty, has a name `.` or `..`, holds a NUL, is too long or cannot be written as UTF-8.
    """
    if not path:
        raise UsageError("a path is empty; write / for the root directory")
    if "\0" in path:
        raise UsageError(f"{path!r} holds a NUL character; rename it")
    names = tuple(filter(None, path.split("/")))
    if "." in names or ".." in names:
        name = ".." if ".." in names else "."
        raise UsageError(f"{path!r} holds the name {name!r}; write the path without it")
    _check_lengths(path, names)
    return names


def _check_lengths(path: str, names: tuple[str, ...]) -> None:
    if len(path) <= NAME_BYTES_MAX and path.isascii():
        return  # the usual case, without encoding anything
    try:
        sizes = [len(name.encode()) for name in names]
    except UnicodeEncodeError as error:
        raise UsageError(f"{path!r} cannot be written as UTF-8; rename it") from error
    path_bytes = sum(sizes) + len(sizes)
    if path_bytes > PATH_BYTES_MAX:
        raise UsageError(f"a path of {path_bytes} bytes is over the limit of {PATH_BYTES_MAX}; shorten it")
    for name, size in zip(names, sizes, strict=True):
        if size > NAME_BYTES_MAX:
            raise UsageError(f"the name {name!r} has over {NAME_BYTES_MAX} bytes; shorten it")


def join_path(names: Iterable[str]) -> str:
    """The path of these names: the reverse of `split_path`."""
    return "/" + "/".join(names)
