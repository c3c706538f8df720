"""What a path may look like. Client and master judge it by the same rules; a name is never a path on anybody's disk."""

import re

from dfs_wire.errors import UsageError
from dfs_wire.limits import NAME_BYTES_MAX, PATH_BYTES_MAX

#: Control characters would let a name forge lines in a terminal, a log or the line protocol.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def split_path(path: str) -> tuple[str, ...]:
    """The names of an absolute path from the root down; `/` has none.

    Names are stored exactly as given: no case folding, no Unicode normalisation.

    Raises:
        UsageError: the path is not absolute, has an empty name, `.` or `..`, is too long, holds a control
            character or cannot be written as UTF-8.
    """
    if path == "/":
        return ()
    names = tuple(path[1:].split("/"))
    if not path.startswith("/"):
        raise UsageError(f"{path!r} is not an absolute path; begin it with /")
    if _CONTROL.search(path):
        raise UsageError(f"{path!r} holds a control character; rename it")
    for name in names:
        if name in ("", ".", ".."):
            raise UsageError(f"{path!r} holds the name {name!r}; leave out empty names, . and ..")
    _check_lengths(path, names)
    return names


def _check_lengths(path: str, names: tuple[str, ...]) -> None:
    if len(path) <= NAME_BYTES_MAX and path.isascii():
        return  # the usual case, without encoding anything
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{path!r} cannot be written as UTF-8; rename it") from error
    if len(encoded) > PATH_BYTES_MAX:
        raise UsageError(f"a path of {len(encoded)} bytes is over the limit of {PATH_BYTES_MAX}; shorten it")
    for name in names:
        if len(name.encode()) > NAME_BYTES_MAX:
            raise UsageError(f"the name {name!r} has over {NAME_BYTES_MAX} bytes; shorten it")


def join_path(names: tuple[str, ...]) -> str:
    """The path of these names: the reverse of `split_path`."""
    return "/" + "/".join(names)
