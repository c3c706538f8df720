"""Workers forked from a process that used the library already, on a real cluster."""

import io
from pathlib import Path

from tests.support.forking import Child
from tests.support.process_cluster import ProcessCluster

from dfs_client.api import Dfs
from dfs_wire.limits import MIB

WORKERS = 4
ROUNDS = 25


def content_of(worker: int) -> bytes:
    """Of one size, so that an answer for another worker would fit."""
    return bytes([worker]) * 5_000


def read_own(dfs: Dfs, worker: int) -> int:
    """Read one file again and again; how often it was another's, or none."""
    wrong = 0
    for _ in range(ROUNDS):
        found = io.BytesIO()
        dfs.download(f"/forks/{worker}", found)
        wrong += found.getvalue() != content_of(worker) or dfs.stat(f"/forks/{worker}").entry.path != f"/forks/{worker}"
    return wrong


def test_forked_workers_get_their_own_answers(shared_cluster: ProcessCluster) -> None:
    """All at once, over connections that were open before the fork; the parent works beside them."""
    with shared_cluster.client() as dfs:
        for worker in range(WORKERS + 1):
            dfs.upload(io.BytesIO(content_of(worker)), f"/forks/{worker}")
        read_own(dfs, WORKERS)
        children = [Child(lambda worker=worker: read_own(dfs, worker)) for worker in range(WORKERS)]  # type: ignore[misc]
        assert read_own(dfs, WORKERS) == 0
        assert [child.result() for child in children] == [0] * WORKERS


def test_forked_workers_store_what_they_say(shared_cluster: ProcessCluster, tmp_path: Path) -> None:
    """Streams of several chunks, and small files under tickets taken ahead, in every process."""

    def store(dfs: Dfs, worker: int) -> list[str]:
        paths = [f"/stored/{worker}-stream"]
        dfs.upload(io.BytesIO(bytes([worker]) * (17 * MIB)), paths[0])
        for number in range(20):
            source = tmp_path / f"{worker}-{number}"
            source.write_bytes(f"{worker} {number}".encode())
            paths.append(f"/stored/{worker}-{number}")
            dfs.upload(source, paths[-1])
        return paths

    with shared_cluster.client() as dfs:
        store(dfs, WORKERS)
        children = [Child(lambda worker=worker: store(dfs, worker)) for worker in range(WORKERS)]  # type: ignore[misc]
        for worker, child in enumerate(children):
            stream, *small = child.result()
            with dfs.open(stream) as file:
                assert file.read() == bytes([worker]) * (17 * MIB)
            for number, path in enumerate(small):
                with dfs.open(path) as file:
                    assert file.read() == f"{worker} {number}".encode()


def test_a_child_that_closes_disturbs_nobody(shared_cluster: ProcessCluster) -> None:
    """The parent's reader and its connections go on."""
    content = bytes(range(256)) * (MIB // 32)
    with shared_cluster.client() as dfs:
        dfs.upload(io.BytesIO(content), "/closing")
        with dfs.open("/closing") as file:
            first = file.read(MIB)
            dials = len(dfs._pools[0]._idle[dfs.master_address])
            Child(dfs.close).result()
            assert first + file.read() == content
            assert all(channel.usable() for channel in dfs._pools[0]._idle[dfs.master_address])
            assert len(dfs._pools[0]._idle[dfs.master_address]) >= dials > 0
