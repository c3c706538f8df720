"""Trouble that a user meets: one clear sentence, the right exit code, and nothing half-done left behind."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.client_command import client_environment, run_client
from tests.support.faults import MIB, STOP_SECONDS, FaultCluster
from tests.support.history import Upload
from tests.support.oracle import temporary_files
from tests.support.polling import poll_for
from tests.support.small_disks import small_disk

from dfs_deploy.programs import MASTER_PROGRAM, NODE_PROGRAM, program_command

LARGE = Upload("large", "/large", 192 * MIB)
COMMAND_SECONDS = 60.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """One for all."""
    with FaultCluster(tmp_path_factory.mktemp("trouble")) as cluster:
        yield cluster.start()
        for daemon in cluster.daemons.values():
            assert "Traceback" not in daemon.log.read_text()


@pytest.fixture
def stored(cluster: FaultCluster) -> Upload:
    """A small file that is there."""
    upload = Upload("stored", "/stored", 100_000)
    with cluster.client() as dfs:
        dfs.upload(upload.stream(), upload.path)
    return upload


def test_sources_that_cannot_be_read(cluster: FaultCluster, tmp_path: Path) -> None:
    """Missing, a directory without -r, a name that is not UTF-8: exit code and reason, nothing stored."""
    (tmp_path / "directory").mkdir()
    odd = os.fsencode(tmp_path) + b"/odd-\xff"
    with open(odd, "wb"):
        pass
    for source, codes in (
        (str(tmp_path / "missing"), {3}),
        (str(tmp_path / "directory"), {2, 4}),
        (os.fsdecode(odd), {1, 2}),
    ):
        ran = run_client(cluster, "upload", source, "/never")
        assert ran.code in codes, (source, ran)
        assert ran.sentence
    with cluster.client() as dfs:
        assert not dfs.exists("/never")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_source_without_permission(cluster: FaultCluster, tmp_path: Path) -> None:
    """One sentence that names the file."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    secret.chmod(0)
    ran = run_client(cluster, "upload", str(secret), "/never")
    assert ran.code in {1, 6}
    assert "secret" in ran.sentence


def test_destinations_that_exist(cluster: FaultCluster, stored: Upload, tmp_path: Path) -> None:
    """`--no-clobber` and a download without `--force` exit 4 and leave what is there as it is."""
    refused = run_client(cluster, "upload", "--no-clobber", "-", stored.path, content=b"other")
    assert refused.code == 4
    assert refused.sentence
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    refused = run_client(cluster, "download", stored.path, str(target))
    assert refused.code == 4
    assert refused.sentence
    assert target.read_bytes() == b"mine"
    assert run_client(cluster, "download", "--force", stored.path, str(target)).code == 0
    assert target.read_bytes() == stored.content()


def test_names_that_are_not_there(cluster: FaultCluster, tmp_path: Path) -> None:
    """Exit code 3 and a sentence, whatever the command; no local file."""
    for arguments in (
        ("download", "/absent", str(tmp_path / "x")),
        ("cat", "/absent"),
        ("stat", "/absent"),
        ("list", "/absent"),
        ("rm", "/absent"),
        ("mv", "/absent", "/elsewhere"),
    ):
        ran = run_client(cluster, *arguments)
        assert (ran.code, ran.output) == (3, b""), arguments
        assert "absent" in ran.sentence
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_key(cluster: FaultCluster) -> None:
    """Exit code 6, and the key is not shown."""
    environment = {**client_environment(cluster), "DFS_KEY": "ab" * 32}
    command = [*program_command("dfs-client"), "list", "/"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 1
    assert b"abab" not in done.stderr


def test_a_local_disk_that_is_full(cluster: FaultCluster, tmp_path: Path) -> None:
    """A download that does not fit leaves nothing, neither the file nor a part of it."""
    upload = Upload("too-large", "/too-large", 24 * MIB)
    with cluster.client() as dfs, small_disk(tmp_path / "small", 16 * MIB) as small:
        dfs.upload(upload.stream(), upload.path)
        ran = run_client(cluster, "download", upload.path, str(small / "target"))
        assert ran.code in {1, 5}
        assert "space" in ran.sentence or "full" in ran.sentence
        assert list(small.iterdir()) == []


def interrupt(cluster: FaultCluster, arguments: list[str], when: Callable[[], object]) -> tuple[int, str]:
    """Ctrl-C for a command in the middle of its work."""
    command = [*program_command("dfs-client"), *arguments]
    environment = client_environment(cluster)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        poll_for("the command to be at work", lambda: when() or process.poll() is not None, seconds=30, every=0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=COMMAND_SECONDS)
    finally:
        process.kill()
        process.wait()
    return process.returncode, errors.decode()


def chunk_count(cluster: FaultCluster) -> int:
    """How many chunk files all volumes hold."""
    return sum(1 for volume in cluster.volumes.values() for _ in (volume / "chunks").glob("??/" + "?" * 64))


def test_an_upload_that_is_interrupted(cluster: FaultCluster, tmp_path: Path) -> None:
    """Ctrl-C: exit code 130, one sentence, nothing visible, no unfinished chunk on any node; it can be repeated."""
    source = LARGE.write_to(tmp_path / "source")
    before = chunk_count(cluster)
    code, errors = interrupt(
        cluster, ["upload", str(source), "/interrupted"], lambda: chunk_count(cluster) > before + 4
    )
    assert code == 130
    assert len(errors.strip().splitlines()) <= 1, errors
    with cluster.client() as dfs:
        assert not dfs.exists("/interrupted")
        poll_for("no unfinished chunks", lambda: temporary_files(cluster) == [], seconds=10)
        uploaded = dfs.upload(source, "/interrupted")
        assert uploaded.bytes_sent < LARGE.size
        assert uploaded.digest == LARGE.digest()


def test_a_download_that_is_interrupted(cluster: FaultCluster, tmp_path: Path) -> None:
    """Ctrl-C: exit code 130, one sentence, and neither the file nor a part of it."""
    with cluster.client() as dfs:
        dfs.upload(LARGE.write_to(tmp_path / "source"), LARGE.path)
    (tmp_path / "source").unlink()
    target = tmp_path / "downloads"
    target.mkdir()
    code, errors = interrupt(cluster, ["download", LARGE.path, str(target / "file")], lambda: list(target.iterdir()))
    assert code == 130
    assert len(errors.strip().splitlines()) <= 1, errors
    assert list(target.iterdir()) == []


def refused_daemon(program: str, *arguments: str, log: Path) -> tuple[int, str]:
    """A daemon that must end at once: its exit code, and the one line that it wrote."""
    command = [*program_command(program), "--listen", "127.0.0.1:0", "--log-file", str(log), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    (sentence,) = done.stderr.decode().strip().splitlines()
    return done.returncode, sentence


def test_ports_and_directories_that_are_taken(cluster: FaultCluster, tmp_path: Path) -> None:
    """A second master on the data, a second node on the volume, another's port: exit code 5 and one sentence."""
    free, log = tmp_path / "free", tmp_path / "log"
    subprocess.run([*program_command(MASTER_PROGRAM), "init", "--data", str(free)], check=True, capture_output=True)
    node = ("--master", cluster.addresses["master"], "--join-token-file", str(cluster.root / "join-token"))
    held = ("--volume", str(cluster.volumes["node-1"]), "--name", "twin")
    fresh = ("--volume", str(tmp_path / "new"), "--name", "new")
    taken = ("--listen", cluster.addresses["node-1"])
    for program, arguments, reason in (
        (MASTER_PROGRAM, ("--data", str(cluster.data)), "a master serves"),
        (MASTER_PROGRAM, (*taken, "--data", str(free)), "in use)"),
        (NODE_PROGRAM, (*node, *held), "another process"),
        (NODE_PROGRAM, (*node, *fresh, *taken), "in use)"),
    ):
        code, sentence = refused_daemon(program, *arguments, log=log)
        assert code == 5, sentence
        assert reason in sentence
    assert set(cluster.states()) == set(cluster.nodes)


def test_a_volume_that_is_not_there(cluster: FaultCluster, tmp_path: Path) -> None:
    """A node that expects its volume never makes an empty one: a forgotten mount stays a forgotten mount."""
    missing = tmp_path / "not-mounted"
    missing.mkdir()
    (row,) = cluster.rows("SELECT id FROM nodes WHERE name = 'node-1'")
    node = ("--master", cluster.addresses["master"], "--name", "node-1", "--expect-node", str(row["id"]))
    code, sentence = refused_daemon(NODE_PROGRAM, *node, "--volume", str(missing), log=tmp_path / "log")
    assert code == 1
    assert sentence
    assert [path.name for path in missing.iterdir() if path.name != "lock"] == []


def test_daemons_end_in_good_order_under_load(tmp_path: Path) -> None:
    """SIGTERM in the middle of uploads: every process exits 0 within its 10 s, and starts again."""
    with FaultCluster(tmp_path / "cluster") as cluster:
        cluster.start()
        source = LARGE.write_to(tmp_path / "source")
        command = [*program_command("dfs-client"), "upload", str(source), "/load"]
        upload = subprocess.Popen(command, env=client_environment(cluster), stderr=subprocess.DEVNULL)
        try:
            poll_for("the upload to be at work", lambda: chunk_count(cluster) > 4, seconds=30, every=0.005)
            codes = {name: daemon.stop() for name, daemon in reversed(cluster.daemons.items())}
        finally:
            upload.kill()
            upload.wait(STOP_SECONDS)
        assert set(codes.values()) == {0}, codes
        assert temporary_files(cluster) == []
        for daemon in cluster.daemons.values():
            daemon.start()
        cluster.await_live()
