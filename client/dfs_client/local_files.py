"""The border where errors of the operating system about local files become ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dfs_client.local_errors import from_os_error
from dfs_wire.errors import DfsError

PERMISSION_BITS = 0o7777


@contextmanager
def mapping_os_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an `OSError` about a local file into the `DfsError` that tells its user what to do.

    Keep the network out of the block: its errors are `DfsError`s already.
    """
    try:
        yield
    except OSError as error:
        raise mapped(error, path) from error


def mapped(error: OSError, path: str | os.PathLike[str]) -> DfsError:
    """The same for who catches it: a plain `try` costs nothing where nothing goes wrong."""
    if error.filename is None:
        error.filename = os.fspath(path)
    return from_os_error(error)
