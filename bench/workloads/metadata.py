"""w3: empty files, stats and a listing; and stats beside clients that write as fast as the disk takes it."""

import io
import os
import statistics
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from bench import limits
from bench.recording import Run
from bench.workloads.content import MIB, expect
from dfs_client.api import Dfs, connect

FILES = 10_000
WORKERS = 8
WRITERS = 8
WRITE_SECONDS = 8.0
WRITE_MIB = 8


def empty_files(run: Run) -> None:
    """Create 10,000 empty files one by one, stat each, list them."""
    _machine(run)

    def create(number: int, dfs: Dfs) -> float:
        return sum(dfs.upload(io.BytesIO(), name).size == 0 for name in _share(number))

    def stat(number: int, dfs: Dfs) -> float:
        return sum(dfs.stat(name).entry.size == 0 for name in _share(number))

    run.rate_together("w3 create empty, 8 workers", WORKERS, "ops/s", create)
    run.rate_together("w3 stat, 8 workers", WORKERS, "ops/s", stat)
    with connect() as dfs:
        dfs.exists("/")
        run.seconds("w3 list 10,000", lambda: expect(FILES, sum(entry.size == 0 for entry in dfs.list("/list"))))


def stat_under_writes(run: Run) -> None:
    """Stats by one client while eight others write without a pause."""
    _machine(run)
    with connect() as dfs:
        for number in range(100):
            dfs.upload(io.BytesIO(), f"/list/{number:05}")
        _, quiet = _stat_times(dfs, seconds=1.0)
        context = get_context("fork")
        begin, end = context.Event(), context.Event()
        written = context.Queue()
        writers = [
            context.Process(target=lambda number=number: written.put(_write(number, begin, end)), daemon=True)
            for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        os.sync()
        begin.set()
        time.sleep(1.0)  # the buffers of the system are full by then
        count, times = _stat_times(dfs, seconds=WRITE_SECONDS)
        end.set()
        mib, seconds = (sum(each) for each in zip(*(written.get(timeout=120) for _ in writers), strict=True))
        for writer in writers:
            writer.join()
    run.note("w3 stat p50, quiet", statistics.median(quiet), "ms")
    run.note("w3 stat p50 under writes", statistics.median(times), "ms")
    run.note("w3 stat p99 under writes", statistics.quantiles(times, n=100)[98], "ms")
    run.note("w3 stat longest under writes", max(times), "ms")
    run.note("w3 stats under writes, 1 client", count / WRITE_SECONDS, "ops/s")
    run.note("w3 written meanwhile", mib / (seconds / WRITERS), "MiB/s")


def _stat_times(dfs: Dfs, *, seconds: float) -> tuple[int, list[float]]:
    """How many stats fit, and the milliseconds of each."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        dfs.stat(f"/list/{len(times) % 100:05}")
        times.append((time.perf_counter() - begun) * 1000)
    return len(times), times


def _write(number: int, begin: Event, end: Event) -> tuple[float, float]:
    """Upload new files until told to end; MiB and seconds."""
    with connect() as dfs:
        dfs.exists("/")
        begin.wait()
        begun, count = time.perf_counter(), 0
        while not end.is_set():
            dfs.upload(io.BytesIO(os.urandom(WRITE_MIB * MIB)), f"/written/{number}/{count}")
            count += 1
        return count * WRITE_MIB, time.perf_counter() - begun


def _machine(run: Run) -> None:
    run.limit("SQLite commits", lambda: limits.sqlite_commits(run.disk))
    run.limit("round trips", limits.round_trips)


def _share(number: int) -> list[str]:
    return [f"/list/{each:05}" for each in range(number, FILES, WORKERS)]
