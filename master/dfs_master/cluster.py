"""What every handler of the master works with, put together once at start."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from dfs_master.catalog.committer import Committer
from dfs_master.catalog.entry_cache import EntryCache
from dfs_master.catalog.reader import Reader
from dfs_master.credentials import Credentials
from dfs_master.fence import Fence
from dfs_master.generations import Generations
from dfs_master.inventories import Inventories
from dfs_master.keys import NodeKeys
from dfs_master.listed import Listings
from dfs_master.registry import NodeRegistry
from dfs_master.safe_mode import SafeMode
from dfs_master.settings import SettingsHolder
from dfs_runtime.clock import Clock


class Readers:
    """One `Reader` a thread, made at its first use. Safe to use from several threads."""

    def __init__(self, make: Callable[[], Reader]) -> None:
        self._make = make
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[Reader] = []

    def mine(self) -> Reader:
        """The calling thread's reader."""
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = self._make()
            with self._lock:
                self._all.append(reader)
        return reader

    def close(self) -> None:
        """Close all of them, when their threads have ended."""
        with self._lock:
            for reader in self._all:
                reader.close()
            self._all.clear()


@dataclass(frozen=True)
class Cluster:
    """The master's parts that handlers share. Each is safe to use from several threads."""

    cluster_id: str
    clock: Clock
    random: Random
    committer: Committer
    readers: Readers
    #: For the thread that calls `MasterService.serve` only.
    entries: EntryCache
    registry: NodeRegistry
    keys: NodeKeys
    credentials: Credentials
    generations: Generations
    started_at: float
    copies: int
    software: str = ""
    settings: SettingsHolder = field(default_factory=SettingsHolder)
    safe_mode: SafeMode = field(default_factory=SafeMode)
    fence: Fence = field(default_factory=Fence)
    inventories: Inventories = field(default_factory=Inventories)
    listings: Listings = field(default_factory=Listings)

    @property
    def epoch(self) -> int:
        """The number of this master's term."""
        return self.generations.epoch

    @property
    def reader(self) -> Reader:
        """The calling thread's reader."""
        return self.readers.mine()
