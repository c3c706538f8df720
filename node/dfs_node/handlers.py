"""All verbs of a node. Chunk bytes have files of their own; the small verbs are here."""

import threading
from collections.abc import Iterable

from dfs_node.findings import FindingQueue
from dfs_node.get_chunk import ChunkReader
from dfs_node.put_chunk import ChunkReceiver
from dfs_node.receipts import Credentials
from dfs_node.volume import StoredChunk, Volume
from dfs_runtime.version import VERSION
from dfs_wire import messages as m
from dfs_wire import tickets
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import BadCredentialError, BusyError, NotAllowedError, TooLargeError, VolumeFailedError
from dfs_wire.limits import RENEW_CHUNK_BYTES_MAX, RENEW_RECEIPTS_MAX
from dfs_wire.service import ChunkAnswer, ChunkBody, Handler, Session

#: Renewals that read at once: beside them the disk still serves those who put and get.
RENEWALS_AT_ONCE = 2


def software() -> str:
    """What a node calls itself in `Hello`."""
    return f"dfs-node {VERSION}"


class NodeHandlers:
    """Request in, reply out, for every verb of a node. Safe to share between threads."""

    def __init__(
        self,
        *,
        volume: Volume,
        credentials: Credentials,
        receiver: ChunkReceiver,
        reader: ChunkReader,
        findings: FindingQueue,
        join_token: bytes | None,
    ) -> None:
        self._volume = volume
        self._credentials = credentials
        self._receiver = receiver
        self._reader = reader
        self._findings = findings
        self._join_token = join_token
        self._renewals = threading.Semaphore(RENEWALS_AT_ONCE)

    def table(self) -> dict[type[m.Header], Handler]:
        """The verbs that carry no chunk bytes."""
        return {m.Ping: self.ping, m.RenewReceipts: self.renew_receipts, m.ProveJoin: self.prove_join}

    def hello(self, _session: Session, request: m.Hello) -> m.HelloReply:
        """Anybody may connect: at a node, each request carries its own ticket.

        Raises:
            BadCredentialError: a key was shown, which has no business here.
        """
        if request.role is not m.Role.TICKET:
            raise BadCredentialError("a node takes tickets only; show your key to the master")
        return m.HelloReply(cluster_id=self._credentials.cluster_id, software=software())

    def ping(self, _session: Session, _request: m.Ping, _body: bytes) -> Answer[m.Done]:
        """This node answers."""
        return Answer(m.Done())

    def put_chunk(self, session: Session, request: m.PutChunk, body: ChunkBody) -> m.PutChunkReply:
        """See `ChunkReceiver`."""
        return self._receiver.put_chunk(session, request, body)

    def get_chunk(self, session: Session, request: m.GetChunk) -> ChunkAnswer:
        """See `ChunkReader`."""
        return self._reader.get_chunk(session, request)

    def renew_receipts(self, _session: Session, _request: m.RenewReceipts, body: bytes) -> Answer[m.RenewReceiptsReply]:
        """Sign anew for what is still here and whole; all of it is read again, each chunk once.

        Raises:
            BadTicketError: a receipt is not this node's own.
            TooLargeError: more than is read for one request.
            BusyError: as many renewals as may are under way.
            VolumeFailedError: nothing on this volume counts before a full verifying pass.
        """
        receipts = decode(body, list[m.Receipt])
        if len(receipts) > RENEW_RECEIPTS_MAX:
            raise TooLargeError(f"at most {RENEW_RECEIPTS_MAX} receipts are renewed at once; send several requests")
        for receipt in receipts:
            self._credentials.check_own_receipt(receipt)
        by_digest = {receipt.digest: receipt for receipt in receipts}
        size = sum(receipt.size for receipt in by_digest.values())
        if size > RENEW_CHUNK_BYTES_MAX:
            raise TooLargeError(
                f"chunks of {size} bytes are over the limit of {RENEW_CHUNK_BYTES_MAX}; send several requests"
            )
        if self._volume.usage().state is m.VolumeState.FAILED:
            raise VolumeFailedError("the volume has failed; upload the chunks to other nodes")
        if not self._renewals.acquire(blocking=False):
            raise BusyError("this node renews as many receipts as it can; try again in a moment")
        try:
            return Answer(m.RenewReceiptsReply(), encode_list(self._renewed(by_digest.values())))
        finally:
            self._renewals.release()

    def prove_join(self, _session: Session, request: m.ProveJoin, _body: bytes) -> Answer[m.ProveJoinReply]:
        """The master dialled back.

        Raises:
            NotAllowedError: this node was started without a join token.
        """
        if self._join_token is None:
            raise NotAllowedError("this node holds no join token; start it with --join-token-file")
        return Answer(m.ProveJoinReply(mac=tickets.join_proof(self._join_token, request.nonce)))

    def _renewed(self, receipts: Iterable[m.Receipt]) -> list[m.Receipt]:
        return [self._credentials.sign(chunk) for each in receipts if (chunk := self._reverify(each)) is not None]

    def _reverify(self, receipt: m.Receipt) -> StoredChunk | None:
        """The chunk of a receipt, read whole; None, and a finding, where it is not what it was."""
        finding = self._volume.verify(receipt.digest)
        if finding.kind is not m.FindingKind.GOOD:
            if finding.kind is m.FindingKind.CORRUPT:
                self._findings.add(finding)
            return None
        return StoredChunk(receipt.digest, receipt.size, finding.generation)
