"""What runs the roles of a cluster: containers or local processes. Everything above it knows only this."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from dfs_deploy.plan import Found
from dfs_deploy.spec import ClusterSpec, NodeSpec


class LogLine(msgspec.Struct, frozen=True):
    """One line of a role's log, without its line break: a JSON object, or raw output of a process in trouble."""

    role: str
    text: str


class Engine(Protocol):
    """Starts, finds and ends the roles of clusters, and finds them again in a later life.

    An engine is used by one thread. Every method may raise `DfsError`.
    """

    @property
    def name(self) -> str:
        """What `--engine` calls it."""
        ...

    def look(self, spec: ClusterSpec) -> Found:
        """What is there of a cluster; `profile_current` is not this engine's to say."""
        ...

    def initialise_master(self, spec: ClusterSpec) -> None:
        """Make the master's data and keep the cluster's keys; whole or not at all."""
        ...

    def start_master(self, spec: ClusterSpec) -> None:
        """Start the master and return at once."""
        ...

    def start_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Start a node and return at once. One without an id joins for the first time."""
        ...

    def stop(self, spec: ClusterSpec, roles: Sequence[str]) -> None:
        """End roles together: politely, then by force. Those that do not run are fine."""
        ...

    def outdated(self, spec: ClusterSpec) -> frozenset[str]:
        """The running roles that another version of dfs runs than this one."""
        ...

    def set_aside(self, spec: ClusterSpec, role: str) -> None:
        """End a role, and keep what ran it for `bring_back`. The role is started anew next."""
        ...

    def can_bring_back(self, spec: ClusterSpec, role: str) -> bool:
        """Whether `bring_back` would start what was set aside; nothing is touched for the answer."""
        ...

    def bring_back(self, spec: ClusterSpec, role: str) -> None:
        """End a role and start what was set aside, if anything was.

        Raises:
            ConflictError: the version before is not there any more.
        """
        ...

    def let_go(self, spec: ClusterSpec) -> None:
        """Forget all that was set aside."""
        ...

    def data_place(self, spec: ClusterSpec) -> str:
        """Where the data of a cluster lies, for people."""
        ...

    def last_words(self, spec: ClusterSpec, role: str) -> str:
        """Why a role ended, as far as it said; and where to read more."""
        ...

    def discard_unjoined(self, spec: ClusterSpec, node: NodeSpec) -> bool:
        """Delete what was made for a node that never joined; all else is kept, and False comes back."""
        ...

    def discard_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Delete the volume and logs of a node that has ended and that the master forgot; none is fine."""
        ...

    def dismantle(self, spec: ClusterSpec) -> None:
        """Remove what ran the roles, which have ended; all data stays."""
        ...

    def remove(self, spec: ClusterSpec) -> None:
        """Delete all data of a cluster whose roles have ended."""
        ...

    def take_back(self, spec: ClusterSpec) -> None:
        """Delete what this engine made of a new cluster, whose roles have ended; what was there before stays."""
        ...

    def run_master_command(self, spec: ClusterSpec, arguments: Sequence[str]) -> int:
        """Run `dfs-master ARGUMENTS` where the database is, on this command's own output; its exit code."""
        ...

    def save_catalog(self, spec: ClusterSpec, target: Path) -> None:
        """Write a consistent copy of the metadata database to a new file, with the master running or not.

        Raises:
            CorruptError: the database cannot be read.
        """
        ...

    def scan_volume(self, spec: ClusterSpec, node: NodeSpec, out: BinaryIO, *, read_data: bool) -> None:
        """Write what `dfs_deploy.fsck.scan` says of a node's volume to `out`, with the node running or not.

        Raises:
            VolumeForeignError: no volume is there.
        """
        ...

    def log_tail(self, spec: ClusterSpec, role: str, lines: int) -> list[LogLine]:
        """The last lines of a role's log."""
        ...

    def follow_logs(self, spec: ClusterSpec, roles: Sequence[str], lines: int) -> Iterator[LogLine]:
        """The last lines of some roles, then new ones as they come, without end."""
        ...
