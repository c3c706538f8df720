"""Damage that nobody reads: the scrub and the inventory find it by themselves, and it is mended."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.chunk_surgery import DAMAGES
from tests.support.faults import FaultCluster
from tests.support.oracle import chunk_data
from tests.support.polling import poll_for

from dfs_client.api import Dfs

#: Short times, so that a pass and an inventory come round every few seconds.
SETTINGS = {
    "scrub_seconds": "2",
    "scrub_bytes_per_second": "1000000000",
    "inventory_seconds": "2",
    "suspect_seconds": "3",
    "dead_seconds": "6",
    "left_seconds": "6",
}
SIZE = 300_000
HEAL_SECONDS = 60.0
KINDS = ("flipped middle byte", "short by a byte", "emptied", "another chunk's file", "longer by a byte", "deleted")


def set_settings(cluster: FaultCluster, settings: dict[str, str]) -> None:
    """As an operator would have, before the master starts."""
    with closing(sqlite3.connect(cluster.data / "metadata.db")) as connection:
        rows = [(f"set.{name}", value) for name, value in settings.items()]
        connection.executemany("INSERT INTO settings (name, value) VALUES (?, ?)", rows)
        connection.commit()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    """Three nodes with short settings."""
    with FaultCluster(tmp_path / "cluster") as made:
        made.initialise()
        set_settings(made, SETTINGS)
        for daemon in made.daemons.values():
            daemon.start()
        made.await_live()
        yield made


def content_of(number: int) -> bytes:
    """Differs from file to file."""
    return bytes([number, 255 - number]) * (SIZE // 2)


def upload_each(dfs: Dfs, tmp_path: Path, count: int) -> None:
    """One file, one chunk each: they must not share a pack."""
    for number in range(count):
        source = tmp_path / f"source-{number}"
        source.write_bytes(content_of(number))
        dfs.upload(source, f"/f{number}")


def has_two_good_copies(cluster: FaultCluster, path: str) -> bool:
    """By the catalog and by the files themselves: every byte is read here, with the tests' own reader."""
    good = cluster.rows("SELECT digest, node FROM file_replicas WHERE path = ? AND state = 'good'", path)
    there = [cluster.chunk_file(row["node"], row["digest"]) for row in good if row["node"] in cluster.volumes]
    expected = content_of(int(path.removeprefix("/f")))
    return len(there) >= 2 and all(chunk_data(each) == expected for each in there)


def test_each_kind_of_damage_is_found_and_mended_without_a_reader(cluster: FaultCluster, tmp_path: Path) -> None:
    """One copy each is damaged in another way; nobody reads; all have two whole copies again, and an event says why."""
    with cluster.client() as dfs:
        upload_each(dfs, tmp_path, len(KINDS))
        victims = {}
        for number, kind in enumerate(KINDS):
            _, digest, path = cluster.replica_files(f"/f{number}")[number % 2]
            # Of the next file, which nothing has damaged yet; a node may hold no other chunk than this one.
            _, _, spare = cluster.replica_files(f"/f{(number + 1) % len(KINDS)}")[0]
            victims[digest] = kind
            DAMAGES[kind](path, spare)
        for number, kind in enumerate(KINDS):
            poll_for(
                f"two good copies of what was damaged ({kind})",
                lambda number=number: has_two_good_copies(cluster, f"/f{number}"),  # type: ignore[misc]
                seconds=HEAL_SECONDS,
            )
        told = {event["subject"]: event["kind"] for event in cluster.events() if event["kind"].startswith("copy_")}
        assert {digest: told.get(digest) for digest in victims} == {
            digest: "copy_missing" if kind == "deleted" else "copy_corrupt" for digest, kind in victims.items()
        }
        for number in range(len(KINDS)):
            target = tmp_path / f"back-{number}"
            dfs.download(f"/f{number}", target)
            assert target.read_bytes() == content_of(number)
        print(f"\nfound without a reader, and mended: {', '.join(sorted(victims.values()))}")


def test_a_wiped_node_joins_anew_and_all_is_whole_again(cluster: FaultCluster, tmp_path: Path) -> None:
    """A replaced disk: an empty volume under the old name is a new node; the old row goes when nothing needs it."""
    with cluster.client() as dfs:
        upload_each(dfs, tmp_path, 6)
        old_id = cluster.rows("SELECT id FROM nodes WHERE name = 'node-2'")[0]["id"]
        cluster.nodes["node-2"].kill()
        shutil.rmtree(cluster.volumes["node-2"])
        cluster.nodes["node-2"].start()
        poll_for(
            "the new node-2",
            lambda: (
                cluster.states().get("node-2") == "live"
                and cluster.rows("SELECT id FROM nodes WHERE name = 'node-2'")[0]["id"] != old_id
            ),
            seconds=HEAL_SECONDS,
        )
        for number in range(6):
            poll_for(
                f"two good copies of /f{number}",
                lambda number=number: has_two_good_copies(cluster, f"/f{number}"),  # type: ignore[misc]
                seconds=HEAL_SECONDS,
            )
        poll_for(
            "the old row to go",
            lambda: sorted(cluster.states()) == ["node-1", "node-2", "node-3"],
            seconds=HEAL_SECONDS,
        )
        kinds = [event["kind"] for event in cluster.events()]
        assert "node_replaced" in kinds
        assert "node_removed" in kinds
