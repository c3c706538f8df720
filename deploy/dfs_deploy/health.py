"""The questions that `deploy` asks a cluster about its health."""

from typing import Protocol

from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import Credentials
from dfs_wire.messages import DrainProgressReply


class Health(Protocol):
    """Whether a cluster works. Used by one thread."""

    def master_answers(self, spec: ClusterSpec, credentials: Credentials) -> bool:
        """Whether the master answers this cluster's keys."""
        ...

    def live_nodes(self, spec: ClusterSpec, credentials: Credentials, since_ms: int) -> dict[str, int]:
        """Ids by name of the nodes that are live and were heard of since `since_ms` (milliseconds since 1970)."""
        ...

    def node_states(self, spec: ClusterSpec, credentials: Credentials) -> dict[str, str]:
        """How the master sees its nodes, by name; nothing while it does not answer."""
        ...

    def self_test(self, spec: ClusterSpec, credentials: Credentials) -> None:
        """Upload a file, read it back, compare, remove it.

        Raises:
            DfsError: one of the steps failed.
        """
        ...

    def known_nodes(self, spec: ClusterSpec, credentials: Credentials) -> dict[str, int]:
        """Ids by name of all nodes that the master knows.

        Raises:
            DfsError: the master does not answer, or its database may be older than what it ought to know.
        """
        ...

    def too_few_copies(self, spec: ClusterSpec, credentials: Credentials) -> int:
        """How many chunks have fewer copies on live nodes than wanted.

        Raises:
            DfsError: the master does not answer.
        """
        ...

    def drain_node(self, spec: ClusterSpec, credentials: Credentials, node_id: int, *, cancel: bool) -> None:
        """Begin to move a node's copies elsewhere, or stop that."""
        ...

    def drain_progress(self, spec: ClusterSpec, credentials: Credentials, node_id: int) -> DrainProgressReply:
        """What still needs a node that is being drained."""
        ...

    def forget_node(self, spec: ClusterSpec, credentials: Credentials, node_id: int) -> None:
        """Have the master forget a drained node.

        Raises:
            ConflictError: a chunk needs its copy there.
        """
        ...

    def change_setting(self, spec: ClusterSpec, credentials: Credentials, name: str, value: str) -> None:
        """Have the master change a setting.

        Raises:
            UsageError: it refuses.
        """
        ...
