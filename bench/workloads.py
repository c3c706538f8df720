"""One function a workload: it takes a directory to work in and gives figures by name. All data are new bytes."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.limits import two_copies_mib_per_s
from bench.workers import together
from dfs_client.api import Dfs, connect

Figures = dict[str, float]
LARGE_MIB = 1024
SMALL_FILES = 2_000
SMALL_BYTES = 4_096
LIST_FILES = 10_000
WORKERS = 8


def large(directory: Path) -> Figures:
    """1 GiB up and down, one client, beside two copies by `dd`."""
    source, target = directory / "large", directory / "large-back"
    with source.open("wb") as file:
        for _ in range(LARGE_MIB // 16):
            file.write(os.urandom(16 * 2**20))
    limit = two_copies_mib_per_s(source, directory)
    with connect() as dfs:
        up = LARGE_MIB / _seconds(lambda: dfs.upload(source, "/large"))
        down = LARGE_MIB / _seconds(lambda: dfs.download("/large", target))
        dfs.remove("/large")
    source.unlink()
    target.unlink()
    return {
        "dd two copies, MiB/s": limit,
        "1 GiB up, MiB/s": up,
        "1 GiB up / dd": up / limit,
        "1 GiB down, MiB/s": down,
    }


def small(directory: Path) -> Figures:
    """2,000 files of 4 KiB: one by one from 8 workers, and as a tree."""
    tree = directory / "small"
    tree.mkdir()
    for number in range(SMALL_FILES):
        (tree / f"{number:05}").write_bytes(os.urandom(SMALL_BYTES))

    def mine(number: int) -> Iterator[Path]:
        return (tree / f"{each:05}" for each in range(number, SMALL_FILES, WORKERS))

    def upload(number: int, dfs: Dfs) -> int:
        return sum(dfs.upload(path, f"/one/{path.name}").size == SMALL_BYTES for path in mine(number))

    def download(number: int, dfs: Dfs) -> int:
        target = directory / f"back-{number}"
        return sum(dfs.download(f"/one/{path.name}", target, force=True).size == SMALL_BYTES for path in mine(number))

    up_one, up_one_seconds = together(WORKERS, upload)
    down_one, down_one_seconds = together(WORKERS, download)
    for path in tree.iterdir():
        path.write_bytes(os.urandom(SMALL_BYTES))
    with connect() as dfs:
        up_tree = _seconds(lambda: _all(dfs.upload_many((path, f"/tree/{path.name}") for path in tree.iterdir())))
        back = directory / "tree-back"
        back.mkdir()
        entries = list(dfs.walk("/tree"))
        down_tree = _seconds(
            lambda: _all(dfs.download_many((entry, back / Path(entry.path).name) for entry in entries))
        )
    return {
        "4 KiB up one by one, 8 workers, files/s": up_one / up_one_seconds,
        "4 KiB down one by one, 8 workers, files/s": down_one / down_one_seconds,
        "4 KiB tree up, files/s": SMALL_FILES / up_tree,
        "4 KiB tree down, files/s": SMALL_FILES / down_tree,
    }


def metadata(directory: Path) -> Figures:
    """Stats a second from 8 workers, and the list of 10,000 entries through the library."""
    empty = directory / "empty"
    empty.touch()
    with connect() as dfs:
        create = _seconds(lambda: _all(dfs.upload_many((empty, f"/list/{n:05}") for n in range(LIST_FILES))))

    def stat(number: int, dfs: Dfs) -> int:
        names = [f"/list/{n:05}" for n in range(number, LIST_FILES, WORKERS)]
        return sum(dfs.stat(name).entry.size == 0 for name in names)

    stats, stat_seconds = together(WORKERS, stat)
    with connect() as dfs:
        dfs.exists("/")
        listed = _seconds(lambda: _expect(LIST_FILES, sum(1 for _ in dfs.list("/list"))))
    return {
        "create 10,000 empty files in batches, files/s": LIST_FILES / create,
        "stat, 8 workers, ops/s": stats / stat_seconds,
        "list 10,000 entries, s": listed,
    }


WORKLOADS: dict[str, Callable[[Path], Figures]] = {"large": large, "small": small, "metadata": metadata}


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _all(results: Iterator[object]) -> None:
    """Run through results that each say whether they went well."""
    for result in results:
        error = getattr(result, "error", None)
        if error is not None:
            raise error


def _expect(wanted: int, found: int) -> None:
    if wanted != found:
        raise RuntimeError(f"{found} entries were listed, not {wanted}")
