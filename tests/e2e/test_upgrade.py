"""`dfs upgrade`: containers are replaced one by one while files move, and come back when the new version is no good."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster
from tests.support.other_versions import copied_version

#: Two images are made on the way.
SECONDS = 900
ROLES = ("master", "node-1", "node-2", "node-3")


class Traffic:
    """Uploads and downloads that go on, and whether any failed. `stored`: what was acknowledged."""

    def __init__(self, cluster: DockerCluster, scratch: Path) -> None:
        self.stored: dict[str, bytes] = {}
        self._cluster = cluster
        self._scratch = scratch
        self._over = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def _run(self) -> None:
        try:
            with self._cluster.client() as dfs:
                while not self._over.is_set():
                    path, content = f"/traffic/{len(self.stored)}", os.urandom(200_000)
                    (self._scratch / "up").write_bytes(content)
                    dfs.upload(self._scratch / "up", path)
                    self.stored[path] = content
                    dfs.download("/traffic/0", self._scratch / "down", force=True)
                    assert (self._scratch / "down").read_bytes() == self.stored["/traffic/0"]
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails with it
            self._failed.append(error)

    @contextmanager
    def running(self) -> Iterator[None]:
        """For as long as the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(120)
        assert not self._thread.is_alive(), "an operation hangs"
        assert self._failed == []

    def check(self) -> None:
        """Everything that was acknowledged is there."""
        with self._cluster.client() as dfs:
            for path, content in self.stored.items():
                dfs.download(path, self._scratch / "back", force=True)
                assert (self._scratch / "back").read_bytes() == content, path


def ids(cluster: DockerCluster) -> dict[str, str]:
    """The containers by name."""
    return {each.name: str(each.id) for each in cluster.containers()}


@pytest.mark.timeout(SECONDS, func_only=True)
def test_containers_are_replaced_one_by_one_while_files_move(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """No operation fails, nothing is lost, all containers are of the new image, and none of the old ones is left.
    A version whose nodes do not start changes nothing: the very containers of before serve on.
    """
    cluster = make_cluster("--nodes", "3")
    before = ids(cluster)
    cluster.env["PYTHONPATH"] = copied_version(tmp_path / "newer", {"node/dfs_node/__init__.py": "# another version\n"})
    cluster.dfs("image", "build")
    traffic = Traffic(cluster, tmp_path)
    with traffic.running():
        said = cluster.dfs("upgrade", "--json").stdout
    assert all(f'"{role}"' in said for role in ROLES)
    after = ids(cluster)
    assert after.keys() == before.keys()
    assert set(after.values()).isdisjoint(before.values())
    assert len({str(each.image.id) for each in cluster.containers() if each.image is not None}) == 1
    assert len(traffic.stored) > 1
    traffic.check()
    assert "nothing was done" in cluster.dfs("upgrade").stdout

    bad = {"node/dfs_node/__main__.py": 'raise SystemExit("this version is no good")\n'}
    cluster.env["PYTHONPATH"] = copied_version(tmp_path / "bad", bad)
    cluster.dfs("image", "build")
    done = cluster.dfs("upgrade", check=False)
    assert done.returncode == 5, done.stderr
    assert "this version is no good" in done.stderr
    assert ids(cluster) == after
    cluster.await_live()
    traffic.check()
