"""What a real cluster is to a test, whatever runs it: a home, the commands that users type, and connections."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dfs_client.api import Dfs, connect
from dfs_client.profile import Profile, read_profile
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import StateStore
from dfs_runtime.clock import SystemClock
from dfs_wire.errors import ConflictError

COMMAND_SECONDS = 150
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


class DeployedCluster:
    """One cluster in a home of its own. `env` leads every command to it; `client()` gives a connection to close.

    Used from one thread; several connections from `client()` may be used from several.
    """

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name
        self.env = clean_environment(home) | {"DFS_PROFILE": name}
        self._store = StateStore(home, SystemClock())

    def deploy(self, *options: str) -> None:
        """Deploy on ports far from the usual ones: a stopped cluster's must still be free when it starts again."""
        for _ in range(_PORT_ATTEMPTS):
            port = str(random.randrange(10_000, 30_000, 20))
            done = self.dfs("deploy", "--name", self.name, "--port", port, *options, check=False)
            if done.returncode != ConflictError.exit_code:
                break
        assert done.returncode == 0, f"deploy ended with {done.returncode}: {done.stderr}"

    @property
    def spec(self) -> ClusterSpec:
        """What was deployed."""
        return self._store.load(self.name)

    @property
    def profile(self) -> Profile:
        """The profile that deploy wrote."""
        return read_profile(self.name, home=self.home)

    def status(self) -> dict[str, object]:
        """What `dfs status --json` prints."""
        found = json.loads(self.dfs("status", "--json").stdout)
        assert isinstance(found, dict)
        return found

    def client(self) -> Dfs:
        """A connection with the profile that deploy wrote."""
        return connect(self.name, home=self.home, environ=self.env)

    def dfs(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `dfs ARGUMENTS`."""
        return run_program("dfs_deploy.cli", *arguments, env=self.env, check=check)

    def dfs_client(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `dfs-client ARGUMENTS`."""
        return run_program("dfs_client.cli", *arguments, env=self.env, check=check)
