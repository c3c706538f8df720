"""A cluster of real processes that a test may kill, pause, trace and start again over the same data.

Unlike a deployed cluster, nothing stands between the test and a process: each one is a child, ended by its pid.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support.polling import poll_for

from dfs_client.api import Dfs, connect
from dfs_deploy.ports import choose_ports
from dfs_deploy.programs import MASTER_PROGRAM, NODE_PROGRAM, daemon_environment, program_command
from dfs_wire.errors import DfsError
from dfs_wire.port_probe import port_is_free

HOST = "127.0.0.1"
MIB = 1024 * 1024

#: A node or master is up again within this time, on a machine that does other work as well.
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class Daemon:
    """One role as a child process. Used by one thread."""

    def __init__(self, name: str, command: Sequence[str], directory: Path, home: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._command = [*command, "--log-file", str(self.log)]
        self._output = directory / f"{name}.out"
        self._environment = daemon_environment(os.environ, home)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether it runs (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    def start(self, wrapper: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        """Start it over its data; `wrapper` goes before the command and must keep its pid."""
        if self.alive:
            raise ValueError(f"{self.name} runs already")
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*wrapper, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**self._environment, **(environment or {})},
            )

    def kill(self) -> None:
        """`kill -9`, also of a paused one; returns when it is gone."""
        process = self._running()
        process.kill()
        process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        process = self._running()
        process.terminate()
        return process.wait(STOP_SECONDS)

    def wait(self, seconds: float) -> int:
        """Wait for it to end by itself; returns the exit code."""
        return self._running().wait(seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP for the length of the block."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Whatever state it is in, it is gone afterwards."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def memory_peak_bytes(self) -> int:
        """The most memory that was resident at once (`VmHWM`)."""
        return int(self.status_fields()["VmHWM"].split()[0]) * 1024

    def status_fields(self) -> dict[str, str]:
        """What `/proc/PID/status` says."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def descriptor_count(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def thread_count(self) -> int:
        """How many threads it has."""
        return int(self.status_fields()["Threads"])

    def last_words(self) -> str:
        """The end of what it wrote, for a failing test."""
        texts = [path.read_text(errors="replace")[-2000:] for path in (self._output, self.log) if path.exists()]
        return f"{self.name}: {' '.join(texts)}"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ValueError(f"{self.name} was never started")
        return self._process


class FaultCluster:
    """A master and nodes below one directory. Used by one thread.

    Leaving the `with` block ends every process and deletes the volumes; logs and metadata stay for whoever looks.
    """

    def __init__(self, root: Path, *, nodes: int = 3, volumes: Mapping[str, Path] | None = None) -> None:
        """Lay it out; nothing runs yet.

        Args:
            root: an empty directory.
            nodes: how many; they are called node-1, node-2, ...
            volumes: directories of single nodes that are to lie elsewhere.
        """
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.data = root / "master"
        names = [f"node-{number}" for number in range(1, nodes + 1)]
        self.volumes = {name: (volumes or {}).get(name, root / name) for name in names}
        self._exits = ExitStack()
        for volume in self.volumes.values():
            self._exits.callback(shutil.rmtree, volume / "chunks", ignore_errors=True)
        # From a random place on, so that test runs side by side do not choose the same.
        ports = choose_ports(
            count=nodes + 1,
            first=None,
            host=HOST,
            reserved={},
            probe=port_is_free,
            after=random.randint(12_000, 30_000),
        )
        self.addresses = {name: f"{HOST}:{port}" for name, port in zip(["master", *names], ports, strict=True)}
        self.master = self._daemon("master", MASTER_PROGRAM, "--data", str(self.data))
        self.nodes = {name: self._node(name) for name in names}
        self.keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _daemon(self, name: str, program: str, *arguments: str) -> Daemon:
        command = [*program_command(program), *arguments, "--listen", self.addresses[name]]
        daemon = Daemon(name, command, self.root, self.root / "home")
        self._exits.callback(daemon.end)
        return daemon

    def _node(self, name: str) -> Daemon:
        options = ["--volume", str(self.volumes[name]), "--name", name, "--master", self.addresses["master"]]
        return self._daemon(name, NODE_PROGRAM, *options, "--join-token-file", str(self.root / "join-token"))

    @property
    def daemons(self) -> dict[str, Daemon]:
        """All roles by name, the master first."""
        return {"master": self.master, **self.nodes}

    def initialise(self) -> None:
        """Make the master's data and the join token."""
        command = [*program_command(MASTER_PROGRAM), "init", "--data", str(self.data)]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
        self.keys = json.loads(made.stdout)
        (self.root / "join-token").write_text(self.keys["join_token"])

    def start(self) -> Self:
        """Initialise and start everything; returns when all nodes are live."""
        self.initialise()
        for daemon in self.daemons.values():
            daemon.start()
        self.await_live()
        return self

    @contextmanager
    def client_when_started(self) -> Iterator[Dfs]:
        """Start everything; a client of it for the length of the block."""
        self.start()
        with self.client() as dfs:
            yield dfs

    def client(self, **options: Any) -> Dfs:
        """A new connection with the client key."""
        return connect(
            master=self.addresses["master"], key=self.keys["client_key"], home=self.root / "home", environ={}, **options
        )

    def await_live(self, count: int | None = None, *, seconds: float = START_SECONDS) -> None:
        """Wait until so many nodes (all) are live in the master's eyes, and no more are."""
        wanted = len(self.nodes) if count is None else count
        poll_for(f"{wanted} live nodes", lambda: list(self.states().values()).count("live") == wanted, seconds=seconds)

    def revive(self, *names: str) -> None:
        """Start nodes that were killed or stopped; returns when they have registered anew and are live."""
        before = self._registrations()
        for name in names:
            self.nodes[name].start()

        def back() -> bool:
            now = self._registrations()
            return all(now[name] > before[name] for name in names)

        poll_for(f"the return of {names}", back, seconds=START_SECONDS)
        poll_for(f"{names} to be live", lambda: {self.states().get(each) for each in names} == {"live"}, seconds=10.0)

    def _registrations(self) -> dict[str, int]:
        return {row["name"]: row["registration"] for row in self.rows("SELECT name, registration FROM nodes")}

    def states(self) -> dict[str, str]:
        """Each node's state as the master tells it; empty while it does not answer."""
        try:
            with connect(master=self.addresses["master"], key=self.keys["admin_key"], environ={}) as dfs:
                return {node.name: node.state for node in dfs.status().nodes}
        except DfsError:
            return {}

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Ask the master's database file, read-only, with the standard library alone."""
        with closing(sqlite3.connect(f"file:{self.data}/metadata.db?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def events(self) -> list[dict[str, Any]]:
        """What `dfs-master db show events --json` prints."""
        command = [*program_command(MASTER_PROGRAM), "db", "show", "events", "--json", "--data", str(self.data)]
        printed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
        return [json.loads(line) for line in printed.stdout.splitlines()]

    def replica_files(self, path: str) -> list[tuple[str, str, Path]]:
        """Every copy of every chunk of a file: node, digest in hex, and the chunk file."""
        rows = self.rows("SELECT digest, node FROM file_replicas WHERE path = ? ORDER BY ordinal, node", path)
        return [(row["node"], row["digest"], self.chunk_file(row["node"], row["digest"])) for row in rows]

    def chunk_file(self, node: str, digest: str) -> Path:
        """Where a node keeps a chunk."""
        return self.volumes[node] / "chunks" / digest[:2] / digest
