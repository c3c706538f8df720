"""What one run of a workload finds: figures, the machine's limits beside them, and processor time by role."""

import os
import resource
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster import Cluster
from bench.workers import Work, together


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `cpu_ms` is processor time for one unit of work (an operation, or a MiB), by role."""

    name: str
    value: float
    unit: str
    cpu_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of every workload."""

    seconds: float = 300.0
    clients: int = 16
    #: What `w4` stores; a turn of `w7` uploads a quarter of it.
    volume_mib: int = 2048
    #: What `w8` has in its larger catalog.
    files: int = 1_000_000


@dataclass
class Run:
    """One run of one workload on a fresh cluster.

    Attributes:
        cluster: the cluster.
        files: a directory in memory, for the client's files.
        disk: a directory on the disk that the nodes use, for the machine's limits.
        options: what the command line asks.
        figures: what was found.
        limits: the machine's limits by name.
    """

    cluster: Cluster
    files: Path
    disk: Path
    options: Options
    figures: list[Figure] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)

    def limit(self, name: str, measure: Callable[[], float]) -> float:
        """Measure a limit of the machine now, once a run."""
        if name not in self.limits:
            os.sync()
            self.limits[name] = measure()
        return self.limits[name]

    def note(self, name: str, value: float, unit: str, cpu_ms: dict[str, float] | None = None) -> None:
        """Record a figure that was measured by other means."""
        self.figures.append(Figure(name, value, unit, cpu_ms or {}))

    def rate(self, name: str, amount: float, unit: str, work: Callable[[], object]) -> None:
        """Time `work`, done by this process and the commands that it runs; record amount a second."""
        with self._cpu(amount) as spent:
            begun = time.perf_counter()
            work()
            seconds = time.perf_counter() - begun
        self.note(name, amount / seconds, unit, spent.by_role)

    def seconds(self, name: str, work: Callable[[], object]) -> None:
        """Time `work`; record seconds."""
        with self._cpu(1) as spent:
            begun = time.perf_counter()
            work()
            seconds = time.perf_counter() - begun
        self.note(name, seconds, "s", spent.by_role)

    def rate_together(self, name: str, workers: int, unit: str, work: Work) -> None:
        """Time several client processes from their common start to the end of the last."""
        with self._cpu(1) as spent:
            amount, seconds, client_seconds = together(workers, work)
        servers = {role: ms / amount for role, ms in spent.by_role.items() if role != "client"}
        self.note(name, amount / seconds, unit, {"client": client_seconds * 1000 / amount, **servers})

    def _cpu(self, amount: float) -> "_Spent":
        return _Spent(self.cluster, amount)


class _Spent(AbstractContextManager["_Spent"]):
    """Processor time that passes inside the block, in milliseconds for one unit of work."""

    def __init__(self, cluster: Cluster, amount: float) -> None:
        self._cluster = cluster
        self._amount = amount
        self.by_role: dict[str, float] = {}

    def __enter__(self) -> "_Spent":
        # Nothing that was written before may be charged to what comes now.
        os.sync()
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.by_role = {role: (used - self._before[role]) * 1000 / self._amount for role, used in self._now().items()}

    def _now(self) -> dict[str, float]:
        own = sum(_processor_seconds(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return {"client": own, **self._cluster.cpu_seconds()}


def _processor_seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime
