"""A mixed load for minutes: errors, times of each verb, and whether the servers' memory stays flat."""

import os
import random
import shutil
import statistics
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from bench.cluster import Cluster
from bench.recording import Run
from bench.workloads.content import MIB
from dfs_client.api import Dfs, connect
from dfs_client.types import Uploaded
from dfs_wire.errors import DfsError

SIZE_MIN = 4 * 1024
SIZE_MAX = 64 * MIB
#: How often each verb comes. Uploads and downloads move all the bytes.
WEIGHTS = {"upload": 30, "download": 30, "stat": 30, "list": 5, "remove": 5}
#: Files that one client keeps; beyond that the oldest is removed.
KEPT_FILES = 40
#: This much of the disk's free space may be written, copies included: removed bytes stay on disk for a while.
DISK_SHARE = 0.4
COPIES = 2
#: Memory is sampled this often; its slope is that of the second half, when all caches are warm.
SAMPLE_SECONDS = 1.0


@dataclass
class _Report:
    """What one client met."""

    times_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    uploaded_bytes: int = 0


def mixed_load(run: Run) -> None:
    """All clients at once until the time is over."""
    options = run.options
    budget_bytes = shutil.disk_usage(run.disk).free * DISK_SHARE / COPIES / options.clients
    context = get_context("fork")
    reports = context.Queue()
    begin = context.Event()

    def work(number: int) -> None:
        place = run.files / f"client-{number}"
        place.mkdir()
        with connect() as dfs:
            client = _Client(dfs, place, number, budget_bytes / options.seconds)
            begin.wait()
            reports.put(client.run(options.seconds))

    clients = [context.Process(target=work, args=(number,), daemon=True) for number in range(options.clients)]
    for client in clients:
        client.start()
    with _MemorySampler(run.cluster) as memory:
        before, begun = run.cluster.cpu_seconds(), time.perf_counter()
        begin.set()
        found = [reports.get(timeout=options.seconds + 300) for _ in clients]
        seconds = time.perf_counter() - begun
        cpu = {role: used - before[role] for role, used in run.cluster.cpu_seconds().items()}
    for client in clients:
        client.join()
    _note(run, found, seconds, cpu)
    for role in ("master", "nodes"):
        run.note(f"load memory of {role}, most", memory.most(role), "MiB")
        run.note(f"load memory of {role}, slope", memory.slope_per_minute(role), "MiB/min")


def _note(run: Run, found: list[_Report], seconds: float, cpu: dict[str, float]) -> None:
    for verb in WEIGHTS:
        times = sorted(each for report in found for each in report.times_ms[verb])
        if len(times) < 2:
            raise RuntimeError(f"only {len(times)} of {verb} were done; take more time: --seconds")
        cuts = statistics.quantiles(times, n=100)
        for share in (50, 95, 99):
            run.note(f"load {verb} p{share}", cuts[share - 1], "ms")
        run.note(f"load {verb}", len(times) / seconds, "ops/s")
    errors = sum((report.errors for report in found), Counter())
    run.note("load errors", sum(errors.values()), "errors")
    for name, count in errors.items():
        run.note(f"load errors: {name}", count, "errors")
    run.note("load uploaded", sum(report.uploaded_bytes for report in found) / MIB / seconds, "MiB/s")
    for role, used in cpu.items():
        run.note(f"load processor of {role}", used / seconds, "cores")


class _Client:
    """One client: does one thing after the other, each checked."""

    def __init__(self, dfs: Dfs, place: Path, number: int, bytes_per_second: float) -> None:
        self._dfs = dfs
        self._place = place
        self._root = f"/load/{number}"
        self._bytes_per_second = bytes_per_second
        self._random = random.Random(number)
        self._stored: deque[Uploaded] = deque()
        self._names = 0
        self._report = _Report()

    def run(self, seconds: float) -> _Report:
        """Go on until the time is over."""
        begun = time.perf_counter()
        while (passed := time.perf_counter() - begun) < seconds:
            verb = self._choose(passed)
            try:
                getattr(self, f"_{verb}")()
            except DfsError as error:
                self._report.errors[f"{verb}: {type(error).__name__}"] += 1
                # So that a cluster that refuses everything is not counted a million times.
                time.sleep(0.1)
        shutil.rmtree(self._place)
        return self._report

    def _choose(self, passed: float) -> str:
        if not self._stored:
            return "upload"
        if len(self._stored) > KEPT_FILES:
            return "remove"
        verbs = dict(WEIGHTS)
        if self._report.uploaded_bytes > self._bytes_per_second * passed + SIZE_MAX:
            # The share of the disk is used up for now. The last file stays: without one an upload would be due at once.
            del verbs["upload"]
            if len(self._stored) == 1:
                del verbs["remove"]
        return self._random.choices(list(verbs), list(verbs.values()))[0]

    def _upload(self) -> None:
        size = int(SIZE_MIN * (SIZE_MAX / SIZE_MIN) ** self._random.random())
        source = self._place / "source"
        source.write_bytes(os.urandom(size))
        self._names += 1
        begun = time.perf_counter()
        stored = self._dfs.upload(source, f"{self._root}/{self._names}")
        self._took("upload", begun)
        self._stored.append(stored)
        self._report.uploaded_bytes += size

    def _download(self) -> None:
        wanted = self._random.choice(self._stored)
        begun = time.perf_counter()
        back = self._dfs.download(wanted.path, self._place / "back", force=True)
        self._took("download", begun)
        self._check("download", back.digest == wanted.digest)

    def _stat(self) -> None:
        wanted = self._random.choice(self._stored)
        begun = time.perf_counter()
        found = self._dfs.stat(wanted.path)
        self._took("stat", begun)
        self._check("stat", found.entry.size == wanted.size)

    def _list(self) -> None:
        begun = time.perf_counter()
        found = sum(1 for _ in self._dfs.list(self._root))
        self._took("list", begun)
        self._check("list", found == len(self._stored))

    def _remove(self) -> None:
        begun = time.perf_counter()
        self._dfs.remove(self._stored.popleft().path)
        self._took("remove", begun)

    def _took(self, verb: str, begun: float) -> None:
        self._report.times_ms[verb].append((time.perf_counter() - begun) * 1000)

    def _check(self, verb: str, right: bool) -> None:
        if not right:
            self._report.errors[f"{verb}: wrong answer"] += 1


class _MemorySampler:
    """Reads the servers' memory while its block runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._samples: list[tuple[float, dict[str, float]]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> "_MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def most(self, role: str) -> float:
        """The most that a role took, in MiB."""
        return max(memory[role] for _, memory in self._samples)

    def slope_per_minute(self, role: str) -> float:
        """MiB a minute by which a role grew in the second half; 0 where there are too few samples to tell."""
        half = self._samples[len(self._samples) // 2 :]
        if len(half) < 2:
            return 0.0
        return statistics.linear_regression([at for at, _ in half], [memory[role] for _, memory in half]).slope * 60

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._samples.append((time.perf_counter(), self._cluster.memory_mib()))
