"""Packs on a real cluster of processes: trees go up and down through killed nodes, by library and by command."""

import filecmp
import os
import random
import signal
import threading
from pathlib import Path

from tests.support.process_cluster import ProcessCluster

from dfs_client.packing import PACK_FILES_MAX
from dfs_client.types import UploadResult
from dfs_wire.messages import Entry

SIZES = (0, 1, 100, 4_096, 70_000, 300_000)


def make_tree(top: Path, files: int, seed: int) -> list[Path]:
    """Files of many sizes over some directories."""
    randomness = random.Random(seed)
    made = []
    for number in range(files):
        path = top / f"d{number % 7}" / f"f{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(randomness.randbytes(randomness.choice(SIZES if number % 10 == 0 else SIZES[:4])))
        made.append(path)
    return made


def same(left: Path, right: Path) -> bool:
    """Whether two trees hold the same names, contents, times and modes."""
    names = sorted(path.relative_to(left) for path in left.rglob("*"))
    assert names == sorted(path.relative_to(right) for path in right.rglob("*"))
    for name in names:
        one, other = left / name, right / name
        assert (one.stat().st_mtime_ns, one.stat().st_mode) == (other.stat().st_mtime_ns, other.stat().st_mode), name
        assert one.is_dir() or filecmp.cmp(one, other, shallow=False), name
    return True


def test_a_tree_survives_a_node_that_dies_under_it(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Killed while packs go up, and another while they come down: every file that was acknowledged is right."""
    source = tmp_path / "source"
    files = make_tree(source, 3 * PACK_FILES_MAX, 1)
    with cluster.client() as dfs:
        pairs = [(path, f"/tree/{path.relative_to(source)}") for path in files]
        results: list[UploadResult] = []
        for result in dfs.upload_many(pairs):
            if not results:
                cluster.kill("node-1", signal.SIGKILL)
            results.append(result)
        assert [result.error for result in results if not result.ok] == []
        cluster.start()
        entries = [entry for entry in dfs.walk("/tree") if entry.version]
        killer = threading.Thread(target=cluster.kill, args=("node-2", signal.SIGKILL))
        killer.start()
        back = tmp_path / "back"
        for number in range(7):
            (back / f"d{number}").mkdir(parents=True)
        wanted: list[tuple[Entry, str | os.PathLike[str]]] = [
            (entry, back / entry.path.removeprefix("/tree/")) for entry in entries
        ]
        found = list(dfs.download_many(wanted))
        killer.join()
        assert [result.error for result in found if not result.ok] == []
    assert len(found) == len(files)
    for path in files:
        assert filecmp.cmp(path, back / path.relative_to(source), shallow=False)


def test_commands_bring_a_tree_up_and_down(shared_cluster: ProcessCluster, tmp_path: Path) -> None:
    """Uploaded, downloaded, changed, synced up and down: each time the trees are alike; nothing is left behind."""
    source, back = tmp_path / "source", tmp_path / "back"
    files = make_tree(source, 500, 2)
    (source / "empty").mkdir()
    shared_cluster.dfs_client("upload", "-r", str(source), "/commands")
    shared_cluster.dfs_client("download", "-r", "/commands", str(back))
    assert same(source, back)
    files[3].write_bytes(b"changed")
    files[4].unlink()
    (source / "d1/new").write_bytes(b"new")
    up = shared_cluster.dfs_client("sync", "--delete", str(source), "dfs:/commands")
    assert up.stdout.startswith("synced: 2 files copied, 1 deleted")
    shared_cluster.dfs_client("sync", "--delete", "dfs:/commands", str(back))
    assert same(source, back)
    for arguments in (["sync", str(source), "dfs:/commands"], ["sync", "--checksum", "dfs:/commands", str(back)]):
        assert shared_cluster.dfs_client(*arguments).stdout.startswith("synced: 0 files copied, 0 deleted")


def test_files_of_a_pack_are_read_and_removed_one_by_one(shared_cluster: ProcessCluster, tmp_path: Path) -> None:
    """Slices by range from real nodes; what is removed takes nothing else along."""
    source = tmp_path / "source"
    source.mkdir()
    contents = {f"/slices/{number}": random.Random(number).randbytes(150_000) for number in range(30)}
    for path, content in contents.items():
        (source / path.rpartition("/")[2]).write_bytes(content)
    with shared_cluster.client() as dfs:
        assert all(result.ok for result in dfs.upload_many((source / path[8:], path) for path in contents))
        (digest,) = {dfs.stat(path, chunks=True).chunks[0].digest for path in contents}
        assert all(error is None for _, error in dfs.remove_many(list(contents)[::2]))
        for path, content in list(contents.items())[1::2]:
            with dfs.open(path) as file:
                file.seek(70_000)
                assert file.read(100) == content[70_000:70_100]
            dfs.download(path, tmp_path / "one", force=True)
            assert (tmp_path / "one").read_bytes() == content
            assert dfs.stat(path, chunks=True).chunks[0].digest == digest
