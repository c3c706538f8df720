"""A database that is older than its nodes: noticing it, refusing every change, accepting it as an operator says."""

import logging

from dfs_master.catalog.mutations.accepting import AcceptDatabase, RecordAhead
from dfs_master.cluster import Cluster
from dfs_master.fence import SERVED_READ_ONLY, Point
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.errors import DfsError, ReadOnlyError
from dfs_wire.event_listener import Respond
from dfs_wire.service import Session

log = logging.getLogger(__name__)


def behind(seen: Point, own: Point) -> str:
    """Why the master is read-only, and what to do, in one sentence."""
    return (
        f"the nodes have seen newer metadata (epoch {seen.epoch}, change {seen.commit_seq}) than this database holds "
        f"(epoch {own.epoch}, change {own.commit_seq}), so nothing is changed: restore the newer database, or go on "
        "with this one by `dfs db accept`"
    )


class FenceHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def require_writable(self, kind: type[m.Header]) -> None:
        """Refuse what is not in the short list of verbs that change nothing.

        Raises:
            ReadOnlyError: the master is behind its nodes.
        """
        held = self._cluster.safe_mode.held
        if held and kind.__name__ not in SERVED_READ_ONLY:
            raise ReadOnlyError(held)

    def heard(self, node: str, seen: Point, *, first_contact: bool) -> None:
        """A node says what it has seen."""
        cluster = self._cluster
        commit_seq = cluster.committer.commit_seq
        if not cluster.fence.heard(seen, commit_seq=commit_seq, first_contact=first_contact):
            return
        why = behind(cluster.fence.seen, Point(cluster.epoch, commit_seq))
        log.error("node %s: %s", node, why)
        cluster.safe_mode.hold(why)
        cluster.registry.drop_orders()
        # Should another master have taken over this very database, this write finds out, and ends the process.
        cluster.committer.submit(RecordAhead(node, cluster.fence.seen, cluster.fence.next_id), _told)

    def accept(self, _session: Session, _request: m.AcceptDatabase, _body: bytes, respond: Respond) -> None:
        """Go on above everything that was seen. Where nothing is ahead, the jump does no harm."""
        cluster = self._cluster

        def deliver(result: Point | DfsError) -> None:
            if isinstance(result, DfsError):
                respond(result)
                return
            # On the committer's thread: its next transaction looks for the new epoch.
            cluster.committer.adopt_epoch(result.epoch)
            cluster.generations.raise_to(result.epoch)
            cluster.fence.begin_again(result)
            cluster.safe_mode.release()
            log.warning("the database was accepted", extra={"epoch": result.epoch, "commit_seq": result.commit_seq})
            respond(Answer(m.AcceptDatabaseReply(epoch=result.epoch, commit_seq=result.commit_seq)))

        cluster.committer.submit(AcceptDatabase(cluster.fence.seen), deliver)


def _told(result: object) -> None:
    if isinstance(result, DfsError):
        log.warning("that the database is behind could not be written down: %s", result)
