"""The `dfs-node` command without a process of its own: options, sentences and exit codes."""

import json
import sys
from pathlib import Path

import pytest
from tests.support.volumes import WrappedDisk, chunk_of, store

from dfs_node.cli import main
from dfs_node.disk_volume import DiskVolume
from dfs_node.identity import Claim, claim_volume
from dfs_node.volume_directory import chunk_path, hold_volume

DATA, DIGEST = chunk_of(70_000)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of a command line."""
    monkeypatch.setattr(sys, "argv", ["dfs-node", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def volume(tmp_path: Path) -> DiskVolume:
    """A volume with one chunk, which no node serves."""
    claim_volume(tmp_path, Claim(may_join=True)).join(cluster_id="c", node_id=1, node_key=b"k" * 32)
    made = DiskVolume(tmp_path, WrappedDisk())
    store(made, DATA)
    return made


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 2),
        (["--volume", "/v", "--name", "n"], 2),
        (["--nonsense"], 2),
        (["--volume", "/v", "--name", "n", "--master", "nowhere"], 2),
        (["--volume", "/v", "--name", "n", "--master", "m:1", "--join-token-file", "/absent"], 2),
        (["verify"], 2),
        (["verify", "--volume", "/absent"], 1),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int) -> None:
    """What is wrong with a command line shows in its exit code, before anything is made."""
    monkeypatch.setattr("dfs_runtime.lifecycle.StopSignal.install", lambda _self: None)
    assert run(monkeypatch, *arguments) == code


def test_verify_prints_and_clears(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, volume: DiskVolume
) -> None:
    """All is well: the recorded failure goes."""
    volume.health.fail("fsync: Input/output error")
    assert run(monkeypatch, "verify", "--volume", tmp_path) == 0
    assert capsys.readouterr().out == "1 chunks, 70000 bytes, 0 bad; the volume is trusted again\n"
    assert not (tmp_path / "failed").exists()
    assert DiskVolume(tmp_path, WrappedDisk()).usage().verified
    assert run(monkeypatch, "verify", "--volume", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"chunks": 1, "bytes": 70_000, "bad": [], "cleared": False}


def test_verify_names_what_is_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, volume: DiskVolume
) -> None:
    """A bad chunk is listed, the failure stays, and the exit code says corrupt."""
    volume.health.fail("fsync: Input/output error")
    path = chunk_path(tmp_path, DIGEST)
    path.write_bytes(path.read_bytes()[:-1])
    assert run(monkeypatch, "verify", "--volume", tmp_path) == 7
    captured = capsys.readouterr()
    assert f"{DIGEST.hex()}  truncated" in captured.out
    assert captured.err.startswith("dfs-node: 1 chunks are bad")
    assert (tmp_path / "failed").exists()


def test_verify_leaves_a_served_volume_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, volume: DiskVolume
) -> None:
    """The node that serves it would not notice what is found."""
    with hold_volume(tmp_path):
        assert run(monkeypatch, "verify", "--volume", tmp_path) == 5
    assert "another process" in capsys.readouterr().err
