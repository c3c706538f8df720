"""`dfs-node` as a process beside a real `dfs-master`."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.daemons import BIN, Daemon, Daemons, daemons
from tests.support.volumes import WrappedDisk, chunk_of, store
from tests.support.wire import poll_for

from dfs_node.disk_volume import DiskVolume
from dfs_node.identity import load_identity
from dfs_node.volume_directory import chunk_path

#: Generous: other tests may keep the machine busy.
SECONDS = 60.0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Daemons]:
    """A master that serves."""
    with daemons(tmp_path) as running:
        running.init_master()
        running.start_master()
        yield running


def serves(node: Daemon) -> bool:
    """Whether the node registered."""
    return node.said("serves cluster")


def registration(path: Path) -> int:
    """The last number on a volume."""
    identity = load_identity(path)
    return identity.registration if identity is not None else 0


def stderr_of(started: Daemons, name: str) -> str:
    """What a node said to the terminal."""
    return (started.root / f"{name}.log.stderr").read_text()


def test_a_node_joins_stops_and_comes_back(started: Daemons) -> None:
    """The first start needs the token, later ones only the volume; SIGTERM ends it with 0, announced."""
    node = started.start_node("node-1")
    poll_for(lambda: serves(node), SECONDS)
    assert node.end() == 0
    again = started.start_node("node-1", token=False)
    poll_for(lambda: serves(again), SECONDS)
    assert registration(started.root / "node-1") == 2
    assert again.end(signal.SIGKILL) == -signal.SIGKILL
    third = started.start_node("node-1", token=False)
    poll_for(lambda: serves(third), SECONDS)
    assert third.end(signal.SIGINT) == 0


def test_a_node_waits_for_its_master(started: Daemons) -> None:
    """A master that dies does not end its nodes; when it is back they register again."""
    node = started.start_node("node-1")
    poll_for(lambda: serves(node), SECONDS)
    started.running[0].end(signal.SIGKILL)
    poll_for(lambda: node.said("lost the master"), SECONDS)
    started.start_master()
    poll_for(lambda: registration(started.root / "node-1") == 2, SECONDS)
    assert node.end() == 0


def test_a_twin_does_not_serve(started: Daemons) -> None:
    """1. A node serves. 2. Its volume is copied. 3. The copy is refused for as long as the original lives."""
    node = started.start_node("node-1")
    poll_for(lambda: serves(node), SECONDS)
    # Not what the node is just replacing: it may be gone before it is copied.
    shutil.copytree(started.root / "node-1", started.root / "copy", ignore=shutil.ignore_patterns("*.tmp"))
    twin = started.start_node("twin", volume="copy")
    poll_for(lambda: twin.said("a node with its identity is live"), SECONDS)
    assert not serves(twin)
    assert node.process.poll() is None
    assert twin.end() == 0


def test_one_volume_one_process(started: Daemons) -> None:
    """A second process on the same directory ends with exit code 5 and says why."""
    node = started.start_node("node-1")
    poll_for(lambda: serves(node), SECONDS)
    second = started.start_node("second", volume="node-1")
    assert second.process.wait(SECONDS) == 5
    assert "another process uses the volume" in stderr_of(started, "second")


@pytest.mark.parametrize(("options", "token"), [((), False), (("--expect-node", "7"), True)])
def test_no_volume_is_made_unasked(started: Daemons, options: tuple[str, ...], token: bool) -> None:
    """Without a token, or where another volume was expected, nothing is made; exit code 1."""
    node = started.start_node("node-1", *options, token=token)
    assert node.process.wait(SECONDS) == 1
    assert not (started.root / "node-1").exists()


def test_a_wrong_token_ends_the_node(started: Daemons) -> None:
    """The refusal is one sentence with exit code 6."""
    (started.root / "join-token").write_text("00" * 32)
    node = started.start_node("node-1")
    assert node.process.wait(SECONDS) == 6


def verify(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`dfs-node verify`."""
    return subprocess.run([BIN / "dfs-node", "verify", *arguments], capture_output=True, text=True, timeout=60)


def test_verify_trusts_a_volume_again(started: Daemons) -> None:
    """A failed volume stays failed over restarts; a full pass clears it, unless a chunk is bad or a node serves it."""
    path = started.root / "node-1"
    node = started.start_node("node-1")
    poll_for(lambda: serves(node), SECONDS)
    assert verify("--volume", path).returncode == 5
    assert node.end() == 0
    volume = DiskVolume(path, WrappedDisk())
    data, digest = chunk_of(100_000)
    store(volume, data)
    volume.health.fail("fsync: Input/output error")
    bad = chunk_path(path, digest)
    good = bad.read_bytes()
    bad.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    found = verify("--volume", path)
    assert found.returncode == 7
    assert digest.hex() in found.stdout
    assert (path / "failed").exists()
    bad.write_bytes(good)
    cleared = verify("--volume", path, "--json")
    assert cleared.returncode == 0
    assert cleared.stdout.strip() == '{"chunks": 1, "bytes": 100000, "bad": [], "cleared": true}'
    assert not (path / "failed").exists()
    assert verify("--volume", started.root / "absent").returncode == 1


def test_help_and_version() -> None:
    """Both end with 0; a start without options is a usage error."""
    assert subprocess.run([BIN / "dfs-node", "--help"], capture_output=True, timeout=60).returncode == 0
    assert subprocess.run([BIN / "dfs-node", "--version"], capture_output=True, timeout=60).returncode == 0
    assert subprocess.run([BIN / "dfs-node"], capture_output=True, timeout=60).returncode == 2
    assert subprocess.run([BIN / "dfs-node", "--nonsense"], capture_output=True, timeout=60).returncode == 2
