"""`kill -9` of client, master or node at any point of an upload: nothing acknowledged is lost, nothing is half there.

`DFS_KILL_POINTS` says how many points (a quarter of them at named steps), `DFS_SEED` which ones.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path

import pytest
from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload, read_history
from tests.support.kill_tally import Tally
from tests.support.oracle import examine, temporary_files
from tests.support.polling import poll_for
from tests.support.traces import attached, needs_strace
from tests.support.upload_process import UploadProcess

from dfs_client.api import Dfs
from dfs_wire.errors import AlreadyExistsError, DfsError

POINTS = int(os.environ.get("DFS_KILL_POINTS", "60"))
SEED = int(os.environ.get("DFS_SEED", str(random.SystemRandom().randrange(1 << 32))))
STEP_POINTS = POINTS // 4

#: An upload outlives a master or a node that is away for a moment; no batch may take longer than this.
BATCH_SECONDS = 60.0
#: How often each role is the victim: a client is back soonest, a master last.
VICTIMS = ["client"] * 4 + ["master"] * 2 + ["node-1", "node-2", "node-3"]

#: Victim, system call, and the latest time that a thread of it makes that call in every batch (strace counts by
#: thread). The victim dies on entering the call, which then does not happen.
STEPS = [
    ("node-1", "fallocate", 1),  # space for a chunk
    ("master", "pwrite64", 8),  # into the database's log
    ("node-2", "pwrite64", 2),  # data, or the header over it
    ("client", "sendto", 2),  # a request
    ("node-3", "fdatasync", 1),  # the chunk file is whole, not durable
    ("master", "fdatasync", 1),  # the commit is written, not durable
    ("node-1", "rename", 1),  # durable, has no name
    ("client", "recvfrom", 1),  # an answer
    ("node-2", "fsync", 1),  # has its name, the directory is not durable
    ("master", "sendto", 8),  # committed, not acknowledged; or a plan
    ("node-3", "sendto", 1),  # durable, not acknowledged; or "go on"
    ("client", "fsync", 1),  # acknowledged, and nobody knows yet
    ("master", "recvfrom", 8),  # asked, nothing begun
]


class KillRun:
    """Point after point on one cluster. Used by one thread."""

    def __init__(self, cluster: FaultCluster, worker: UploadProcess) -> None:
        self.cluster = cluster
        self.rng = random.Random(SEED)
        self.tally = Tally(SEED)
        self._worker = worker
        self._number = 0

    def measure(self) -> float:
        """How long a batch takes undisturbed, in seconds."""
        longest = 0.0
        for _ in range(3):
            started = time.monotonic()
            self._worker.begin(self._batch("calm"))
            assert self._worker.finish(seconds=BATCH_SECONDS)
            longest = max(longest, time.monotonic() - started)
        return longest

    def at_moment(self, victim: str, seconds: float) -> None:
        """Kill the victim so long after an upload began."""
        batch = self._batch(victim)
        self._worker.begin(batch)
        time.sleep(seconds)
        if victim == "client":
            self._worker.kill()
        else:
            self.cluster.daemons[victim].kill()
        self._revive(victim)
        self._judge(victim, batch)

    def at_step(self, victim: str, call: str, when: int) -> None:
        """Let the victim die as it makes a system call for the `when`th time."""
        if victim in self.cluster.nodes:
            # Every node must get chunks: all are there, and this client holds nothing against any of them.
            self.cluster.await_live()
            self._worker.kill()
            self._worker.start()
        daemon = self._worker if victim == "client" else self.cluster.daemons[victim]
        batch = self._batch(f"{victim}-{call}")
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}")
        with attached(daemon.pid, *inject, output=self.cluster.root / "kill.trace"), suppress(EOFError):
            self._worker.begin(batch)
            poll_for(f"the end of {victim} at {call}", lambda: not daemon.alive, seconds=BATCH_SECONDS)
        self._revive(victim)
        self._judge(victim, batch)

    def finish(self) -> None:
        """Everything dies at once and comes back over the same data: then all that was acknowledged is read."""
        for daemon in self.cluster.daemons.values():
            daemon.kill()
        for daemon in self.cluster.daemons.values():
            daemon.start()
        self.cluster.await_live()
        with self.cluster.client() as dfs:
            acknowledged = self.tally.acknowledged.values()
            self.tally.lost = [upload.id for upload in acknowledged if not self._holds(dfs, upload)]

    def _batch(self, name: str) -> list[Upload]:
        """A few small files that travel together, two of one chunk, one of several."""
        self._number += 1
        sizes = [self.rng.randrange(0, 64 * 1024) for _ in range(6)]
        sizes += [self.rng.randrange(65 * 1024, MIB) for _ in range(2)] + [self.rng.randrange(9 * MIB, 18 * MIB)]
        name = f"{self._number:04}-{name}"
        return [Upload(f"{name}-{place}", f"/{name}/{place}", size) for place, size in enumerate(sizes)]

    def _revive(self, victim: str) -> None:
        """Start the victim over the same data, and wait for the end of the batch."""
        if victim == "client":
            if not self._worker.alive:
                self._worker.reap()
            self._worker.start()
        elif victim == "master":
            self.cluster.master.start()
            assert self._worker.finish(seconds=BATCH_SECONDS), "the client died of it"
        else:
            self.cluster.revive(victim)
            assert self._worker.finish(seconds=BATCH_SECONDS), "the client died of it"

    def _judge(self, victim: str, batch: Sequence[Upload]) -> None:
        """What was acknowledged has one version; the rest is whole or absent, and repeating it makes one version."""
        tally = self.tally
        tally.points[victim] += 1
        outcomes = read_history(self._worker.history)
        with self.cluster.client() as dfs:
            for upload in batch:
                if upload.id not in outcomes.ok:
                    self._judge_unacknowledged(dfs, upload)
                tally.acknowledged[upload.id] = upload
                if self._versions(upload.path) != 1:
                    tally.duplicates.append(upload.id)
                if upload.id in outcomes.fail:
                    tally.refused.append(f"{upload.id}: {outcomes.errors[upload.id]}")

    def _judge_unacknowledged(self, dfs: Dfs, upload: Upload) -> None:
        if not dfs.exists(upload.path):
            self.tally.absent += 1
        elif self._holds(dfs, upload):
            self.tally.whole += 1
        else:
            self.tally.half_visible.append(upload.id)
        with suppress(AlreadyExistsError):
            dfs.upload(upload.stream(), upload.path, clobber=False)

    def _holds(self, dfs: Dfs, upload: Upload) -> bool:
        """Whether the file reads back byte-equal."""
        target = self.cluster.root / "read-back"
        try:
            dfs.download(upload.path, target, force=True)
        except DfsError:
            return False
        return target.read_bytes() == upload.content()

    def _versions(self, path: str) -> int:
        """How many versions a name in a directory below the root has ever had."""
        _, parent, name = path.split("/")
        query = (
            "SELECT count(*) AS versions FROM versions v JOIN entries e ON v.entry_id = e.id"
            " JOIN entries p ON e.parent_id = p.id WHERE p.name = ? AND e.name = ?"
        )
        return int(self.cluster.rows(query, parent, name)[0]["versions"])


@contextmanager
def kill_run(root: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[KillRun]:
    """A cluster with a client; after the block everything is restarted, read and judged."""
    with capsys.disabled():
        print(f"\nDFS_KILL_POINTS={POINTS} DFS_SEED={SEED}")
    with FaultCluster(root) as cluster:
        cluster.start()
        worker = UploadProcess(cluster)
        try:
            worker.start()
            run = KillRun(cluster, worker)
            yield run
        finally:
            worker.end()
        run.finish()
        found = examine(cluster)
        with capsys.disabled():
            print(f"{run.tally}; oracle: {found.copies} good copies of {found.files} files")
        tally = run.tally
        assert (tally.lost, tally.half_visible, tally.duplicates, tally.refused) == ([], [], [], [])
        assert found.faults == []
        assert temporary_files(cluster) == []


@pytest.mark.timeout(60 + 15 * POINTS)
def test_kill_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every acknowledged file reads back byte-equal, any other is whole or absent, and its repeat makes one version."""
    with kill_run(tmp_path, capsys) as run:
        seconds = run.measure()
        for _ in range(POINTS - STEP_POINTS):
            run.at_moment(run.rng.choice(VICTIMS), run.rng.uniform(0, 1.1 * seconds))


@needs_strace
@pytest.mark.timeout(60 + 15 * POINTS)
def test_kill_at_each_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same where the victim dies exactly before it writes, syncs, renames, commits or acknowledges."""
    with kill_run(tmp_path, capsys) as run:
        for victim, call, latest in islice(cycle(STEPS), STEP_POINTS):
            run.at_step(victim, call, run.rng.randint(1, latest))
