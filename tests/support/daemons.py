"""A master and nodes as real processes, on ports of their own, ended by the test that started them."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.wire import poll_for

BIN = Path(sys.executable).parent


@dataclass
class Daemon:
    """One process and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, object]]:
        """Log records so far."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def said(self, pattern: str) -> bool:
        """Whether a log message matches."""
        return any(re.search(pattern, str(line["message"])) for line in self.lines())

    def end(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Signal it and wait for its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@dataclass
class Daemons:
    """Starts processes below one directory."""

    root: Path
    running: list[Daemon] = field(default_factory=list)
    master_address: str = ""

    def init_master(self) -> dict[str, str]:
        """Make a cluster; its keys."""
        made = subprocess.run(
            [BIN / "dfs-master", "init", "--data", self.root / "master"], check=True, capture_output=True, timeout=60
        )
        keys: dict[str, str] = json.loads(made.stdout)
        (self.root / "join-token").write_text(keys["join_token"])
        return keys

    def start_master(self) -> Daemon:
        """Start it on the port that it had, or on a free one."""
        listen = self.master_address or "127.0.0.1:0"
        master = self._start("dfs-master", "master.log", "--data", str(self.root / "master"), "--listen", listen)
        poll_for(lambda: any("address" in line for line in master.lines()), 60)
        self.master_address = next(str(line["address"]) for line in master.lines() if "address" in line)
        return master

    def start_node(self, name: str, *options: str, volume: str = "", token: bool = True) -> Daemon:
        """Start a node; it may not serve yet."""
        arguments = ["--volume", str(self.root / (volume or name)), "--name", name, "--master", self.master_address]
        arguments += ["--join-token-file", str(self.root / "join-token")] if token else []
        return self._start("dfs-node", f"{name}.log", *arguments, "--listen", "127.0.0.1:0", *options)

    def _start(self, program: str, log: str, *arguments: str) -> Daemon:
        path = self.root / log
        path.unlink(missing_ok=True)
        with (self.root / f"{log}.stderr").open("wb") as terminal:
            process = subprocess.Popen(
                [BIN / program, *arguments, "--log-file", path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=terminal,
            )
        self.running.append(Daemon(process, path))
        return self.running[-1]


@contextmanager
def daemons(root: Path) -> Iterator[Daemons]:
    """Whatever was started ends with the block."""
    started = Daemons(root)
    try:
        yield started
    finally:
        for daemon in started.running:
            if daemon.process.poll() is None:
                daemon.process.kill()
            daemon.process.wait(10)
