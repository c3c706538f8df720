"""Nodes that are paused, cut off or full while files move: every operation ends, and nothing acknowledged is lost."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.models.containers import Container
from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster
from tests.support.polling import poll_for

from dfs_client.api import Dfs
from dfs_deploy.containers import LABEL_CLUSTER, LABEL_HOME, LABEL_ROLE
from dfs_wire.errors import DfsError, NoSpaceError

MIB = 1024 * 1024
#: An operation may retry for 30 s after the first trouble; its bytes take a moment on a busy machine.
OPERATION_SECONDS = 120
VICTIM = "node-2"


@contextmanager
def paused(cluster: DockerCluster) -> Iterator[None]:
    """A node whose processes stand still."""
    container = cluster.pause(VICTIM)
    try:
        yield
    finally:
        container.unpause()


@contextmanager
def disconnected(cluster: DockerCluster) -> Iterator[None]:
    """A node whose network is gone; with it the published port."""
    network = cluster.engine.networks.get(cluster.network)
    container = cluster.container(VICTIM)
    network.disconnect(container)
    try:
        yield
    finally:
        network.connect(container)


TROUBLES = {"paused": paused, "disconnected": disconnected}


class Transfer:
    """One operation on a thread of its own, its end and how it ended."""

    def __init__(self, operation: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self.moved = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(operation,), name="operation", daemon=True)
        self._thread.start()

    def _run(self, operation: Callable[[], object]) -> None:
        try:
            operation()
        except DfsError as error:
            self.error = error

    def await_end(self) -> None:
        """It must end within its deadline."""
        self._thread.join(OPERATION_SECONDS)
        assert not self._thread.is_alive(), "the operation hangs"


def make_file(path: Path, size: int) -> bytes:
    """A file of random bytes."""
    content = os.urandom(size)
    path.write_bytes(content)
    return content


@pytest.mark.parametrize("name", TROUBLES)
def test_an_upload_ends_while_a_node_is_in_trouble(shared_cluster: DockerCluster, tmp_path: Path, name: str) -> None:
    """1. an upload runs 2. a node stops answering 3. it is done or says why; what was acknowledged is whole."""
    content = make_file(tmp_path / "large", 96 * MIB)
    begun = threading.Event()
    with shared_cluster.client() as dfs:
        upload = Transfer(lambda: dfs.upload(tmp_path / "large", f"/up-{name}", progress=lambda _: begun.set()))
        assert begun.wait(OPERATION_SECONDS)
        with TROUBLES[name](shared_cluster):
            upload.await_end()
    shared_cluster.await_live()
    with shared_cluster.client() as dfs:
        if upload.error is None:
            dfs.download(f"/up-{name}", tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == content
        else:
            assert not dfs.exists(f"/up-{name}"), "half a file is visible"
            assert str(upload.error)


@pytest.mark.parametrize("name", TROUBLES)
def test_a_download_fails_over(shared_cluster: DockerCluster, tmp_path: Path, name: str) -> None:
    """Every chunk has another copy: the download ends well, with the right bytes."""
    content = make_file(tmp_path / "large", 64 * MIB)
    with shared_cluster.client() as dfs:
        dfs.upload(tmp_path / "large", f"/down-{name}")
    begun = threading.Event()
    with shared_cluster.client() as dfs:
        target = tmp_path / "back"
        download = Transfer(lambda: dfs.download(f"/down-{name}", target, progress=lambda _: begun.set()))
        assert begun.wait(OPERATION_SECONDS)
        with TROUBLES[name](shared_cluster):
            download.await_end()
    shared_cluster.await_live()
    assert download.error is None
    assert target.read_bytes() == content


def test_a_node_that_was_away_serves_again(shared_cluster: DockerCluster, tmp_path: Path) -> None:
    """A read begun while a node stands still ends within its deadline, by the other copies."""
    contents = {}
    with shared_cluster.client() as dfs:
        for number in range(8):
            contents[f"/small-{number}"] = make_file(tmp_path / "small", 10_000)
            dfs.upload(tmp_path / "small", f"/small-{number}")
    with paused(shared_cluster), shared_cluster.client() as dfs:
        for path, content in contents.items():
            began = time.monotonic()
            dfs.download(path, tmp_path / "back", force=True)
            assert time.monotonic() - began < OPERATION_SECONDS
            assert (tmp_path / "back").read_bytes() == content
    shared_cluster.await_live()


@contextmanager
def small_volume(cluster: DockerCluster, role: str, image: str) -> Iterator[Container]:
    """The volume of a role is a tmpfs of 64 MiB. A container holds it mounted: it would be empty after a stop."""
    volume = cluster.volume(role)
    cluster.engine.volumes.create(
        volume,
        driver="local",
        driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=64m,uid=10001,gid=10001,mode=0700"},
        labels={LABEL_CLUSTER: cluster.name, LABEL_HOME: str(cluster.home), LABEL_ROLE: role},
    )
    holder = cluster.engine.containers.run(
        image,
        ["python", "-c", "import time; time.sleep(3600)"],
        name=f"dfs-{cluster.name}-holder",
        volumes={volume: {"bind": "/data", "mode": "rw"}},
        labels={LABEL_HOME: str(cluster.home)},
        detach=True,
    )
    try:
        yield holder
    finally:
        holder.remove(force=True)


def test_a_full_node_refuses_and_recovers(make_cluster: MakeCluster, image: str, tmp_path: Path) -> None:
    """1. one of two volumes has 64 MiB, half of it taken by something else 2. it fills up: uploads are refused clearly
    3. the space returns, and uploads with it 4. full again, a third node takes over 5. nothing is damaged.
    """
    cluster = make_cluster(deploy=False)
    contents: dict[str, bytes] = {}

    def store(dfs: Dfs) -> None:
        content = make_file(tmp_path / "source", 2 * MIB)
        path = f"/fill-{len(contents)}"
        dfs.upload(tmp_path / "source", path)
        contents[path] = content

    def fill(dfs: Dfs) -> DfsError:
        for _ in range(40):
            try:
                store(dfs)
            except DfsError as error:
                return error
        raise AssertionError("80 MiB went into 64")

    def has_space_again(dfs: Dfs) -> bool:
        try:
            store(dfs)
        except NoSpaceError:
            return False
        return True

    with small_volume(cluster, VICTIM, image) as holder:
        ballast = ["dd", "if=/dev/zero", "of=/data/ballast", "bs=1M", "count=32"]
        assert holder.exec_run(ballast, user="10001").exit_code == 0
        cluster.deploy("--nodes", "2")
        with cluster.client() as dfs:
            refusal = fill(dfs)
            assert isinstance(refusal, NoSpaceError), refusal
            assert 0 < len(contents) <= 16
            assert_all_there(dfs, contents, tmp_path)
            assert holder.exec_run(["rm", "/data/ballast"], user="10001").exit_code == 0
            poll_for("uploads being taken again", lambda: has_space_again(dfs), seconds=30, every=1)
            fill(dfs)
        cluster.dfs("scale", "--nodes", "3")
        with cluster.client() as dfs:
            for _ in range(5):
                store(dfs)
            assert_all_there(dfs, contents, tmp_path)
        assert cluster.container(VICTIM).status == "running"


def assert_all_there(dfs: Dfs, contents: dict[str, bytes], scratch: Path) -> None:
    """Every acknowledged file, and no other, with its bytes."""
    assert {entry.path for entry in dfs.list("/")} == set(contents)
    for path, content in contents.items():
        dfs.download(path, scratch / "back", force=True)
        assert (scratch / "back").read_bytes() == content, path
