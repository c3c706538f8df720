"""A fresh cluster of three nodes for one run, through the same command that users type; and what its servers use."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAME = "bench"
NODES = 3
_TICKS = os.sysconf("SC_CLK_TCK")
_PROGRAMS = {"dfs-master": "master", "dfs-node": "nodes"}


def program(name: str) -> str:
    """A command of this installation."""
    return str(Path(sys.executable).with_name(name))


@dataclass(frozen=True, slots=True)
class Server:
    """A daemon of the cluster. `role` is `master` or `nodes`; `volume` is a node's, where it is a path here."""

    pid: int
    role: str
    volume: Path | None


class Cluster:
    """One deployed cluster. `home` is its `DFS_HOME`, which this process's environment names."""

    def __init__(self, engine: str, home: Path) -> None:
        self.engine = engine
        self.home = home

    def deploy(self) -> None:
        """Start it; returns when an uploaded file came back."""
        self.run("dfs", "deploy", "--nodes", str(NODES), "--name", NAME, "--engine", self.engine)

    def destroy(self) -> None:
        """End it and delete its data."""
        self.run("dfs", "destroy", "--name", NAME, "--delete-data", "--yes")

    def run(self, name: str, *arguments: str) -> bytes:
        """Run a command of ours to its end; what it printed.

        Raises:
            RuntimeError: it failed; with its own words.
        """
        done = subprocess.run([program(name), *arguments], capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name} {' '.join(arguments)}: {done.stderr.decode('utf-8', 'replace').strip()}")
        return done.stdout

    def servers(self) -> list[Server]:
        """The daemons that run now."""
        found = self._contained() if self.engine == "docker" else _pids()
        servers = []
        for pid in found:
            arguments = _arguments(pid)
            role = next((_PROGRAMS[Path(each).name] for each in arguments[:4] if Path(each).name in _PROGRAMS), None)
            if role is None or (self.engine != "docker" and not any(str(self.home) in each for each in arguments)):
                continue
            volume = arguments[arguments.index("--volume") + 1] if "--volume" in arguments else None
            servers.append(Server(pid, role, Path(volume) if volume else None))
        return servers

    def kill_and_wipe_node(self) -> None:
        """Kill one node without a word and delete what is on its volume."""
        victim = next(server for server in self.servers() if server.role == "nodes")
        if victim.volume is None or not victim.volume.is_dir():
            raise RuntimeError("the volume of a node in a container cannot be wiped from here; use ENGINE=process")
        os.kill(victim.pid, signal.SIGKILL)
        shutil.rmtree(victim.volume)

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time that each role has used since it started."""
        used = dict.fromkeys(_PROGRAMS.values(), 0.0)
        for server in self.servers():
            fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            used[server.role] += (int(fields[11]) + int(fields[12])) / _TICKS
        return used

    def master_seconds(self) -> float:
        """Processor time that the master has used, to the microsecond, where `cpu_seconds` counts whole ticks."""
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in self._master_threads()) / 1e9

    def pin_master(self, cpus: set[int]) -> None:
        """Have the master's threads run on these processors only."""
        for thread in self._master_threads():
            os.sched_setaffinity(int(thread.name), cpus)

    def memory_mib(self) -> dict[str, float]:
        """Memory of each role: its own pages, and its share of those that it shares."""
        used = dict.fromkeys(_PROGRAMS.values(), 0.0)
        for server in self.servers():
            for line in Path(f"/proc/{server.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    used[server.role] += int(line.split()[1]) / 1024
        return used

    def _master_threads(self) -> list[Path]:
        """What the kernel tells of each."""
        (master,) = (server for server in self.servers() if server.role == "master")
        return list(Path(f"/proc/{master.pid}/task").iterdir())

    @staticmethod
    def _contained() -> list[int]:
        """Processes of the cluster's containers."""
        listed = ["docker", "ps", "--quiet", "--filter", f"label=dfs.cluster={NAME}"]
        containers = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
        pids = []
        for container in containers:
            top = subprocess.run(["docker", "top", container, "-eo", "pid"], capture_output=True, text=True, check=True)
            pids += [int(word) for word in top.stdout.split() if word.isdigit()]
        return pids


@contextmanager
def fresh_cluster(engine: str, directory: Path | None, *, deployed: bool = True) -> Iterator[Cluster]:
    """A cluster below a new directory, destroyed afterwards. Sets `DFS_HOME` for this process.

    Without `deployed` the block deploys it, for example to time that.
    """
    root = Path(tempfile.mkdtemp(prefix="dfs-bench-", dir=directory))
    cluster = Cluster(engine, root / "home")
    os.environ["DFS_HOME"] = str(cluster.home)
    os.environ.pop("DFS_PROFILE", None)
    try:
        if deployed:
            cluster.deploy()
        yield cluster
    finally:
        cluster.destroy()
        shutil.rmtree(root)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _arguments(pid: int) -> list[str]:
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").split("\0")
    except OSError:
        return []
