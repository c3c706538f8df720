"""The master's verbs: which handler answers each, and on which kind of thread.

inline     on the I/O thread: bounded work of well under a millisecond
deferred   begun on the I/O thread, answered by the committer (or when nodes come)
worker     on the bounded pool: long lists, sums over trees
"""

import logging
from collections.abc import Callable
from typing import Any

from dfs_master.cluster import Cluster
from dfs_master.handlers.ahead import AheadHandlers
from dfs_master.handlers.batches import BatchHandlers
from dfs_master.handlers.download import DownloadHandlers
from dfs_master.handlers.draining import DrainHandlers
from dfs_master.handlers.explain import ExplainHandlers
from dfs_master.handlers.fencing import FenceHandlers
from dfs_master.handlers.healing import HealingHandlers
from dfs_master.handlers.inventory import InventoryHandlers
from dfs_master.handlers.nodes import NodeHandlers
from dfs_master.handlers.operators import OperatorHandlers
from dfs_master.handlers.settings import SettingHandlers
from dfs_master.handlers.space import SpaceHandlers
from dfs_master.handlers.tree import TreeHandlers
from dfs_master.handlers.upload import UploadHandlers
from dfs_master.healing import Healing
from dfs_runtime.workers import QueueFullError
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode
from dfs_wire.errors import BadCredentialError, BusyError, DfsError, InternalError
from dfs_wire.event_listener import Respond
from dfs_wire.limits import MIB
from dfs_wire.service import Handler, Session, check_handlers
from dfs_wire.tickets import hello_mac
from dfs_wire.verbs import Server

log = logging.getLogger(__name__)

#: A list body longer than this is decoded and checked on a worker (about 64 chunks of a plan).
INLINE_BODY_BYTES_MAX = 4 * 1024
#: A list of names or versions longer than this is looked up on a worker (256 names at most: each takes two bytes).
INLINE_LIST_BYTES_MAX = 512
#: A page with more rows than this is read on a worker.
INLINE_ROWS_MAX = 256
#: A path with more names than this is walked on a worker.
INLINE_LOOKUPS_MAX = 64

Deferred = Callable[[Session, Any, bytes, Respond], None]
#: A handler of small requests that may find one not so small: None, it is for a worker.
AtOnce = Callable[[Session, Any, bytes], Answer[Any] | None]
Submit = Callable[[Callable[[], None]], None]


class MasterService:
    """Routes requests. `serve` is called by the I/O thread (or by the simulation)."""

    def __init__(self, cluster: Cluster, submit: Submit, healing: Healing) -> None:
        self._cluster = cluster
        self._submit = submit
        self._fence = FenceHandlers(cluster)
        upload, download, tree = UploadHandlers(cluster), DownloadHandlers(cluster), TreeHandlers(cluster)
        nodes, operators = NodeHandlers(cluster, healing.heard), OperatorHandlers(cluster)
        draining, settings = DrainHandlers(cluster), SettingHandlers(cluster)
        batches = BatchHandlers(cluster, download.replicas)
        healers = HealingHandlers(cluster, healing)
        self._inline: dict[type[m.Header], Handler] = {
            m.Hello: self._hello,
            m.Ping: operators.ping,
            m.RepairStatus: healers.status,
            m.ForceRepair: healers.force,
            m.Space: operators.space,
            m.ReportFinding: operators.report_finding,
            m.ListSettings: settings.list,
        }
        self._workers: dict[type[m.Header], Handler] = {
            m.DiskUsage: tree.disk_usage,
            m.Status: operators.status,
            m.SpaceDetail: SpaceHandlers(cluster).detail,
            m.Inventory: InventoryHandlers(cluster).inventory,
            m.DrainProgress: draining.progress,
            m.Explain: ExplainHandlers(cluster, healing).explain,
        }
        #: Inline for small requests, on a worker for large ones.
        self._by_size: dict[type[m.Header], Handler] = {
            m.Open: download.open,
            m.List: tree.list,
            m.Stat: tree.stat,
            m.TakeTickets: AheadHandlers(cluster).take_tickets,
        }
        #: Inline for short lists, on a worker for long ones.
        self._by_length: dict[type[m.Header], Handler] = {
            m.OpenMany: batches.open_many,
            m.StatMany: batches.stat_many,
        }
        #: What a small request gets instead, from what the I/O thread remembers, unless that finds that it is not so
        #: small. (A small `Stat` is recalled.)
        self._at_once: dict[type[m.Header], AtOnce] = {m.Open: download.open_at_once}
        self._deferred: dict[type[m.Header], Deferred] = {
            m.Plan: upload.plan,
            m.Commit: upload.commit,
            m.MakeDirectories: tree.make_directories,
            m.Remove: tree.remove,
            m.Rename: tree.rename,
            m.SetPolicy: tree.set_policy,
            m.ReportCopy: download.report,
            m.Register: nodes.register,
            m.Heartbeat: nodes.heartbeat,
            m.DrainNode: draining.drain,
            m.SetMaintenance: healers.maintenance,
            m.PauseRebalance: healers.pause,
            m.RemoveNode: draining.remove,
            m.SetSetting: settings.set,
            m.AcceptDatabase: self._fence.accept,
        }
        served = {*self._inline, *self._workers, *self._by_size, *self._by_length, *self._deferred} - {m.Hello}
        check_handlers(served, Server.MASTER, chunk_verbs=False)

    def recall(self, kind: type[m.Header], request: bytes) -> bytes | None:
        """The encoded reply to an encoded request, from what the I/O thread remembers. For that thread only."""
        if kind is not m.Stat:
            return None
        entries = self._cluster.entries
        known = entries.reply_to(request)
        if known is None:
            asked = decode(request, m.Stat)
            if not _is_small(asked):
                return None
            reply = entries.stat(asked.path)
            known = entries.reply_to(request) or encode(reply)
        return known

    def serve(self, session: Session, request: m.Header, body: bytes, respond: Respond) -> None:
        """Answer now or later; an error raised here is the answer."""
        kind = type(request)
        self._fence.require_writable(kind)
        self._cluster.entries.hear()
        if (at_once := self._at_once.get(kind)) is not None and _is_small(request):
            answer = at_once(session, request, body)
            if answer is not None:
                respond(answer)
                return
            worked = self._by_size[kind]
            self._later(lambda: respond(worked(session, request, body)), respond)
        elif (inline := self._inline.get(kind)) is not None:
            respond(inline(session, request, body))
        elif (by_size := self._by_size.get(kind)) is not None:
            if _is_small(request):
                respond(by_size(session, request, body))
            else:
                self._later(lambda: respond(by_size(session, request, body)), respond)
        elif (by_length := self._by_length.get(kind)) is not None:
            if len(body) <= INLINE_LIST_BYTES_MAX:
                respond(by_length(session, request, body))
            else:
                self._later(lambda: respond(by_length(session, request, body)), respond)
        elif (worker := self._workers.get(kind)) is not None:
            self._later(lambda: respond(worker(session, request, body)), respond)
        else:
            deferred = self._deferred[kind]
            if len(body) <= INLINE_BODY_BYTES_MAX:
                deferred(session, request, body, respond)
            else:
                self._later(lambda: deferred(session, request, body, respond), respond)

    def _later(self, work: Callable[[], None], respond: Respond) -> None:
        def guarded() -> None:
            try:
                work()
            except DfsError as error:
                respond(error)
            except Exception:
                log.exception("a handler failed")
                respond(InternalError("the master failed on this request; its log has the details"))

        try:
            self._submit(guarded)
        except QueueFullError as error:
            raise BusyError("the master has as much long work as it takes; try again in a moment") from error

    def _hello(self, session: Session, request: m.Hello, _body: bytes) -> Answer[m.HelloReply]:
        """Check the credential that a connection begins with."""
        cluster = self._cluster
        if request.role is m.Role.NODE:
            expected = hello_mac(cluster.keys.of(request.node_id), cluster.cluster_id, request.node_id)
            accepted = _same(expected, request.credential)
            session.node_id = request.node_id
        else:
            accepted = cluster.credentials.role_of(request.credential) is request.role
        if not accepted:
            raise BadCredentialError(f"the master does not accept this {request.role} credential; check the profile")
        return Answer(
            m.HelloReply(
                cluster_id=cluster.cluster_id,
                epoch=cluster.epoch,
                time_ms=cluster.clock.wall_ms(),
                software=cluster.software,
            )
        )


def _same(expected: bytes, given: bytes) -> bool:
    import hmac

    return hmac.compare_digest(expected, given)


def _is_small(request: m.Header) -> bool:
    """Whether the answer is bounded tightly enough for the I/O thread."""
    if isinstance(request, m.Stat):
        return not request.chunks and _is_shallow(request.path)
    if isinstance(request, m.TakeTickets):
        return _is_shallow(request.path)
    if isinstance(request, m.List):
        # Who holds the copies of a file is asked for each of its extents.
        small = request.limit <= INLINE_ROWS_MAX and not request.recursive and not request.copies
        return small and _is_shallow(request.path)
    # A range needs few extents, or its handler finds that there are many; a whole file may have thousands.
    if isinstance(request, m.Open):
        return 0 <= request.length <= INLINE_ROWS_MAX * MIB and _is_shallow(request.path)
    return False


def _is_shallow(path: str) -> bool:
    """A path costs a look-up for each of its names."""
    return path.count("/") <= INLINE_LOOKUPS_MAX
