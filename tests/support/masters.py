"""A whole master in this process: real database, committer and handlers, the clock by hand."""

import queue
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from dfs_master.app import build_cluster
from dfs_master.catalog.engine import open_engine
from dfs_master.cluster import Cluster
from dfs_master.config import MasterConfig
from dfs_master.healing import Healing
from dfs_master.initialise import NewCluster, initialise
from dfs_master.service import MasterService
from dfs_runtime.clock import ManualClock
from dfs_runtime.lifecycle import StopSignal
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.limits import DIGEST_BYTES, GIB, RECEIPT_SECONDS
from dfs_wire.service import Session
from dfs_wire.tickets import sign_receipt


@dataclass
class Master:
    """Asked without sockets; answers of the committer are waited for. Used by one thread."""

    made: NewCluster
    cluster: Cluster
    service: MasterService
    clock: ManualClock
    #: Stepped by whoever tests it.
    healing: Healing

    def ask(self, session: Session, request: m.Header, body: bytes = b"") -> Answer[Any]:
        """One request and its reply.

        Raises:
            DfsError: the refusal.
        """
        answers: queue.SimpleQueue[Answer[Any] | BaseException] = queue.SimpleQueue()
        self.service.serve(session, request, body, answers.put)
        answer = answers.get(timeout=20)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def join(
        self, name: str, *, zone: str = "", free_bytes: int = 500 * GIB, lists: bool = True
    ) -> tuple[Session, m.RegisterReply]:
        """A new node takes up service; it also lists that it holds nothing, as a real one does within a second."""
        session = Session("127.0.0.1:40001", role=m.Role.JOIN)
        request = m.Register(
            registration=1,
            name=name,
            zone=zone,
            address=f"{name}:5001",
            public_address="127.0.0.1:5001",
            capacity_bytes=1000 * GIB,
            used_bytes=0,
            free_bytes=free_bytes,
        )
        reply = self.ask(session, request).header
        if lists:
            self.list_nothing(session, reply.node_id)
        return session, reply

    def list_nothing(self, session: Session, node_id: int) -> list[m.InventoryAsk]:
        """The inventory of a node without a chunk; what the master asks back."""
        request = m.Inventory(
            node_id=node_id,
            registration=1,
            first=bytes(DIGEST_BYTES),
            last=b"\xff" * DIGEST_BYTES,
            started_at_ms=self.clock.wall_ms(),
        )
        return self.ask(session, request, encode_list([])).items(list[m.InventoryAsk])

    def upload(self, path: str, content: bytes, nodes: list[int], *, request_id: bytes = b"r" * 16) -> list[m.Outcome]:
        """Commit a file of one chunk, with receipts as these nodes would have signed them."""
        digest = blake3(content).digest()
        extents = [m.Extent(digest, len(content), 0, len(content))]
        file = m.FileCommit(path, m.EXPECT_ANY, len(content), digest, 0, 0o644, extents)
        body = m.CommitBody([file], self.receipts(content, nodes))
        answer = self.ask(CLIENT_SESSION, m.Commit(request_id=request_id), encode_list(body))
        return answer.items(list[m.Outcome])

    def receipts(self, content: bytes, nodes: list[int]) -> list[m.Receipt]:
        """What these nodes would sign, had they stored it as a chunk."""
        digest, now_ms = blake3(content).digest(), self.clock.wall_ms()
        return [
            sign_receipt(
                self.cluster.keys.of(node),
                self.cluster.cluster_id,
                m.Receipt(node, digest, len(content), 1, now_ms, now_ms + RECEIPT_SECONDS * 1000, b""),
            )
            for node in nodes
        ]


CLIENT_SESSION = Session("127.0.0.1:40000", role=m.Role.CLIENT)


@contextmanager
def running_master(directory: Path, *, copies: int = 2) -> Iterator[Master]:
    """A fresh cluster's master."""
    clock = ManualClock()
    with ExitStack() as parts:
        made = initialise(directory, clock, copies=copies)
        cluster = build_cluster(
            MasterConfig(data=directory), open_engine(directory / "metadata.db"), clock, b"line", StopSignal()
        )
        parts.callback(cluster.readers.close)
        cluster.committer.start()
        parts.callback(cluster.committer.stop)
        healing = Healing(cluster)
        yield Master(made, cluster, MasterService(cluster, lambda work: work(), healing), clock, healing)
