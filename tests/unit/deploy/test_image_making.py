"""Wheelhouse and base image: command lines, caches, and what is said when a program is missing."""

import io
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from dfs_deploy.image import base
from dfs_deploy.image import wheelhouse as wheelhouse_module
from dfs_deploy.image.base import debian_command, debian_tar
from dfs_deploy.image.context import write_context
from dfs_deploy.image.wheelhouse import download_command, last_line, platforms, run_program, wheelhouse
from dfs_wire.errors import TimedOutError, UnavailableError

PINS = ["a==1", "b==2"]


def fake_pip(command: Sequence[str], _seconds: float) -> str | None:
    """Put a wheel where the command line says."""
    target = Path(command[command.index("--dest") + 1])
    (target / "a-1-py3-none-any.whl").write_bytes(b"a")
    return None


def test_wheels_are_fetched_for_the_image_and_not_for_the_host(tmp_path: Path) -> None:
    """Python, platform and markers are the image's; nothing is built from source; pip itself comes along."""
    command = download_command(PINS, "aarch64", tmp_path)
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[command.index("--python-version") + 1] == "3.11"
    assert "--no-deps" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert command[-3:] == ["a==1", "b==2", "pip"]
    tags = platforms("x86_64")
    assert {"manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64"} <= set(tags)
    assert "manylinux_2_37_x86_64" not in tags, "bookworm's libc is older"


def test_a_wheelhouse_is_made_once(tmp_path: Path) -> None:
    """The second build asks no index."""
    made = wheelhouse(PINS, "x86_64", tmp_path / "cache", "key", run=fake_pip)
    assert [path.name for path in made.iterdir()] == ["a-1-py3-none-any.whl"]

    def never(_command: Sequence[str], _seconds: float) -> str | None:
        raise AssertionError

    assert wheelhouse(PINS, "x86_64", tmp_path / "cache", "key", run=never) == made
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["x86_64-key"]


def test_two_who_make_the_same_wheelhouse_share_one(tmp_path: Path) -> None:
    """The slower one takes the other's."""

    def slower(command: Sequence[str], seconds: float) -> str | None:
        wheelhouse(PINS, "x86_64", tmp_path, "key", run=fake_pip)
        return fake_pip(command, seconds)

    made = wheelhouse(PINS, "x86_64", tmp_path, "key", run=slower)
    assert len(list(made.iterdir())) == 1


def test_pips_complaint_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line says why; nothing half-made is kept. Without pip the sentence says how to get it."""
    with pytest.raises(UnavailableError, match="no wheel for a"):
        wheelhouse(PINS, "x86_64", tmp_path / "c", "key", run=lambda *_: "long story\nERROR: no wheel for a\n")
    assert list((tmp_path / "c").iterdir()) == []
    monkeypatch.setattr(wheelhouse_module, "find_spec", lambda _name: None)
    with pytest.raises(UnavailableError, match="ensurepip"):
        wheelhouse(PINS, "x86_64", tmp_path / "c", "key", run=fake_pip)


def test_programs_are_run_to_their_end() -> None:
    """What they complained of comes back, and a hanging one is ended."""
    assert run_program([sys.executable, "-c", ""], 60) is None
    assert run_program([sys.executable, "-c", "raise SystemExit('no')"], 60) == "no"
    assert run_program([sys.executable, "-c", "raise SystemExit(3)"], 60) == "exit code 3"
    with pytest.raises(TimedOutError):
        run_program([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
    assert last_line("\n") == "\n"


def test_without_mmdebstrap_the_sentence_says_how_to_get_it() -> None:
    """And that another base may be given."""
    with pytest.raises(UnavailableError, match=r"apt-get install mmdebstrap.*--base"), debian_tar(find=lambda _: None):
        pass


def test_a_base_is_made_by_mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive is there inside the block; a failure is its last line."""
    program = tmp_path / "mmdebstrap"
    program.write_text('#!/bin/sh\nfor last; do :; done\necho "$TMPDIR" > "$last"\n')
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": "/somewhere"}
    monkeypatch.setenv("PATH", environ["PATH"])
    with debian_tar(environ=environ) as archive:
        assert archive.read_text() == "/somewhere\n"
    assert not archive.exists()
    program.write_text("#!/bin/sh\necho 'E: no such mirror' >&2\nexit 1\n")
    with pytest.raises(UnavailableError, match="no such mirror"), debian_tar(environ=environ):
        pass
    monkeypatch.setattr(base, "MAKE_SECONDS", 0.2)
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(TimedOutError), debian_tar(environ=environ):
        pass


def test_the_base_is_small() -> None:
    """Only what Debian calls essential, and Python."""
    command = debian_command(Path("out.tar"))
    assert command[0] == "mmdebstrap"
    assert {"--variant=essential", "--include=python3"} <= set(command)
    assert command[-2:] == ["bookworm", "out.tar"]


def test_equal_contents_make_equal_contexts(tmp_path: Path) -> None:
    """Whatever the clock says: the engine's cache would miss otherwise."""
    (tmp_path / "b-1.whl").write_bytes(b"b")
    (tmp_path / "a-1.whl").write_bytes(b"a")
    (tmp_path / "notes.txt").write_bytes(b"not a wheel")
    own = tmp_path / "own.whl"
    own.write_bytes(b"own")
    targets = (io.BytesIO(), io.BytesIO())
    for target in targets:
        write_context(target, requirements=PINS, wheels=tmp_path, own_wheel=own)
    assert targets[0].read() == targets[1].read()
    targets[0].seek(0)
    with tarfile.open(fileobj=targets[0]) as archive:
        names = archive.getnames()
        requirements = archive.extractfile("requirements.txt")
        assert requirements is not None
        assert requirements.read() == b"a==1\nb==2\n"
    assert [name for name in names if name.startswith("wheels/")] == [
        "wheels/a-1.whl",
        "wheels/b-1.whl",
        "wheels/own.whl",
    ]
