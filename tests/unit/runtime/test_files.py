"""Files are replaced whole or not at all, whichever step fails."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs_runtime import files
from dfs_runtime.files import AlreadyLockedError, exclusive_lock, make_directory, write_atomically, write_secret

STEPS = ("open", "write", "fsync", "close", "rename")


def names_in(directory: Path) -> list[str]:
    """What lies there."""
    return sorted(entry.name for entry in directory.iterdir())


def fail_at(monkeypatch: pytest.MonkeyPatch, step: str, error: int = errno.EIO) -> None:
    """The next call of that step fails; a close still closes."""
    target: object = files.os if step != "rename" else Path
    real: Callable[..., object] = getattr(target, step)

    def failing(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(target, step, real)
        if step == "close":
            real(*arguments)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(target, step, failing)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("existed", [True, False])
def test_a_failed_step_leaves_the_old_file(
    step: str, existed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the rename, whatever fails, the old content stands and no temporary file stays."""
    path = tmp_path / "file"
    if existed:
        path.write_bytes(b"old")
    fail_at(monkeypatch, step)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(path, b"new")
    assert names_in(tmp_path) == (["file"] if existed else [])
    assert not existed or path.read_bytes() == b"old"


def test_a_failed_fsync_of_the_directory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is there but may not be durable: the caller must not acknowledge."""
    path = tmp_path / "file"
    calls: list[int] = []
    real = os.fsync

    def second_fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", second_fails)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_the_order_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data is on disk before it has its name, and the name before the call returns."""
    path = tmp_path / "file"
    order: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        order.append("fsync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> Path:
        order.append("rename")
        return real_rename(source, target)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    write_atomically(path, b"new")
    assert order == ["fsync file", "rename", "fsync directory"]


def test_writes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes less than it was given gets the rest."""
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_atomically(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@given(content=st.binary(max_size=200))
def test_any_content(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was written is read, over what was there."""
    path = tmp_path_factory.mktemp("any") / "file"
    write_atomically(path, b"old")
    write_atomically(path, content)
    assert path.read_bytes() == content
    assert names_in(path.parent) == ["file"]


def test_a_secret_is_the_owners_alone(tmp_path: Path) -> None:
    """Also when it replaces a file that everybody could read."""
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_secret(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    """Once or twice makes no difference."""
    deep = tmp_path / "a" / "b" / "c"
    for _ in range(2):
        make_directory(deep, mode=0o700)
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700


def test_made_directories_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new name is synced in the directory that holds it."""
    synced: list[Path] = []
    monkeypatch.setattr(files, "fsync_directory", synced.append)
    make_directory(tmp_path / "a" / "b")
    assert set(synced) == {tmp_path, tmp_path / "a"}


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    """A second holder is refused, here and in another process, until the first is done."""
    path = tmp_path / "lock"
    program = (
        "import sys; from pathlib import Path; from dfs_runtime.files import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])): pass"
    )
    with exclusive_lock(path):
        with pytest.raises(AlreadyLockedError), exclusive_lock(path):
            pass
        other = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=False)
        assert b"AlreadyLockedError" in other.stderr
    with exclusive_lock(path):
        pass
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    """The kernel lets go of it with the process."""
    path = tmp_path / "lock"
    program = (
        "import sys, os; from pathlib import Path; from dfs_runtime.files import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyLockedError), exclusive_lock(path):
            pass
        holder.kill()
    with exclusive_lock(path):
        pass
