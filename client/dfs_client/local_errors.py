"""Errors of the local file system become errors of the one tree, in one place."""

import errno

from dfs_wire.errors import (
    AlreadyExistsError,
    DfsError,
    NoSpaceError,
    NotAllowedError,
    NotEmptyError,
    NotFoundError,
    UsageError,
    WrongKindError,
)

_KINDS: dict[int, tuple[type[DfsError], str]] = {
    errno.ENOENT: (NotFoundError, "does not exist on this machine; check the path"),
    errno.EEXIST: (AlreadyExistsError, "exists on this machine; choose another name"),
    errno.ENOTEMPTY: (NotEmptyError, "is a local directory that is not empty; empty it first"),
    errno.EISDIR: (WrongKindError, "is a local directory; a file is needed here"),
    errno.ENOTDIR: (WrongKindError, "has a local file where a directory is needed; choose another path"),
    errno.EACCES: (NotAllowedError, "may not be used on this machine; change its permissions"),
    errno.EPERM: (NotAllowedError, "may not be changed on this machine; use another account"),
    errno.EROFS: (NotAllowedError, "lies on a read-only file system; choose another path"),
    errno.ENOSPC: (NoSpaceError, "does not fit: the local disk is full; make room"),
    errno.EDQUOT: (NoSpaceError, "does not fit: the local disk quota is used up; make room"),
    errno.ENAMETOOLONG: (UsageError, "is too long for this machine's file system; choose a shorter path"),
    errno.ELOOP: (UsageError, "is a circle of symbolic links; name the file itself"),
}


def from_os_error(error: OSError) -> DfsError:
    """The error that tells a user what the operating system said about a local file."""
    place = error.filename2 or error.filename
    name = "a local file" if place is None else str(place)
    kind, sentence = _KINDS.get(error.errno or 0, (DfsError, f"cannot be used: {error.strerror or error}"))
    return kind(f"{name} {sentence}")
