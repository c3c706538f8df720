"""The collector with hardly any grace, on real processes: space comes back, and nothing that is needed goes with it."""

import io
import itertools
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.faults import MIB, FaultCluster
from tests.support.history import Upload
from tests.support.oracle import examine
from tests.support.polling import poll_for
from tests.support.small_disks import small_disk

from dfs_client.api import Dfs, connect
from dfs_wire.errors import ChunksMissingError, DfsError, NoSpaceError, NotFoundError, TooFewNodesError

#: `DFS_RACES=10000` for the long run.
RACES = int(os.environ.get("DFS_RACES", "400"))
#: `DFS_FULL_MIB=1024` deletes a GiB.
DISK_BYTES = int(os.environ.get("DFS_FULL_MIB", "48")) * MIB
FILE_BYTES = DISK_BYTES // 10
WORKERS = 4
#: Small files of which a tenth is kept.
PACKED = 400
NAMES_EACH = 3
SIZES = (1, 900, 5_000, 65_537, 120_000, 300_000)
CONTENTS = [random.Random(number).randbytes(size) for number, size in enumerate(SIZES)]
#: Two of the contents are stored at a time, the next pair a moment later: each is away for about as long as it takes
#: until it may be collected, so that it comes back while that happens.
TURN_SECONDS = 0.7
#: An upload that was refused leaves chunks that nobody knows of; they go in the same way.
HASTY = {"version_grace_seconds": 1, "chunk_grace_seconds": 1, "orphan_seconds": 5, "inventory_seconds": 5}
SETTLE_SECONDS = 90.0
RACE_SECONDS_MAX = 60.0


@contextmanager
def started(cluster: FaultCluster, settings: Mapping[str, float]) -> Iterator[FaultCluster]:
    """The cluster with these settings, running."""
    with cluster:
        cluster.start()
        with admin(cluster) as dfs:
            for name, value in settings.items():
                dfs.admin.set_setting(name, str(value))
        yield cluster


def admin(cluster: FaultCluster) -> Dfs:
    """An operator."""
    return connect(master=cluster.addresses["master"], key=cluster.keys["admin_key"], environ={})


def chunk_files(cluster: FaultCluster) -> set[tuple[str, str]]:
    """Node and digest of every chunk file."""
    return {
        (node, path.name)
        for node, volume in cluster.volumes.items()
        for path in (volume / "chunks").glob("*/" + "?" * 64)
    }


def good_copies(cluster: FaultCluster) -> set[tuple[str, str]]:
    """Node and digest of every copy that counts."""
    rows = cluster.rows(
        "SELECT n.name AS node, lower(hex(c.digest)) AS digest FROM replicas r"
        " JOIN nodes n ON n.id = r.node_id JOIN chunks c ON c.id = r.chunk_id WHERE r.state = 'good'"
    )
    return {(row["node"], row["digest"]) for row in rows}


def test_space_comes_back_on_full_volumes(tmp_path: Path) -> None:
    """Three disks are filled until they refuse; after deleting, the space is free again and uploads work."""
    names = ("node-1", "node-2", "node-3")
    with ExitStack() as parts:
        volumes = {name: parts.enter_context(small_disk(tmp_path / "disks" / name, DISK_BYTES)) for name in names}
        cluster = parts.enter_context(started(FaultCluster(tmp_path / "cluster", volumes=volumes), HASTY))
        dfs = parts.enter_context(cluster.client())
        kept = Upload("kept", "/kept", FILE_BYTES)
        dfs.upload(kept.stream(), kept.path)
        first = fill(dfs, "first")
        operator = parts.enter_context(admin(cluster))
        dfs.remove("/fill", recursive=True)
        detail = operator.admin.space_detail()[1]
        assert sum(node.waiting_bytes for node in detail) + sum(node.live_bytes for node in detail) >= 2 * FILE_BYTES
        poll_for("the space to come back", lambda: len(chunk_files(cluster)) == 2 * chunks_of(dfs, kept), seconds=60)
        poll_for("uploads to work again", lambda: uploads(dfs, Upload("probe", "/fill/probe", FILE_BYTES)), seconds=30)
        second = fill(dfs, "second")
        # By chance two of three volumes may be full before the third: how many files fit differs, that it is full not.
        assert len(second) >= len(first) // 2
        assert sum(shutil.disk_usage(volume).free > 2 * FILE_BYTES for volume in volumes.values()) < 2
        again, before = (len(each) * FILE_BYTES // MIB for each in (second, first))
        print(f"\n{before} MiB filled the disks; when they were deleted {again} fitted again")
        dfs.download(kept.path, tmp_path / "kept")
        assert (tmp_path / "kept").read_bytes() == kept.content()
        assert examine(cluster).faults == []


def chunks_of(dfs: Dfs, upload: Upload) -> int:
    """Into how many chunks a file was cut."""
    return len(dfs.stat(upload.path, chunks=True).chunks)


def fill(dfs: Dfs, label: str) -> list[Upload]:
    """Store files until one is refused for want of space."""
    stored: list[Upload] = []
    while True:
        upload = Upload(f"{label}-{len(stored)}", f"/fill/{label}-{len(stored)}", FILE_BYTES)
        try:
            dfs.upload(upload.stream(), upload.path)
        except NoSpaceError:
            return stored
        stored.append(upload)
        assert len(stored) * FILE_BYTES < 2 * DISK_BYTES, "more than the disks can hold"


def uploads(dfs: Dfs, upload: Upload) -> bool:
    """Whether this upload is taken."""
    try:
        dfs.upload(upload.stream(), upload.path)
    except DfsError:
        return False
    return True


class Worker:
    """One client that races with the collector and with others' contents, over names of its own."""

    def __init__(self, cluster: FaultCluster, number: int, races: int) -> None:
        self.names = [f"/worker-{number}/f{each}" for each in range(NAMES_EACH)]
        self.holds: dict[str, bytes | None] = dict.fromkeys(self.names)
        self.faults: list[str] = []
        self.refused: list[str] = []
        self.saw_deletions = False
        self._random = random.Random(number)
        self._races = races
        self._cluster = cluster
        self.thread = threading.Thread(target=self._run, name=f"worker-{number}")

    def _run(self) -> None:
        try:
            with self._cluster.client() as dfs:
                steps = [self._put, self._put, self._remove, self._rename, self._get]
                ends_at = time.monotonic() + RACE_SECONDS_MAX
                for number in itertools.count():
                    # A fast machine may be done before anything is old enough to be collected: then it goes on.
                    if number % 50 == 0:
                        self.saw_deletions = self.saw_deletions or deletions(self._cluster) > 0
                        if number >= self._races and (self.saw_deletions or time.monotonic() > ends_at):
                            return
                    self._random.choice(steps)(dfs, self._random.choice(self.names))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells of it
            self.faults.append(repr(error))

    def _put(self, dfs: Dfs, name: str) -> None:
        data = CONTENTS[(int(time.monotonic() / TURN_SECONDS) + self._random.randrange(2)) % len(CONTENTS)]
        try:
            dfs.upload(io.BytesIO(data), name)
        except (ChunksMissingError, TooFewNodesError) as error:
            # With hardly any grace its chunks may be collected again and again before the commit: it is told so.
            self.refused.append(repr(error))
        else:
            self.holds[name] = data

    def _remove(self, dfs: Dfs, name: str) -> None:
        if self.holds[name] is not None:
            dfs.remove(name)
            self.holds[name] = None

    def _rename(self, dfs: Dfs, name: str) -> None:
        target = self._random.choice([each for each in self.names if each != name])
        if self.holds[name] is not None:
            dfs.rename(name, target)
            self.holds[target], self.holds[name] = self.holds[name], None

    def _get(self, dfs: Dfs, name: str) -> None:
        found = read(dfs, name)
        if found != self.holds[name]:
            self.faults.append(f"{name} does not hold what was acknowledged")


def read(dfs: Dfs, name: str) -> bytes | None:
    """The content, or None where nothing is."""
    target = io.BytesIO()
    try:
        dfs.download(name, target)
    except NotFoundError:
        return None
    return target.getvalue()


def test_races_of_uploads_and_deletes_with_the_collector(tmp_path: Path) -> None:
    """Few contents, stored and deleted over and over by several clients: nothing acknowledged is lost at any time,
    and in the end the volumes hold the copies that count and nothing else.
    """
    with started(FaultCluster(tmp_path), HASTY) as cluster:
        workers = [Worker(cluster, number, RACES // WORKERS) for number in range(WORKERS)]
        for worker in workers:
            worker.thread.start()
        for worker in workers:
            worker.thread.join()
        assert [fault for worker in workers for fault in worker.faults] == []
        refused = [each for worker in workers for each in worker.refused]
        assert len(refused) <= max(1, RACES // 100), refused
        with cluster.client() as dfs:
            for worker in workers:
                for name, data in worker.holds.items():
                    assert read(dfs, name) == data
        poll_for("the volumes to hold what counts and no more", settled(cluster), seconds=SETTLE_SECONDS)
        assert examine(cluster).faults == []
        assert any(worker.saw_deletions for worker in workers), "the collector had nothing to do: these were no races"
        print(
            f"\n{RACES} races: nothing lost, nothing back; {len(refused)} refused, {deletions(cluster)} copies deleted"
        )


def deletions(cluster: FaultCluster) -> int:
    """How many copies are deleted, as their nodes have confirmed, and were not stored again since."""
    return int(cluster.rows("SELECT count(*) AS deleted FROM replicas WHERE state = 'deleted'")[0]["deleted"])


def settled(cluster: FaultCluster) -> Callable[[], bool]:
    """Whether files and copies on record are the same."""
    return lambda: chunk_files(cluster) == good_copies(cluster)


def volume_bytes(cluster: FaultCluster) -> int:
    """What all chunk files take; one that goes meanwhile takes nothing."""
    found = 0
    for node, digest in chunk_files(cluster):
        with suppress(FileNotFoundError):
            found += cluster.chunk_file(node, digest).stat().st_size
    return found


def test_a_pack_shrinks_when_most_of_its_files_go(tmp_path: Path) -> None:
    """Nine in ten small files are removed; their bytes come back, and the others are read from the new packs."""
    local = tmp_path / "local"
    local.mkdir()
    uploads = [Upload(f"small-{number}", f"/p/{number}", 4_000) for number in range(PACKED)]
    with started(FaultCluster(tmp_path / "cluster"), HASTY) as cluster, cluster.client() as dfs:
        pairs = [(upload.write_to(local / upload.id), upload.path) for upload in uploads]
        assert all(result.ok for result in dfs.upload_many(pairs))
        packs = {digest for _, digest in good_copies(cluster)}
        assert len(packs) < PACKED / 20
        full = volume_bytes(cluster)
        kept = uploads[::10]
        removed = dfs.remove_many([upload.path for upload in uploads if upload not in kept])
        assert [error for _, error in removed if error is not None] == []
        poll_for("the packs to be written anew", lambda: no_pack_of(cluster, packs), seconds=SETTLE_SECONDS)
        # A tenth is live; a pack rests when half of it or more is.
        poll_for("the bytes to come back", lambda: volume_bytes(cluster) < full / 4, seconds=SETTLE_SECONDS)
        poll_for("the old packs to go", settled(cluster), seconds=SETTLE_SECONDS)
        print(f"\npacks of {full} bytes shrank to {volume_bytes(cluster)} with a tenth of their files left")
        for upload in kept:
            assert read(dfs, upload.path) == upload.content()
        assert examine(cluster).faults == []


def no_pack_of(cluster: FaultCluster, packs: set[str]) -> bool:
    """Whether none of these chunks counts any more."""
    return not packs & {digest for _, digest in good_copies(cluster)}
