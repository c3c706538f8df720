"""w5: what the servers take while nothing happens, how fast they start, and the smallest command."""

import os
import subprocess
import time

from bench.cluster import NAME, NODES, program
from bench.recording import Run
from dfs_client.api import connect
from dfs_wire.errors import DfsError

#: Until heartbeats and housekeeping are all that goes on.
SETTLE_SECONDS = 3.0
LISTS = 10
SECONDS_MAX = 60.0


def idle_servers(run: Run) -> None:
    """From `dfs deploy` to the first acknowledged write, then the memory of all servers, then `dfs-client list`."""
    deploy = ["deploy", "--nodes", str(NODES), "--name", NAME, "--engine", run.cluster.engine]
    _first_write(run, "w5 deploy to first acknowledged write", deploy)
    run.cluster.run("dfs", "stop", "--name", NAME)
    _first_write(run, "w5 start to first acknowledged write", ["start", "--name", NAME])
    time.sleep(SETTLE_SECONDS)
    memory = run.cluster.memory_mib()
    run.note("w5 memory of all servers", sum(memory.values()), "MiB")
    run.note("w5 memory of the master", memory["master"], "MiB")
    run.cluster.run("dfs-client", "list")
    for _ in range(LISTS):
        run.seconds("w5 dfs-client list", lambda: run.cluster.run("dfs-client", "list"))


def _first_write(run: Run, name: str, arguments: list[str]) -> None:
    """Time a command of `dfs` from its start to a client's first acknowledged upload, which does not wait for it."""
    os.sync()
    begun = time.perf_counter()
    command = subprocess.Popen([program("dfs"), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _upload_at_last(run)
    seconds = time.perf_counter() - begun
    _, words = command.communicate(timeout=SECONDS_MAX)
    if command.returncode != 0:
        raise RuntimeError(f"dfs {arguments[0]}: {words.decode('utf-8', 'replace')}")
    run.note(name, seconds, "s")
    run.note(name.replace("first acknowledged write", "the command's end"), time.perf_counter() - begun, "s")


def _upload_at_last(run: Run) -> None:
    source = run.files / "first"
    source.write_bytes(os.urandom(4096))
    end = time.perf_counter() + SECONDS_MAX
    while True:
        try:
            with connect() as dfs:
                dfs.upload(source, "/first")
                return
        except DfsError:
            if time.perf_counter() > end:
                raise
            time.sleep(0.01)
