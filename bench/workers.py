"""Several client processes that begin together, each with a connection of its own."""

import multiprocessing
import resource
import time
from collections.abc import Callable

from dfs_client.api import Dfs, connect

#: Worker's number, its connection -> work done (operations, or MiB).
Work = Callable[[int, Dfs], float]

_SECONDS_MAX = 900


def together(workers: int, work: Work) -> tuple[float, float, float]:
    """Work of all workers, the seconds from their common start to the end of the last, and their processor time.

    Raises:
        RuntimeError: a worker failed; its own words.
    """
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(workers + 1)
    ended = context.Queue()

    def run(number: int) -> None:
        with connect() as dfs:
            dfs.exists("/")  # connected before the clock starts, as a program that goes on is
            barrier.wait()
            before = _processor_seconds()
            try:
                ended.put((work(number, dfs), _processor_seconds() - before))
            except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
                ended.put(f"worker {number}: {type(error).__name__}: {error}")

    processes = [context.Process(target=run, args=(number,), daemon=True) for number in range(workers)]
    for process in processes:
        process.start()
    barrier.wait(timeout=60)
    begun = time.perf_counter()
    outcomes = [ended.get(timeout=_SECONDS_MAX) for _ in processes]
    seconds = time.perf_counter() - begun
    for process in processes:
        process.join()
    failures = [each for each in outcomes if isinstance(each, str)]
    if failures:
        raise RuntimeError("; ".join(failures))
    return sum(each[0] for each in outcomes), seconds, sum(each[1] for each in outcomes)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
