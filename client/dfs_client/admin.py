"""What operators ask of a cluster, through the library: `dfs.admin.METHOD(...)`. Needs the admin key.

One method a question. Each raises `NotAllowedError` where the profile has no admin key, and any `DfsError` that the
master answers with.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from dfs_client.master import MasterClient
from dfs_client.types import ClusterStatus
from dfs_wire import messages as m
from dfs_wire.errors import BadCredentialError, NotAllowedError

ADMIN_ONLY = "this needs the admin key; use the profile of the machine that deployed the cluster"


@contextmanager
def admin_refusals() -> Iterator[None]:
    """Say of a refused admin key what to do about it.

    Raises:
        NotAllowedError: the master does not know the key.
    """
    try:
        yield
    except BadCredentialError as error:
        raise NotAllowedError(ADMIN_ONLY) from error


class Admin:
    """An operator's view of one cluster. Safe to use from several threads.

    `as_admin` gives the master by a connection with the admin key, made when first needed.
    """

    def __init__(self, as_admin: Callable[[], AbstractContextManager[MasterClient]]) -> None:
        self._as_admin = as_admin

    def status(self) -> ClusterStatus:
        """The cluster's health in numbers, and its nodes."""
        with self._as_admin() as master:
            answer = master.call(m.Status(), m.StatusReply)
            return ClusterStatus(answer.header, answer.items(list[m.NodeInfo]))

    def accept_database(self) -> m.AcceptDatabaseReply:
        """Go on with this database although its nodes have seen a newer one; what only that one knew is lost."""
        with self._as_admin() as master:
            return master.call(m.AcceptDatabase(), m.AcceptDatabaseReply).header

    # -- nodes -------------------------------------------------------------------------------------------------

    def drain_node(self, node_id: int, *, cancel: bool = False) -> None:
        """Put no new data on a node and move its copies to others; with `cancel`, let it serve on.

        Raises:
            NotFoundError: there is no such node.
        """
        with self._as_admin() as master:
            master.call(m.DrainNode(node_id=node_id, cancel=cancel), m.Done)

    def drain_progress(self, node_id: int) -> m.DrainProgressReply:
        """How many chunks and bytes still have too few copies on other nodes; none: the node may go.

        Raises:
            NotFoundError: there is no such node.
        """
        with self._as_admin() as master:
            return master.call(m.DrainProgress(node_id=node_id), m.DrainProgressReply).header

    def remove_node(self, node_id: int) -> None:
        """Forget a drained node, so that its volume can be thrown away.

        Raises:
            NotFoundError: there is no such node.
            ConflictError: a chunk still needs its copy there.
        """
        with self._as_admin() as master:
            master.call(m.RemoveNode(node_id=node_id), m.Done)

    def set_maintenance(self, node_id: int, *, off: bool = False, seconds: int = 0) -> int:
        """Let a node be away for so long (0: four hours) without repair, or end that; returns when it ends, in
        milliseconds since 1970, 0 when it is over.

        Raises:
            NotFoundError: there is no such node.
            ConflictError: it is being drained.
        """
        with self._as_admin() as master:
            request = m.SetMaintenance(node_id=node_id, off=off, seconds=seconds)
            return master.call(request, m.SetMaintenanceReply).header.until_ms

    # -- healing -----------------------------------------------------------------------------------------------

    def repair_status(self) -> m.RepairStatusReply:
        """How far repair and rebalance are, and what they wait for."""
        with self._as_admin() as master:
            return master.call(m.RepairStatus(), m.RepairStatusReply).header

    def force_repair(self) -> list[str]:
        """Give up the nodes that vanished at once, so that what they held is copied; returns their names."""
        with self._as_admin() as master:
            return master.call(m.ForceRepair(), m.ForceRepairReply).header.nodes

    def pause_rebalance(self, *, paused: bool = True) -> None:
        """Move no copies to even out how full nodes are, or go on."""
        with self._as_admin() as master:
            master.call(m.PauseRebalance(paused=paused), m.Done)

    def explain(self, subject: str) -> tuple[m.ExplainReply, list[str]]:
        """Where the copies of a path, a chunk or a node are and why, in sentences for people.

        Raises:
            NotFoundError: there is no such thing.
            ConflictError: several chunks begin like that.
        """
        with self._as_admin() as master:
            answer = master.call(m.Explain(subject=subject), m.ExplainReply)
            return answer.header, answer.items(list[str])

    # -- space -------------------------------------------------------------------------------------------------

    def space_detail(self) -> tuple[m.SpaceDetailReply, list[m.NodeSpace]]:
        """What the bytes on each volume are there for."""
        with self._as_admin() as master:
            answer = master.call(m.SpaceDetail(), m.SpaceDetailReply)
            return answer.header, answer.items(list[m.NodeSpace])

    # -- settings ----------------------------------------------------------------------------------------------

    def settings(self) -> list[m.SettingItem]:
        """Every setting of the cluster, with its value, default and bounds."""
        with self._as_admin() as master:
            return master.call(m.ListSettings(), m.ListSettingsReply).items(list[m.SettingItem])

    def set_setting(self, name: str, value: str) -> None:
        """Change one setting; it holds at once, and for good.

        Raises:
            UsageError: there is no such setting, or the value makes no sense.
        """
        with self._as_admin() as master:
            master.call(m.SetSetting(request_id=master.request_id(), name=name, value=value), m.Done)

    # -- finding damage ----------------------------------------------------------------------------------------

    def report_finding(self, node_id: int, digest: bytes = b"", detail: str = "") -> None:
        """Have a node look at its copy of a chunk, or without a digest at all that it has; what it finds is mended.

        Raises:
            NotFoundError: there is no such node.
        """
        with self._as_admin() as master:
            master.call(m.ReportFinding(node_id=node_id, digest=digest, detail=detail), m.Done)
