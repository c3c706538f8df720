"""Several client processes that begin together, each with a connection of its own."""

import multiprocessing
import time
from collections.abc import Callable

from dfs_client.api import Dfs, connect

#: Worker's number, its connection -> operations done.
Work = Callable[[int, Dfs], int]


def together(workers: int, work: Work) -> tuple[int, float]:
    """Operations of all workers, and the seconds from their common start to the end of the last."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(workers + 1)
    done = context.Queue()

    def run(number: int) -> None:
        with connect() as dfs:
            dfs.exists("/")  # connected before the clock starts, as a program that goes on is
            barrier.wait()
            done.put(work(number, dfs))

    processes = [context.Process(target=run, args=(number,)) for number in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    begun = time.perf_counter()
    operations = sum(done.get(timeout=300) for _ in processes)
    seconds = time.perf_counter() - begun
    for process in processes:
        process.join()
    return operations, seconds
