"""`dfs fsck` on a real cluster of processes, running and stopped."""

import io
import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.chunk_surgery import DAMAGES
from tests.support.polling import poll_for
from tests.support.process_cluster import ProcessCluster

SIZE = 200_000


def checked(cluster: ProcessCluster, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the objects."""
    done = cluster.dfs("fsck", "--json", *options, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def copies_of(cluster: ProcessCluster, path: str) -> list[Path]:
    """The chunk files of a file of one chunk."""
    with cluster.client() as dfs:
        (chunk,) = dfs.stat(path, chunks=True).chunks
    digest = chunk.digest.hex()
    return [cluster.paths.volume(replica.node) / "chunks" / digest[:2] / digest for replica in chunk.replicas]


def test_a_check_names_what_is_damaged_and_nothing_else(cluster: ProcessCluster) -> None:
    """Running or stopped; a volume that is gone is told of, and what it held is hoped for."""
    names = ("sound", "flipped", "short", "lost")
    with cluster.client() as dfs:
        for number, name in enumerate(names):
            dfs.upload(io.BytesIO(bytes([number]) * SIZE), f"/{name}")
    code, (summary,) = checked(cluster, "--verify-data")
    assert (code, summary["damaged"]) == (0, False)
    assert summary["copies"] >= 2 * len(names)

    copies = {name: copies_of(cluster, f"/{name}") for name in names}
    cluster.stop()
    DAMAGES["flipped middle byte"](copies["flipped"][0], copies["sound"][0])
    DAMAGES["short by a byte"](copies["short"][0], copies["sound"][0])
    for path in copies["lost"]:
        path.unlink()
    code, found = checked(cluster, "--verify-data")
    assert code == 7
    damaged = sorted((one["what"], one["paths"]) for one in found if one["kind"] == "damaged_copy")
    assert damaged == [
        ("block checksum", ["/flipped"]),
        ("missing", ["/lost"]),
        ("missing", ["/lost"]),
        ("truncated", ["/short"]),
    ]
    assert [one["paths"] for one in found if one["kind"] == "lost_chunk"] == [["/lost"]]
    told = cluster.dfs("fsck", check=False)
    assert "LOST: /lost" in told.stdout
    assert "flipped" not in told.stdout  # headers and lengths only

    shutil.rmtree(cluster.paths.volume("node-1"))
    _, found = checked(cluster)
    assert [one["node"] for one in found if one["kind"] == "unscanned_volume"] == ["node-1"]


def test_a_running_cluster_mends_what_a_check_finds(tmp_path: Path) -> None:
    """Told of a damaged copy it makes another; an old file that belongs to nothing is collected."""
    with closing(ProcessCluster(tmp_path / "home", "mend", "--nodes", "3", "--set", "orphan_seconds=1")) as cluster:
        with cluster.client() as dfs:
            dfs.upload(io.BytesIO(b"a" * SIZE), "/damaged")
            dfs.upload(io.BytesIO(b"b" * SIZE), "/other")
        damaged, source = copies_of(cluster, "/damaged")[0], copies_of(cluster, "/other")[0]
        DAMAGES["flipped middle byte"](damaged, source)
        holders = {path.parents[2] for path in copies_of(cluster, "/other")}
        (stranger,) = (
            cluster.paths.volume(node.name)
            for node in cluster.spec.nodes
            if cluster.paths.volume(node.name) not in holders
        )
        orphan = stranger / "chunks" / source.parent.name / source.name
        orphan.write_bytes(source.read_bytes())
        os.utime(orphan, (0, 0))
        code, found = checked(cluster, "--verify-data", "--fix", "--wait", "120")
        assert (code, found[-1]["damaged"]) == (0, False)
        poll_for("the orphan to go", lambda: not orphan.exists(), seconds=60)
        assert checked(cluster, "--verify-data")[0] == 0
