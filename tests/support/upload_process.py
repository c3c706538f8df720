"""The program `upload_worker` as a child that a test feeds with batches and kills."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.faults import FaultCluster
from tests.support.history import Upload

_REPOSITORY = Path(__file__).parents[2]


class UploadProcess:
    """One client process at a time; another one takes its place after a kill. Used by one thread."""

    def __init__(self, cluster: FaultCluster) -> None:
        self.history = cluster.root / "history.jsonl"
        scratch = cluster.root / "scratch"
        scratch.mkdir(exist_ok=True)
        self._command = [
            *(sys.executable, "-m", "tests.support.upload_worker"),
            *(cluster.addresses["master"], cluster.keys["client_key"], str(cluster.root / "home")),
            *(str(self.history), str(scratch)),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, seconds: float = 30.0) -> None:
        """Start a fresh one; returns when it is connected."""
        self._heard = b""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_REPOSITORY, start_new_session=True
        )
        self._hear("ready", seconds)

    def begin(self, batch: Sequence[Upload], *, seconds: float = 30.0) -> None:
        """Give it a batch; returns when its uploads start."""
        process = self._running()
        if process.stdin is None:
            raise ValueError("the worker has no input")
        process.stdin.write(json.dumps([(each.id, each.path, each.size) for each in batch]).encode() + b"\n")
        process.stdin.flush()
        self._hear("begin", seconds)

    def finish(self, *, seconds: float) -> bool:
        """Wait for the end of the batch; false when the process died instead."""
        try:
            self._hear("done", seconds)
        except EOFError:
            return False
        return True

    def kill(self) -> None:
        """`kill -9`."""
        self._running().kill()
        self.reap()

    def reap(self) -> None:
        """It was killed, or is about to be: wait for its end."""
        process = self._running()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def end(self) -> None:
        """Whatever state it is in, it is gone afterwards."""
        if self._process is not None:
            self._process.kill()
            self.reap()

    def _hear(self, word: str, seconds: float) -> None:
        """Read until the word comes.

        Raises:
            EOFError: the process ended instead.
            AssertionError: it says nothing.
        """
        process = self._running()
        if process.stdout is None:
            raise ValueError("the worker has no output")
        deadline = time.monotonic() + seconds
        while word.encode() + b"\n" not in self._heard:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"the client did not say {word!r} within {seconds:.0f} s")
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                raise EOFError(f"the client ended before it said {word!r}")
            self._heard += data
        self._heard = self._heard.partition(word.encode() + b"\n")[2]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ValueError("the worker was never started")
        return self._process
