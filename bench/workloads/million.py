"""w8: the same requests to a cluster of a few thousand files and to one of a million, a batch to each by turns.

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

FEW = 4_000
#: How often each request is made of each cluster.
REQUESTS = {"stat": 400, "stat again": 400, "open": 400, "list of 1,000": 40, "create 4 KiB": 160, "delete": 160}
#: So many batches of each request go to each cluster. Were single requests sent by turns, each would find a master that
#: slept for one request and was moved to a core by chance: with equal catalogs one was then twice as fast as the other.
BATCHES = 8
#: Files that are asked about before, so that neither master has just started. None of them is asked about again.
WARM_UP = 2_000
CREATED_BYTES = 4096
#: A master that only hears its nodes uses less than this of a core.
AT_REST_CORES = 0.05
REST_SECONDS_MAX = 120.0
SEEDED_NODES = 3
#: The seeded nodes are waited for, not held for dead, until the measurement is over.
PATIENCE = {"safe_mode_seconds": 86_400, "left_seconds": 172_800, "dead_seconds": 86_400}


class _Store:
    """One of the two clusters. Used by one thread."""

    def __init__(self, cluster: Cluster, dfs: Dfs, filled: Filled, chance: random.Random) -> None:
        self._cluster = cluster
        self._dfs = dfs
        self._filled = filled
        numbers = chance.sample(range(filled.files), FEW)
        #: Each is handed out once.
        self._fresh = iter(numbers)
        self._asked: list[str] = []
        self._created = 0
        #: What prepares a request, which is not timed, and gives what is timed.
        self._prepare: dict[str, Callable[[], Callable[[], object]]] = {
            "stat": self._stat,
            "stat again": self._stat_again,
            "open": self._open,
            "list of 1,000": self._list,
            "create 4 KiB": self._create,
            "delete": self._delete,
        }

    def warm_up(self) -> None:
        """Let the master come to know its directories and the upper pages of its indices."""
        for _ in range(WARM_UP // 2):
            self._dfs.stat(self._filled.path(next(self._fresh)))
            self._dfs.open(self._filled.path(next(self._fresh))).close()

    def batch(self, name: str, times: int) -> tuple[list[float], float]:
        """How many ms each of so many requests took, and the master's processor time for one of them, in ms."""
        timed = [self._prepare[name]() for _ in range(times)]
        taken = []
        used = self._cluster.master_seconds()
        for request in timed:
            begun = time.perf_counter()
            request()
            taken.append((time.perf_counter() - begun) * 1000)
        return taken, (self._cluster.master_seconds() - used) * 1000 / times

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
    """Median and 99th percentile of each request at both clusters, what it costs each master, and the factors."""
    with ExitStack() as parts:
        few = parts.enter_context(_filled(run.cluster, FEW))
        second = parts.enter_context(_second(run.cluster))
        many = parts.enter_context(_filled(second, run.options.files))
        parts.enter_context(_apart((run.cluster, second)))
        for store in (few, many):
            store.warm_up()
        _await_rest((run.cluster, second))
        for name, times in REQUESTS.items():
            taken: defaultdict[str, list[float]] = defaultdict(list)
            used: defaultdict[str, list[float]] = defaultdict(list)
            for number in range(BATCHES):
                # Each of the two is first in half of the turns.
                for which, store in (("few", few), ("many", many))[:: 1 if number % 2 else -1]:
                    of_each, of_master = store.batch(name, times // BATCHES)
                    taken[which] += of_each
                    used[which].append(of_master)
            _note(run, name, taken, used)


@contextmanager
def _apart(clusters: Sequence[Cluster]) -> Iterator[None]:
    """This process on one processor, both masters on another. Left to chance, the one that shares a processor with its
    client answers in half the time, with equal catalogs too.
    """
    mine = os.sched_getaffinity(0)
    first, *others = sorted(mine)
    if others:
        os.sched_setaffinity(0, {first})
        for cluster in clusters:
            cluster.pin_master({others[0]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


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


def _note(run: Run, name: str, taken: dict[str, list[float]], used: dict[str, list[float]]) -> None:
    middle, high = (
        {which: statistics.quantiles(times, n=100)[cut] for which, times in taken.items()} for cut in (49, 98)
    )
    work = {which: statistics.median(batches) for which, batches in used.items()}
    for which, files in (("few", FEW), ("many", run.options.files)):
        run.note(f"w8 {name} p50, {files:,} files", middle[which], "ms")
        run.note(f"w8 {name} p99, {files:,} files", high[which], "ms")
        run.note(f"w8 {name} of the master, {files:,} files", work[which], "ms")
    for what, found in (("", middle), (" p99", high), (" of the master", work)):
        run.note(f"w8 {name}{what}, factor", found["many"] / found["few"], "times")


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
        yield _Store(cluster, dfs, filled, random.Random(files))


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
