"""A directory with the wheels of all dependencies, for the image's Python and platform. Made once a list."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from dfs_deploy.image.requirements import INSTALLER, PYTHON
from dfs_runtime.files import fsync_directory, make_directory
from dfs_wire.errors import DfsError, TimedOutError, UnavailableError

DOWNLOAD_SECONDS = 600.0
#: glibc of Debian bookworm, which both bases have, is 2.36; older wheels run on it, newer ones may not.
_GLIBC_MINORS = range(36, 4, -1)

#: `(command, seconds)`: run a program to its end; its standard error comes back when it failed, else None.
RunProgram = Callable[[Sequence[str], float], str | None]


def run_program(command: Sequence[str], seconds: float) -> str | None:
    """Run a program; None, or what it complained of.

    Raises:
        TimedOutError: it took too long.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOutError(f"{Path(command[0]).name} did not end within {seconds:.0f} s; try again.") from error
    return None if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def platforms(machine: str) -> list[str]:
    """The platform tags that the image can use, best first."""
    return [*(f"manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS), f"manylinux2014_{machine}"]


def download_command(requirements: Sequence[str], machine: str, target: Path) -> list[str]:
    """Pip's command line. Markers were judged already, for the image and not for this host: no dependencies here."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON]
    command += [f"--platform={platform}" for platform in platforms(machine)]
    return [*command, "--dest", str(target), *requirements, INSTALLER]


def wheelhouse(
    requirements: Sequence[str], machine: str, cache: Path, key: str, *, run: RunProgram = run_program
) -> Path:
    """The directory with the wheels of a list, from the cache or from pip with all of its own settings.

    Args:
        requirements: what is needed, with what that needs.
        machine: the architecture as wheels call it.
        cache: where wheelhouses are kept.
        key: the digest of the list.
        run: runs pip.

    Raises:
        UnavailableError: pip is missing or could not get a wheel.
        TimedOutError: it took too long.
    """
    made = cache / f"{machine}-{key}"
    if made.is_dir():
        return made
    if find_spec("pip") is None:
        raise UnavailableError(
            f"{sys.executable} has no pip, which fetches what goes into the image; run `python -m ensurepip`."
        )
    make_directory(cache)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as scratch:
        complaint = run(download_command(requirements, machine, Path(scratch)), DOWNLOAD_SECONDS)
        if complaint is not None:
            raise UnavailableError(
                f"pip could not fetch the wheels of the image ({last_line(complaint)}); "
                "check its package index and proxy settings, or use --engine process."
            )
        # Whoever is faster wins: both hold the same wheels.
        fresh = Path(scratch) / "wheels"
        fresh.mkdir()
        for wheel in Path(scratch).glob("*.whl"):
            wheel.rename(fresh / wheel.name)
        try:
            fresh.rename(made)
        except OSError as error:
            if not made.is_dir():
                raise DfsError(f"{made} cannot be written ({error.strerror}); free some space there.") from error
            shutil.rmtree(fresh)
    fsync_directory(cache)
    return made


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else text
