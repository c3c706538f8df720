"""Trees of small files for the client library: made here, stored, and fetched again."""

import os
from pathlib import Path

from dfs_client.api import Dfs, DownloadResult
from dfs_wire.messages import Entry


def make_files(directory: Path, sizes: list[int], below: str = "/tree") -> list[tuple[Path, str]]:
    """Local files with their remote names."""
    directory.mkdir(exist_ok=True)
    pairs = []
    for number, size in enumerate(sizes):
        path = directory / f"{number:04}"
        path.write_bytes(os.urandom(size))
        os.utime(path, ns=(1_600_000_000_000_000_000 + number, 1_600_000_000_000_000_000 + number))
        pairs.append((path, f"{below}/{number:04}"))
    return pairs


def put(dfs: Dfs, pairs: list[tuple[Path, str]]) -> None:
    """Upload all of them."""
    results = list(dfs.upload_many(pairs))
    assert [result.error for result in results] == [None] * len(pairs)


def fetch(dfs: Dfs, target: Path, entries: list[Entry], *, force: bool = False) -> list[DownloadResult]:
    """Download entries side by side into a directory."""
    target.mkdir(exist_ok=True)
    wanted = [(entry, target / entry.path.rpartition("/")[2]) for entry in entries]
    results = list(dfs.download_many(wanted, force=force))
    assert [(result.path, result.target) for result in results] == [(entry.path, path) for entry, path in wanted]
    return results


def files_of(dfs: Dfs, path: str = "/tree") -> list[Entry]:
    """The files below a directory."""
    return [entry for entry in dfs.walk(path) if entry.version]
