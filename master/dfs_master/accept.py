"""Accepting a database with no master running."""

from pathlib import Path

from dfs_master.catalog.committer import Committer, take_epoch
from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.mutations.accepting import AcceptDatabase
from dfs_master.fence import Point
from dfs_runtime.clock import Clock
from dfs_wire.errors import DfsError


def accept_offline(database: Path, clock: Clock) -> Point:
    """Jump above what nodes are known, or likely, to have seen. The caller holds the directory.

    Raises:
        DfsError: it could not be written.
    """
    engine = open_engine(database)
    failed: list[BaseException] = []
    committer = Committer(engine, clock, take_epoch(engine), nodes=dict, on_fatal=failed.append)
    try:
        (outcome,) = committer.run_group([AcceptDatabase()])
    finally:
        committer.stop()
    if isinstance(outcome, DfsError):
        raise outcome
    begun: Point = outcome
    return begun
