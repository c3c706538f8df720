"""`dfs-client` as a user runs it, against a cluster of real processes."""

import os
import subprocess
from dataclasses import dataclass

from tests.support.faults import FaultCluster

from dfs_deploy.programs import program_command


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended."""

    code: int
    output: bytes
    errors: str

    @property
    def sentence(self) -> str:
        """What it said on standard error, which must be one line."""
        lines = self.errors.strip().splitlines()
        assert len(lines) == 1, self.errors
        return lines[0]


def client_environment(cluster: FaultCluster) -> dict[str, str]:
    """Which cluster, with which key."""
    own = {
        "DFS_HOME": str(cluster.root / "home"),
        "DFS_MASTER": cluster.addresses["master"],
        "DFS_KEY": cluster.keys["client_key"],
    }
    return {**os.environ, **own}


def run_client(cluster: FaultCluster, *arguments: str, seconds: float = 120.0, content: bytes = b"") -> Ran:
    """Run it to its end; `content` is its standard input.

    Raises:
        subprocess.TimeoutExpired: it did not end in time.
    """
    command = [*program_command("dfs-client"), *arguments]
    environment = client_environment(cluster)
    done = subprocess.run(command, input=content, env=environment, capture_output=True, timeout=seconds, check=False)
    return Ran(done.returncode, done.stdout, done.stderr.decode())
