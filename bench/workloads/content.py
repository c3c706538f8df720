"""Bytes that no cluster has seen, as files."""

import os
from collections.abc import Iterator
from pathlib import Path

MIB = 2**20


def fresh_file(path: Path, mib: int) -> Path:
    """A file of random bytes."""
    with path.open("wb", buffering=0) as file:
        for begin in range(0, mib, 16):
            file.write(os.urandom(min(16, mib - begin) * MIB))
    return path


def fresh_tree(path: Path, files: int, size: int) -> Path:
    """A directory of files of random bytes; fills an existing one anew."""
    path.mkdir(exist_ok=True)
    for number in range(files):
        (path / f"{number:05}").write_bytes(os.urandom(size))
    return path


def done(results: Iterator[object]) -> int:
    """Run through results that each say whether they went well; how many there were.

    Raises:
        DfsError: what the first failed one says.
    """
    count = 0
    for result in results:
        error = getattr(result, "error", None)
        if error is not None:
            raise error
        count += 1
    return count


def expect(wanted: object, found: object) -> None:
    """Raise RuntimeError where a measurement did not do what it claims to time."""
    if wanted != found:
        raise RuntimeError(f"{found} was found, not {wanted}")
