"""w8: the same requests to a cluster of a thousand files and to one of a million, by turns.

The rows are written into the metadata databases while their masters are stopped (`bench.catalogs`). The nodes that they
name never come, so the masters wait in safe mode and heal nothing; new files go to three nodes that are there.
"""

import io
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.catalogs import CHUNK_BYTES, Filled, add_nodes, fill
from bench.cluster import Cluster
from bench.recording import Run
from bench.workloads.content import expect
from dfs_client.api import Dfs, connect

FEW = 1_000
#: How often each request is made of each cluster; every path is asked for once, so FEW bounds it.
STATS, OPENS, DELETES, CREATES, LISTS = 400, 400, 150, 150, 30
CREATED_BYTES = 4096
#: A master that only hears its nodes uses less than this of a core.
AT_REST_CORES = 0.05
REST_SECONDS_MAX = 120.0
SEEDED_NODES = 3
#: The seeded nodes are waited for, not held for dead, until the measurement is over.
PATIENCE = {"safe_mode_seconds": 86_400, "left_seconds": 172_800, "dead_seconds": 86_400}


class _Store:
    """One of the two clusters. Used by one thread."""

    def __init__(self, dfs: Dfs, filled: Filled, chance: random.Random) -> None:
        self._dfs = dfs
        self._filled = filled
        numbers = chance.sample(range(filled.files), min(filled.files, FEW))
        #: Each is handed out once.
        self._fresh = iter(numbers)
        self._asked: list[str] = []
        self._created = 0

    def work(self) -> dict[str, tuple[int, Callable[[], Callable[[], object]]]]:
        """Request -> how often, and what prepares one, which is not timed, and gives what is timed."""
        return {
            "stat": (STATS, self._stat),
            "stat again": (STATS, self._stat_again),
            "open": (OPENS, self._open),
            "list of 1,000": (LISTS, self._list),
            "create 4 KiB": (CREATES, self._create),
            "delete": (DELETES, self._delete),
        }

    def _stat(self) -> Callable[[], object]:
        path = self._filled.path(next(self._fresh))
        self._asked.append(path)
        return lambda: expect(CHUNK_BYTES, self._dfs.stat(path).entry.size)

    def _stat_again(self) -> Callable[[], object]:
        path = self._asked.pop()
        return lambda: self._dfs.stat(path)

    def _open(self) -> Callable[[], object]:
        path = self._filled.path(next(self._fresh))
        return lambda: self._dfs.open(path).close()

    def _list(self) -> Callable[[], object]:
        directory = self._filled.directory(random.randrange(self._filled.files))
        # The last directory of a catalog may be shorter.
        return lambda: expect(True, sum(1 for _ in self._dfs.list(directory)) > 0)

    def _create(self) -> Callable[[], object]:
        content = io.BytesIO(os.urandom(CREATED_BYTES))
        self._created += 1
        path = f"/created/{self._created}"
        return lambda: self._dfs.upload(content, path)

    def _delete(self) -> Callable[[], object]:
        path = self._filled.path(next(self._fresh))
        return lambda: self._dfs.remove(path)


def million_files(run: Run) -> None:
    """Median and 99th percentile of each request at both clusters, and the factor between the medians."""
    with ExitStack() as parts:
        few = parts.enter_context(_filled(run.cluster, FEW))
        second = parts.enter_context(_second(run.cluster))
        many = parts.enter_context(_filled(second, run.options.files))
        _await_rest((run.cluster, second))
        for name, (times, _) in few.work().items():
            found: defaultdict[str, list[float]] = defaultdict(list)
            for number in range(times):
                # By turns, and each of the two is first in half of them.
                for which, store in (("few", few), ("many", many))[:: 1 if number % 2 else -1]:
                    _, prepare = store.work()[name]
                    timed = prepare()
                    begun = time.perf_counter()
                    timed()
                    found[which].append((time.perf_counter() - begun) * 1000)
            _note(run, name, found)


def _await_rest(clusters: Sequence[Cluster]) -> None:
    """Until the masters have done what a start makes them do, which is another figure than this one."""
    deadline = time.monotonic() + REST_SECONDS_MAX
    while time.monotonic() < deadline:
        before = [cluster.cpu_seconds()["master"] for cluster in clusters]
        time.sleep(1.0)
        used = [cluster.cpu_seconds()["master"] - at for cluster, at in zip(clusters, before, strict=True)]
        if max(used) < AT_REST_CORES:
            return
    raise RuntimeError(f"the masters did not come to rest within {REST_SECONDS_MAX:.0f} s of their start")


def _note(run: Run, name: str, found: dict[str, list[float]]) -> None:
    middle, high = (
        {which: statistics.quantiles(times, n=100)[cut] for which, times in found.items()} for cut in (49, 98)
    )
    for which, files in (("few", FEW), ("many", run.options.files)):
        run.note(f"w8 {name} p50, {files:,} files", middle[which], "ms")
        run.note(f"w8 {name} p99, {files:,} files", high[which], "ms")
    run.note(f"w8 {name}, factor", middle["many"] / middle["few"], "times")
    run.note(f"w8 {name} p99, factor", high["many"] / high["few"], "times")


@contextmanager
def _filled(cluster: Cluster, files: int) -> Iterator[_Store]:
    """A cluster that runs, and holds so many files in its catalog."""
    with _at(cluster):
        with connect() as dfs:
            for name, value in PATIENCE.items():
                dfs.admin.set_setting(name, str(value))
        cluster.run("dfs", "stop")
        databases = list(cluster.home.rglob("master/metadata.db"))
        if len(databases) != 1:
            raise RuntimeError(
                "the database of a master in a container cannot be written from here; use ENGINE=process"
            )
        filled = fill(databases[0], files, staying=add_nodes(databases[0], SEEDED_NODES))
        cluster.run("dfs", "start")
        dfs = connect()
    with dfs:
        expect(files, dfs.status().reply.files)
        yield _Store(dfs, filled, random.Random(files))


@contextmanager
def _second(first: Cluster) -> Iterator[Cluster]:
    """One more cluster beside the run's own, in a home of its own."""
    cluster = Cluster(first.engine, first.home.parent / "second")
    with _at(cluster):
        cluster.deploy()
    try:
        yield cluster
    finally:
        with _at(cluster):
            cluster.destroy()


@contextmanager
def _at(cluster: Cluster) -> Iterator[None]:
    """Commands of ours mean this cluster."""
    before = os.environ["DFS_HOME"]
    os.environ["DFS_HOME"] = str(cluster.home)
    try:
        yield
    finally:
        os.environ["DFS_HOME"] = before
