"""Files that come out of containers: whole and durable under their name, or not at all."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.support.docker_machine import SPEC, DockerMachine

from dfs_deploy.docker_engine import archives
from dfs_deploy.docker_engine.archives import only_file, save_only_file
from dfs_deploy.docker_engine.backup import REMOVE_LEFT
from dfs_wire.errors import AlreadyExistsError, NotFoundError, UnavailableError

CONTENT = os.urandom(50_000)


def archive_of(content: bytes | None) -> bytes:
    """An archive with a file, or with an empty directory."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("f")
        entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
        entry.size = len(content or b"")
        archive.addfile(entry, io.BytesIO(content or b""))
    return target.getvalue()


def pieces_of(data: bytes) -> Iterator[bytes]:
    """As the engine sends it."""
    return (data[start : start + 4_000] for start in range(0, len(data), 4_000))


def test_a_file_is_saved_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Nothing else is left beside it."""
    target = tmp_path / "copy.db"
    assert save_only_file(pieces_of(archive_of(CONTENT)), target) == len(CONTENT)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]
    assert target.stat().st_nlink == 1


@pytest.mark.parametrize("length", [0, 100, 700, 20_000, 50_500])
def test_a_stream_that_ends_early_leaves_nothing(tmp_path: Path, length: int) -> None:
    """In the header, in the content: one sentence, and no file under any name."""
    cut = archive_of(CONTENT)[:length]
    with pytest.raises(UnavailableError, match="try again"):
        save_only_file(pieces_of(cut), tmp_path / "copy.db")
    with pytest.raises(UnavailableError, match="try again"):
        only_file(pieces_of(cut))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_copy_has_never_had_its_name(tmp_path: Path) -> None:
    """Until all of it is there, nobody can take a part for a backup."""
    target = tmp_path / "copy.db"

    def interrupted() -> Iterator[bytes]:
        yield archive_of(CONTENT)[:30_000]
        assert not target.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_only_file(interrupted(), target)
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fsync of the file, the name, fsync of the directory."""
    done: list[str] = []
    real = archives._give_name
    monkeypatch.setattr(archives.os, "fsync", lambda _descriptor: done.append("fsync"))
    monkeypatch.setattr(archives, "fsync_directory", lambda path: done.append(f"fsync {path}"))
    monkeypatch.setattr(archives, "_give_name", lambda one, other: (done.append("name"), real(one, other)))
    save_only_file(pieces_of(archive_of(CONTENT)), tmp_path / "copy.db")
    assert done == ["fsync", "name", f"fsync {tmp_path}"]


def test_a_target_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    """It is not overwritten; and an archive without a file makes none."""
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(FileExistsError):
        save_only_file(pieces_of(archive_of(CONTENT)), tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "mine"
    with pytest.raises(NotFoundError):
        save_only_file(pieces_of(archive_of(None)), tmp_path / "other.db")
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]


def test_a_file_system_without_links_gets_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a stick with FAT."""

    def refuse(_self: Path, _target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    save_only_file(pieces_of(archive_of(CONTENT)), tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]


def test_a_backup_says_when_its_target_appeared_meanwhile(tmp_path: Path) -> None:
    """The copy inside is removed in any case."""
    machine = DockerMachine(tmp_path / "home")
    machine.deploy()
    files = machine.docker.files["dfs-demo-master"]
    target = tmp_path / "copy.db"

    def program(_container: str, command: Sequence[str], _out: BinaryIO) -> int:
        if command[0] == "rm":
            del files[command[2]]
        elif command[0] == "dfs-master":
            files[command[3]] = b"database"
            target.write_text("mine")
        return 0

    machine.docker.program = program
    with pytest.raises(AlreadyExistsError, match="choose another name"):
        machine.engine.run_master_command(SPEC, ["db", "backup", str(target)])
    assert target.read_text() == "mine"
    assert not [name for name in files if "backup" in name]


def test_copies_that_killed_backups_left_are_removed(tmp_path: Path) -> None:
    """Those of a day ago, finished or not; one under way and all else stays."""
    mark = "0123456789abcdef"
    old = [f"backup-{mark}.db", f".backup-{mark}.db.0123.tmp", "backup-mine.db", "master"]
    for name in old:
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / f"backup-{mark[::-1]}.db").write_text("under way")
    subprocess.run([sys.executable, "-c", REMOVE_LEFT.replace("/data", str(tmp_path))], check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"backup-mine.db", "master", f"backup-{mark[::-1]}.db"}
