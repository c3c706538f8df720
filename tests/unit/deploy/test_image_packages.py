"""What goes into the image: our packages as they are imported, and pinned requirements."""

import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from dfs_deploy.image import own_packages
from dfs_deploy.image.own_packages import PACKAGES, OwnFile, digest_of, own_files, write_wheel
from dfs_deploy.image.requirements import pinned_requirements
from dfs_wire.errors import InternalError

ROOT = Path(__file__).parents[3]


def test_the_packages_are_those_of_the_wheel() -> None:
    """pyproject.toml has the same list."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert [Path(path).name for path in build["packages"]] == list(PACKAGES)


def test_every_file_that_is_no_rubbish_goes_in() -> None:
    """Modules, migrations, the Dockerfile itself, type markers; no compiled files."""
    names = {file.name for file in own_files()}
    assert {"dfs_deploy/image/Dockerfile", "dfs_wire/py.typed", "dfs_master/__main__.py"} <= names
    assert any(name.startswith("dfs_migrations/versions/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_wheel_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    """Pip reads it, console scripts and version are in it, and equal code gives an equal file."""
    (tmp_path / "again").mkdir()
    first, second = write_wheel(own_files(), tmp_path), write_wheel(own_files(), tmp_path / "again")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as wheel:
        assert wheel.testzip() is None
        info = f"dfs-{own_packages.version()}.dist-info"
        assert b"dfs-node = dfs_node" in wheel.read(f"{info}/entry_points.txt")
        record = wheel.read(f"{info}/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in record} == set(wheel.namelist())


def test_a_digest_covers_names_contents_and_more() -> None:
    """Moving a byte from one part to the next changes it."""
    digests = {
        digest_of([OwnFile("a", b"bc")]),
        digest_of([OwnFile("ab", b"c")]),
        digest_of([OwnFile("a", b"b"), OwnFile("c", b"")]),
        digest_of([OwnFile("a", b"bc")], "d"),
        digest_of([], "d"),
    }
    assert len(digests) == 5


def test_a_package_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with holes makes no image."""
    monkeypatch.setattr(own_packages, "PACKAGES", ("dfs_nowhere",))
    with pytest.raises(InternalError, match="dfs_nowhere"):
        own_files()


INSTALLED: dict[str, tuple[str, Sequence[str]]] = {
    "dfs": ("1", ["Web_Lib>=2", "old; python_version < '3.11'", "new; python_version >= '3.13'", "x; extra == 'dev'"]),
    "Web_Lib": ("2.5", ["deep[fast]", "windows; sys_platform == 'win32'", "arm; platform_machine == 'aarch64'"]),
    "deep": ("3", ["speed; extra == 'fast'", "Web_Lib", "not-here>=4"]),
    "speed": ("4", []),
    "arm": ("5", []),
}


def test_requirements_are_judged_for_the_image_and_not_for_the_host() -> None:
    """Markers see Python 3.11 on Linux; extras count where they were asked for; circles end."""
    found = pinned_requirements("x86_64", INSTALLED.get)
    assert found == ["deep==3", "not-here>=4", "speed==4", "web-lib==2.5"]
    assert "arm==5" in pinned_requirements("aarch64", INSTALLED.get)


def test_this_installation_can_be_pinned() -> None:
    """Every requirement is one exact version, and nothing of the tests is in it."""
    found = pinned_requirements("x86_64")
    assert all("==" in line for line in found)
    names = {line.partition("==")[0] for line in found}
    assert {"sqlalchemy", "blake3", "msgspec", "docker", "packaging"} <= names
    assert names.isdisjoint({"pytest", "mypy", "ruff", "testcontainers"})
