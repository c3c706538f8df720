"""How many files a second one committer makes durable: `python -m bench.commits [--clients N …] [--files N]`.

Each client has one request under way: a new file of one new chunk with two receipts (five tables, seven rows).
"""

import argparse
import json
import os
import threading
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from dfs_master.catalog.committer import Committer, take_epoch
from dfs_master.catalog.engine import connect_raw, open_engine
from dfs_master.catalog.migrate import upgrade
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.catalog.mutations.nodes import RegisterNode
from dfs_runtime.clock import SystemClock
from dfs_wire.messages import EXPECT_ANY, Extent, FileCommit, Receipt

_SIZE = 4_096


class _Sound:
    """A node whose copies count."""

    copies_count = True
    receipts_count = True
    stays = True

    def vouches(self, _digest: bytes, _verified_at: int) -> bool:
        return True


class _Clients:
    """Clients that ask for the next file as soon as the last one is answered. Their own work is done before."""

    def __init__(self, committer: Committer, requests: list[CommitFiles]) -> None:
        self._committer = committer
        self._requests = requests
        self._ended = threading.Semaphore(0)

    def run(self, clients: int) -> float:
        """Files per second."""
        count = len(self._requests)
        started = time.perf_counter()
        for _ in range(clients):
            self._next(None)
        for _ in range(clients):
            self._ended.acquire()
        return count / (time.perf_counter() - started)

    def _next(self, outcome: object) -> None:
        if outcome is not None and (not isinstance(outcome, list) or outcome[0].code):
            raise ValueError(f"refused: {outcome}")
        if self._requests:
            self._committer.submit(self._requests.pop(), self._next)
        else:
            self._ended.release()


def make_request(node_ids: list[int]) -> CommitFiles:
    """A new file of one new chunk, in one of 256 directories."""
    digest = os.urandom(32)
    path = f"/bench/{digest.hex()[:2]}/{digest.hex()}"
    file = FileCommit(path, EXPECT_ANY, _SIZE, digest, 0, 0o644, [Extent(digest, _SIZE, 0, _SIZE)])
    return CommitFiles(os.urandom(16), [file], [Receipt(node, digest, _SIZE, 1, 0, 1, b"") for node in node_ids])


def measure(directory: Path, clients: int, files: int) -> float:
    """Files per second of a fresh database in a directory."""
    path = directory / "metadata.db"
    upgrade(path, SystemClock())
    engine = open_engine(path)
    standings: dict[int, _Sound] = {}
    committer = Committer(engine, SystemClock(), take_epoch(engine), nodes=lambda: standings, on_fatal=print)
    joins = [RegisterNode(0, 1, f"node-{n}", "", f"n{n}:1", f"n{n}:1", 1, 0) for n in (1, 2)]
    ids = [row.id for row in committer.run_group(joins)]
    standings.update(dict.fromkeys(ids, _Sound()))
    committer.start()
    try:
        return _Clients(committer, [make_request(ids) for _ in range(files)]).run(clients)
    finally:
        committer.stop()
        with closing(connect_raw(engine)) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def main() -> None:
    """Print one line a number of clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 16, 64])
    parser.add_argument("--files", type=int, default=10_000, help="files of each run")
    arguments = parser.parse_args()
    for clients in arguments.clients:
        with TemporaryDirectory() as directory:
            rate = measure(Path(directory), clients, arguments.files)
        print(json.dumps({"clients": clients, "files_per_second": round(rate)}))


if __name__ == "__main__":
    main()
