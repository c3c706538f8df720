"""`Plan` and `Commit`."""

import secrets
from collections.abc import Sequence

from dfs_master.catalog.mutations.copies import with_receipts
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.cluster import Cluster
from dfs_master.handlers.chains import signed_along
from dfs_master.handlers.replies import outcomes_to
from dfs_master.membership import KnownNode
from dfs_master.placement import choose
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import BadTicketError, DfsError, TooFewNodesError, TooLargeError, UsageError
from dfs_wire.event_listener import Respond
from dfs_wire.limits import (
    CHUNK_BYTES_MAX,
    COMMIT_FILES_MAX,
    DIGEST_BYTES,
    PLAN_CHUNKS_MAX,
    TICKET_SECONDS,
)
from dfs_wire.service import Session
from dfs_wire.tickets import NONCE_BYTES, check_receipt, write_mac

#: After a start, a plan waits this long for nodes to come before it refuses.
START_GRACE_SECONDS = 10.0


class UploadHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def plan(self, session: Session, request: m.Plan, body: bytes, respond: Respond) -> None:
        """Say for each chunk that it is stored, or give a ticket. Waits a little after a start for nodes to come."""
        asked = decode(body, m.PlanBody)
        _check_plan(asked)
        grace_ends = self._cluster.started_at + START_GRACE_SECONDS

        def attempt() -> bool:
            try:
                respond(self._planned(session, request, asked))
            except TooFewNodesError as error:
                if self._cluster.clock.monotonic() < grace_ends:
                    return False
                respond(error)
            except DfsError as error:
                respond(error)
            return True

        if not attempt():
            self._cluster.registry.settle_later(attempt)

    def _planned(self, session: Session, request: m.Plan, asked: m.PlanBody) -> Answer[m.PlanReply]:
        cluster = self._cluster
        nodes = cluster.registry.nodes
        with cluster.reader.snapshot():
            copies = cluster.reader.policy(request.path).copies
            known = cluster.reader.known_chunks([chunk.digest for chunk in asked.chunks])
        receipts: dict[bytes, list[m.Receipt]] = {}
        for receipt in self._checked(asked.receipts):
            if receipt.node_id in nodes and nodes[receipt.node_id].receipts_count:
                receipts.setdefault(receipt.digest, []).append(receipt)
        answers: list[m.PlanAnswer] = []
        for chunk in asked.chunks:
            row = known.get(chunk.digest)
            if row is not None and row.size != chunk.size:
                raise UsageError("a chunk's digest is known with another size; is the file changing?")
            chunk_id, copies_known = (0, []) if row is None else (row.id, row.replicas)
            before = {copy.node_id: copy for copy in copies_known}
            _, held = with_receipts(nodes, chunk.digest, chunk_id, before, receipts.get(chunk.digest, ()))
            ticket = None
            if len(held) < copies:
                ticket = self._ticket(session, chunk, copies - len(held), held, asked.exclude_nodes)
            answers.append(m.PlanAnswer(chunk.digest, ticket))
        return Answer(m.PlanReply(copies=copies), encode_list(answers))

    def _ticket(
        self, session: Session, chunk: m.ChunkWanted, count: int, holders: set[int], excluded: Sequence[int]
    ) -> m.WriteTicket:
        cluster = self._cluster
        chosen = choose(
            cluster.registry.nodes.values(),
            count,
            chunk.size,
            holders=holders,
            excluded=set(excluded),
            random=cluster.random,
        )
        return self._signed(session, chunk, chosen)

    def _signed(self, session: Session, chunk: m.ChunkWanted, chosen: Sequence[KnownNode]) -> m.WriteTicket:
        cluster = self._cluster
        bare = m.WriteTicket(
            chunk.digest,
            chunk.size,
            cluster.generations.next(),
            cluster.clock.wall_ms() + TICKET_SECONDS * 1000,
            secrets.token_bytes(NONCE_BYTES),
            [],
        )
        return signed_along(cluster, session, bare, chosen, write_mac)

    def commit(self, _session: Session, request: m.Commit, body: bytes, respond: Respond) -> None:
        """Check the receipts' signatures, then let the committer judge and write."""
        asked = decode(body, m.CommitBody)
        if not 0 < len(asked.files) <= COMMIT_FILES_MAX:
            raise TooLargeError(f"a commit has 1 to {COMMIT_FILES_MAX} files, not {len(asked.files)}; send several")
        receipts = self._checked(asked.receipts, strictly=True)
        self._cluster.committer.submit(CommitFiles(request.request_id, asked.files, receipts), outcomes_to(respond))

    def _checked(self, receipts: Sequence[m.Receipt], *, strictly: bool = False) -> list[m.Receipt]:
        """The receipts that nodes of this cluster signed and that have not expired.

        Raises:
            BadTicketError: with `strictly`, one is not; details: all `digests` that are concerned.
        """
        cluster = self._cluster
        now_ms = cluster.clock.wall_ms()
        good: list[m.Receipt] = []
        bad: list[bytes] = []
        for receipt in receipts:
            try:
                check_receipt(cluster.keys.of(receipt.node_id), cluster.cluster_id, receipt, now_ms)
            except BadTicketError:
                bad.append(receipt.digest)
            else:
                good.append(receipt)
        if bad and strictly:
            raise BadTicketError(
                "receipts have expired or were altered; let the nodes renew them, or upload those chunks again",
                digests=bad,
            )
        return good


def _check_plan(asked: m.PlanBody) -> None:
    if not 0 < len(asked.chunks) <= PLAN_CHUNKS_MAX:
        raise TooLargeError(f"a plan has 1 to {PLAN_CHUNKS_MAX} chunks, not {len(asked.chunks)}; send several")
    for chunk in asked.chunks:
        if len(chunk.digest) != DIGEST_BYTES:
            raise UsageError(f"a digest has {DIGEST_BYTES} bytes, not {len(chunk.digest)}")
        if not 0 < chunk.size <= CHUNK_BYTES_MAX:
            raise UsageError(f"a chunk has 1 to {CHUNK_BYTES_MAX} bytes, not {chunk.size}")
