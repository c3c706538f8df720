"""A real cluster of processes in a home of its own, for tests: deployed by the command that users type."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.deployed_cluster import DeployedCluster
from tests.support.polling import poll_for

from dfs_deploy.process_engine import ProcessEngine
from dfs_deploy.state import ClusterPaths
from dfs_runtime.clock import SystemClock

_END_SECONDS = 10


class ProcessCluster(DeployedCluster):
    """One deployed cluster of processes. Used from one thread."""

    def __init__(self, home: Path, name: str = "test", *options: str) -> None:
        super().__init__(home, name)
        self._engine = ProcessEngine(self._store, home, SystemClock())
        self.deploy("--engine", "process", *options)

    def dfs_until(self, words: str, *arguments: str) -> "subprocess.Popen[str]":
        """`dfs ARGUMENTS`, which has just said these words on its standard error, or has ended."""
        command = [sys.executable, "-m", "dfs_deploy.cli", *arguments]
        child = subprocess.Popen(command, env=self.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert child.stderr is not None
        for line in child.stderr:
            if words in line:
                break
        return child

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def paths(self) -> ClusterPaths:
        """Where its files lie."""
        return self._store.paths(self.name)

    @property
    def pids(self) -> dict[str, int]:
        """The pids of the roles that run: `master`, `node-1`, ..."""
        return {role: process.pid for role, process in self._engine.processes(self.spec).items()}

    # -- disturbing ---------------------------------------------------------------------------------------------

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a role, and wait for its end where the signal means that."""
        pid = self.pids[role]
        os.kill(pid, number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            poll_for(f"the end of {role}", lambda: role not in self.pids, seconds=_END_SECONDS + 5)

    def start(self) -> None:
        """Start every role that does not run, and wait until all nodes are live."""
        self.dfs("start")

    def stop(self) -> None:
        """End all roles politely."""
        self.dfs("stop")

    def close(self) -> None:
        """End everything and delete it; what still runs then is killed by its pid."""
        if self._store.find(self.name) is None:
            return
        done = self.dfs("destroy", "--delete-data", "--yes", check=False)
        if done.returncode != 0:
            self._engine.stop(self.spec, self.spec.roles)
            raise AssertionError(f"the cluster could not be destroyed: {done.stderr}")
