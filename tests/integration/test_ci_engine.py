"""`.ci/engine` on machines that lack this and that: it runs for real, among programs that only note their calls."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "engine"
REAL = ("bash", "cat", "chmod", "env", "nohup", "seq", "setsid", "sh", "tail", "timeout", "touch")
#: package -> the programs that it brings.
PACKAGES = {
    "docker.io": ("docker", "dockerd"),
    "docker-compose": ("docker-compose",),
    "mmdebstrap": ("mmdebstrap",),
    "strace": ("strace",),
    "e2fsprogs": ("mkfs.ext4",),
}
ALL = {program for programs in PACKAGES.values() for program in programs}

PROGRAMS = {
    "docker": '[ "$1" = version ] && [ -e "$ROOT/engine-runs" ]',
    "dockerd": """case "$WORKS $2" in any*|"vfs vfs") touch "$ROOT/engine-runs";; esac
echo said by dockerd""",
    "sleep": ":",
    "apt-get": """[ "$1" = install ] || exit 0
for package in "$@"; do
  case " $REFUSED " in *" $package "*) exit 100;; esac
  [ ! -d "$ROOT/packages/$package" ] || for each in "$ROOT/packages/$package"/*; do mv "$each" "$ROOT/bin/"; done
done""",
}


@dataclass
class Machine:
    """A machine that has some programs. `calls` are those of apt-get and dockerd."""

    root: Path

    def run(self, *, works: str = "any", refused: str = "") -> "subprocess.CompletedProcess[str]":
        """Run `.ci/engine`; `works` says with which options the engine can be started."""
        return subprocess.run(
            [shutil.which("bash") or "bash", str(SCRIPT)],
            env={
                "PATH": str(self.root / "bin"),
                "ROOT": str(self.root),
                "WORKS": works,
                "REFUSED": refused,
                "DFS_CI_DOCKERD_LOG": str(self.root / "dockerd.log"),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """What was called, without options that are the same each time."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.replace(" -y -qq --no-install-recommends", "").replace(" -qq", "") for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One that has nothing but a shell and a package manager."""
    (tmp_path / "bin").mkdir()
    for name in (*REAL, "mv"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    for name in ("apt-get", "sleep"):
        _write(tmp_path / "bin" / name, name)
    for package, programs in PACKAGES.items():
        (tmp_path / "packages" / package).mkdir(parents=True)
        for name in programs:
            _write(tmp_path / "packages" / package / name, name)
    return Machine(tmp_path)


def _write(path: Path, name: str) -> None:
    noted = f'echo "{name} $*" >> "$ROOT/calls"\n' if name in {"apt-get", "dockerd"} else ""
    path.write_text(f"#!/bin/sh\n{noted}{PROGRAMS.get(name, ':')}\n")
    path.chmod(0o755)


def have(machine: Machine, *programs: str) -> None:
    """Let programs be there already."""
    for name in programs:
        _write(machine.root / "bin" / name, name)


def test_where_all_is_there_nothing_is_done(machine: Machine) -> None:
    """Neither installed nor started."""
    have(machine, *ALL)
    (machine.root / "engine-runs").touch()
    done = machine.run()
    assert (done.returncode, machine.calls) == (0, [])


def test_a_bare_machine_gets_everything_and_an_engine(machine: Machine) -> None:
    """From Debian's packages, and the engine is started."""
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.calls == [
        "apt-get update",
        "apt-get install mmdebstrap strace e2fsprogs docker.io",
        "apt-get install docker-compose",
        "dockerd ",
    ]


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    """An engine that answers is used as it is, wherever it runs: no daemon is installed beside it."""
    have(machine, "docker", "strace", "mkfs.ext4", "docker-compose")
    (machine.root / "engine-runs").touch()
    assert machine.run().returncode == 0
    assert machine.calls == ["apt-get update", "apt-get install mmdebstrap"]


def test_an_engine_that_is_there_and_does_not_run_is_started(machine: Machine) -> None:
    """With the storage that works anywhere where the usual one does not."""
    have(machine, *ALL)
    assert machine.run(works="vfs").returncode == 0
    assert machine.calls == ["dockerd ", "dockerd --storage-driver vfs"]


def test_an_engine_that_cannot_be_started_fails_and_says_why(machine: Machine) -> None:
    """Then the tests on containers would fail too: here is the reason."""
    have(machine, *ALL)
    done = machine.run(works="never")
    assert done.returncode == 1
    assert "no Docker Engine could be started" in done.stderr
    assert "said by dockerd" in done.stderr


def test_a_package_that_cannot_be_had(machine: Machine) -> None:
    """Without compose one test is skipped; without the others there is no going on."""
    done = machine.run(refused="docker-compose")
    assert done.returncode == 0, done.stderr
    assert "compose cannot be installed" in done.stderr


def test_without_mmdebstrap_there_is_no_going_on(machine: Machine) -> None:
    """Nothing is started then."""
    assert machine.run(refused="mmdebstrap").returncode != 0
    assert not any(call.startswith("dockerd") for call in machine.calls)
