"""One database has one master, one volume has one node, and no older database rules over newer nodes."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.faults import Daemon, FaultCluster
from tests.support.polling import poll_for

from dfs_client.api import Dfs, connect
from dfs_deploy.ports import choose_ports
from dfs_deploy.programs import MASTER_PROGRAM, NODE_PROGRAM, program_command
from dfs_wire.errors import DfsError, ReadOnlyError
from dfs_wire.port_probe import port_is_free

#: A copy of a volume must be refused within this time, on a machine that does other work as well.
REFUSED_SECONDS = 25.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    """Three nodes."""
    with FaultCluster(tmp_path / "cluster") as made:
        yield made.start()


def free_address() -> str:
    """Somewhere else."""
    (port,) = choose_ports(count=1, first=None, host="127.0.0.1", reserved={}, probe=port_is_free, after=31_000)
    return f"127.0.0.1:{port}"


def upload(dfs: Dfs, tmp_path: Path, name: str, content: bytes) -> None:
    """Store one file."""
    source = tmp_path / "source"
    source.write_bytes(content)
    dfs.upload(source, name)


def test_two_masters_on_one_database(cluster: FaultCluster, tmp_path: Path) -> None:
    """The first one ends itself at its next change, and nothing of that change is stored; the second one serves."""
    twin_data = tmp_path / "twin"
    twin_data.mkdir(mode=0o700)
    shutil.copy(cluster.data / "master.key", twin_data / "master.key")
    (twin_data / "metadata.db").symlink_to(cluster.data / "metadata.db")
    address = free_address()
    command = [*program_command(MASTER_PROGRAM), "--data", str(twin_data), "--listen", address]
    twin = Daemon("twin", command, tmp_path, tmp_path / "home")
    try:
        with cluster.client() as dfs:
            dfs.make_directory("/first")
            twin.start()
            with poll_connected(address, cluster) as second:
                with pytest.raises(DfsError):
                    dfs.make_directory("/usurped")
                assert cluster.master.wait(20) != 0, "the older master serves on"
                second.make_directory("/second")
                names = {entry.path for entry in second.list("/")}
        assert names == {"/first", "/second"}
    finally:
        twin.end()


def poll_connected(address: str, cluster: FaultCluster) -> Dfs:
    """A client of another master, as soon as it answers."""

    def attempt() -> Dfs | None:
        try:
            dfs = connect(master=address, key=cluster.keys["client_key"], home=cluster.root / "home", environ={})
        except DfsError:
            return None
        try:
            list(dfs.list("/"))
        except DfsError:
            dfs.close()
            return None
        return dfs

    found = poll_for("the other master", attempt, seconds=20.0)
    assert isinstance(found, Dfs)
    return found


def test_a_copied_volume_is_refused_and_the_original_serves_on(cluster: FaultCluster, tmp_path: Path) -> None:
    """Within seconds, for good, with an event; also when its registration number is higher than the original's."""
    copy = tmp_path / "copy"
    shutil.copytree(cluster.volumes["node-2"], copy, ignore=shutil.ignore_patterns("lock"))
    registered = cluster.rows("SELECT registration FROM nodes WHERE name = 'node-2'")
    command = [*program_command(NODE_PROGRAM), "--volume", str(copy), "--name", "node-2"]
    command += ["--master", cluster.addresses["master"], "--listen", free_address()]
    twin = Daemon("copy", command, tmp_path, tmp_path / "home")
    try:
        twin.start()
        assert twin.wait(REFUSED_SECONDS) != 0
    finally:
        twin.end()
    assert cluster.nodes["node-2"].alive
    assert cluster.states()["node-2"] == "live"
    assert cluster.rows("SELECT registration FROM nodes WHERE name = 'node-2'") == registered
    reasons = [event["detail"] for event in cluster.events() if event["kind"] == "registration_refused"]
    assert any("copy" in str(reason) for reason in reasons)


def test_an_older_database_is_read_only_until_it_is_accepted(cluster: FaultCluster, tmp_path: Path) -> None:
    """A backup restored under running nodes: reads only, told by status, accepted offline, then everything again."""
    backup = tmp_path / "backup.db"
    with cluster.client() as dfs:
        upload(dfs, tmp_path, "/old", b"old" * 50_000)
        command = [*program_command(MASTER_PROGRAM), "db", "backup", str(backup), "--data", str(cluster.data)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        for number in range(10):
            upload(dfs, tmp_path, f"/new{number}", bytes([number]) * 100_000)
    # The nodes hear of the newest change with their next heartbeat.
    newest = cluster.rows("SELECT value FROM settings WHERE name = 'commit_seq'")[0]["value"]
    assert int(newest) > 10
    poll_for("two heartbeats", lambda: heartbeats_passed(cluster), seconds=20.0)
    cluster.master.kill()
    for each in cluster.data.glob("metadata.db*"):
        each.unlink()
    shutil.copyfile(backup, cluster.data / "metadata.db")
    files = volume_files(cluster)
    cluster.master.start()
    status = poll_for("a read-only master", lambda: read_only(cluster), seconds=30.0)
    assert "dfs db accept" in str(status)
    with cluster.client() as dfs:
        with pytest.raises(ReadOnlyError, match="dfs db accept"):
            upload(dfs, tmp_path, "/refused", b"x" * 100_000)
        target = tmp_path / "back"
        dfs.download("/old", target)
        assert target.read_bytes() == b"old" * 50_000
    assert volume_files(cluster) == files

    cluster.master.stop()
    command = [*program_command(MASTER_PROGRAM), "db", "accept", "--data", str(cluster.data), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert json.loads(done.stdout)["commit_seq"] > int(newest)
    cluster.master.start()
    cluster.await_live()
    with cluster.client() as dfs:
        upload(dfs, tmp_path, "/after", b"y" * 100_000)
        assert {entry.path for entry in dfs.list("/")} == {"/old", "/after"}
    assert files <= volume_files(cluster), "what the older database does not know was deleted"


def heartbeats_passed(cluster: FaultCluster, started: list[int] = []) -> bool:  # noqa: B006 - one test's memory
    """Whether every node was heard twice since the first call."""
    with connect(master=cluster.addresses["master"], key=cluster.keys["admin_key"], environ={}) as dfs:
        seen = min(node.last_seen_at_ms for node in dfs.status().nodes)
    if not started:
        started.append(seen)
    return seen >= started[0] + 5_000


def read_only(cluster: FaultCluster) -> str | None:
    """The master's notice, once it is read-only."""
    try:
        with connect(master=cluster.addresses["master"], key=cluster.keys["admin_key"], environ={}) as dfs:
            reply = dfs.status().reply
    except DfsError:
        return None
    return reply.notice if reply.state == "read-only" else None


def volume_files(cluster: FaultCluster) -> set[Path]:
    """Every chunk file."""
    return {path for volume in cluster.volumes.values() for path in (volume / "chunks").glob("??/*")}


def test_the_database_is_sound_afterwards(cluster: FaultCluster) -> None:
    """Accepting by hand leaves a database that checks clean, and may be repeated."""
    cluster.master.stop()
    for _ in range(2):
        command = [*program_command(MASTER_PROGRAM), "db", "accept", "--data", str(cluster.data)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    command = [*program_command(MASTER_PROGRAM), "db", "check", "--data", str(cluster.data)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with closing(sqlite3.connect(cluster.data / "metadata.db")) as connection:
        (value,) = connection.execute("SELECT value FROM settings WHERE name = 'lost_ids'").fetchone()
    assert len(value.split(",")) == 2
    cluster.master.start()
    cluster.await_live()


def test_safe_mode_says_whom_it_waits_for(cluster: FaultCluster) -> None:
    """After a start with a node away: one clear line, and `repair --force` ends the wait."""
    cluster.nodes["node-3"].kill()
    cluster.master.stop()
    cluster.master.start()
    cluster.await_live(2)
    with connect(master=cluster.addresses["master"], key=cluster.keys["admin_key"], environ={}) as dfs:
        reply = dfs.admin.status().reply
        assert reply.state == "safe mode"
        assert "node-3" in reply.notice
        assert "node-1" not in reply.notice
        dfs.admin.force_repair()
        poll_for("the end of safe mode", lambda: dfs.admin.status().reply.state == "serving", seconds=10.0)
    assert [event for event in cluster.events() if event["kind"] == "safe_mode_left"]
