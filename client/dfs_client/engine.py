"""The parts that move bytes, built once for a `Dfs`, and only when bytes move."""

import random
from pathlib import Path

import msgspec

from dfs_client.buffers import BufferPool
from dfs_client.executors import Executor
from dfs_client.fetching import ChunkFetcher
from dfs_client.master import MasterClient
from dfs_client.receipts import Ledger
from dfs_client.sending import ChunkSender
from dfs_client.transfer import NodeClient
from dfs_runtime.clock import Clock
from dfs_wire.pool import ChannelPool


class Engine(msgspec.Struct, frozen=True):
    """Everything an upload or download works with. Safe to share between threads: each part is.

    `receipts_home` is None where nothing is to be remembered between runs.
    """

    master: MasterClient
    sender: ChunkSender
    fetcher: ChunkFetcher
    executor: Executor
    buffers: BufferPool
    clock: Clock
    receipts_home: Path | None

    def open_ledger(self) -> Ledger:
        """The receipts for one upload, with what earlier runs left for this cluster. To be closed."""
        if self.receipts_home is None:
            return Ledger()
        # Small files need none.
        from dfs_client.journal import ReceiptJournal

        return Ledger(ReceiptJournal(self.receipts_home / self.master.cluster_id(), self.master.now_ms()))


def make_engine(
    master: MasterClient,
    node_pool: ChannelPool,
    executor: Executor,
    clock: Clock,
    randomness: random.Random,
    receipts_home: Path | None,
) -> Engine:
    """Join the parts."""
    nodes = NodeClient(node_pool)
    return Engine(
        master=master,
        sender=ChunkSender(master, nodes, clock, randomness),
        fetcher=ChunkFetcher(master, nodes, clock, randomness),
        executor=executor,
        buffers=BufferPool(),
        clock=clock,
        receipts_home=receipts_home,
    )
