"""A real cluster of processes in a home of its own, for tests: deployed by the command that users type."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.polling import poll_for

from dfs_client.api import Dfs, connect
from dfs_client.profile import Profile, read_profile
from dfs_deploy.process_engine import ProcessEngine
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import ClusterPaths, StateStore
from dfs_runtime.clock import SystemClock
from dfs_wire.errors import ConflictError

COMMAND_SECONDS = 150
_END_SECONDS = 10
_PORT_ATTEMPTS = 5


def clean_environment(home: Path) -> dict[str, str]:
    """The environment of a test's commands: nothing of the developer's own clusters, and a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DFS_")}
    return kept | {"DFS_HOME": str(home)}


def run_program(
    package: str, *arguments: str, env: Mapping[str, str], check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Run `dfs` (package `dfs_deploy.cli`) or `dfs-client` (`dfs_client.cli`) to its end.

    Raises:
        AssertionError: `check` is set and it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", package, *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert not check or done.returncode == 0, f"{package} {arguments} ended with {done.returncode}: {done.stderr}"
    return done


class ProcessCluster:
    """One deployed cluster. `env` leads every command to it; `client()` gives a connection to close.

    Used from one thread; several connections from `client()` may be used from several.
    """

    def __init__(self, home: Path, name: str = "test", *options: str) -> None:
        self.home = home
        self.name = name
        self.env = clean_environment(home) | {"DFS_PROFILE": name}
        self._store = StateStore(home, SystemClock())
        self._engine = ProcessEngine(self._store, home, SystemClock())
        self._deploy(options)

    def _deploy(self, options: tuple[str, ...]) -> None:
        """Deploy on ports far from the usual ones: a stopped cluster's must still be free when it starts again."""
        for _ in range(_PORT_ATTEMPTS):
            port = str(random.randrange(10_000, 30_000, 20))
            done = self.dfs("deploy", "--name", self.name, "--port", port, "--engine", "process", *options, check=False)
            if done.returncode != ConflictError.exit_code:
                break
        assert done.returncode == 0, f"deploy ended with {done.returncode}: {done.stderr}"

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
    def profile(self) -> Profile:
        """The profile that deploy wrote."""
        return read_profile(self.name, home=self.home)

    @property
    def spec(self) -> ClusterSpec:
        """What was deployed."""
        return self._store.load(self.name)

    @property
    def paths(self) -> ClusterPaths:
        """Where its files lie."""
        return self._store.paths(self.name)

    @property
    def pids(self) -> dict[str, int]:
        """The pids of the roles that run: `master`, `node-1`, ..."""
        return {role: process.pid for role, process in self._engine.processes(self.spec).items()}

    def status(self) -> dict[str, object]:
        """What `dfs status --json` prints."""
        found = json.loads(self.dfs("status", "--json").stdout)
        assert isinstance(found, dict)
        return found

    # -- using --------------------------------------------------------------------------------------------------

    def client(self) -> Dfs:
        """A connection with the client key."""
        return connect(self.name, home=self.home, environ=self.env)

    def dfs(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `dfs ARGUMENTS`."""
        return run_program("dfs_deploy.cli", *arguments, env=self.env, check=check)

    def dfs_client(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `dfs-client ARGUMENTS`."""
        return run_program("dfs_client.cli", *arguments, env=self.env, check=check)

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
