"""A base image from Debian's own packages, for machines that reach no image registry."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dfs_deploy.image.wheelhouse import last_line
from dfs_wire.errors import TimedOutError, UnavailableError

SUITE = "bookworm"
#: The official image with Python 3.11, taken where it can be pulled.
OFFICIAL_BASE = "python:3.11-slim-bookworm"
DEBIAN_BASE = "dfs-base:bookworm-python3.11"

MAKE_SECONDS = 1_800.0
#: A tree being unpacked takes about this much; in memory it is made in a third of the time.
_MEMORY_BYTES_MIN = 1024 * 1024 * 1024
_MEMORY = Path("/dev/shm")  # noqa: S108 - only as a directory of temporary directories

#: What nobody reads in a container.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")


def debian_command(target: Path) -> list[str]:
    """Mmdebstrap's command line: only what Debian calls essential, and Python."""
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    # A power cut in the middle costs nothing but this file.
    options.append("--dpkgopt=force-unsafe-io")
    options.append('--aptopt=APT::Install-Recommends "false"')
    return ["mmdebstrap", "--quiet", "--variant=essential", "--include=python3", *options, SUITE, str(target)]


@contextmanager
def debian_tar(
    *, find: Callable[[str], str | None] = shutil.which, environ: Mapping[str, str] | None = None
) -> Iterator[Path]:
    """A tar archive of a small Debian with Python 3.11, there for as long as the block runs.

    Raises:
        UnavailableError: mmdebstrap is missing, or failed.
        TimedOutError: it took too long.
    """
    if find("mmdebstrap") is None:
        raise UnavailableError(
            "A base image cannot be made here because mmdebstrap is missing; "
            "install it (`apt-get install mmdebstrap`), or name an image that exists: `dfs image build --base IMAGE`."
        )
    with tempfile.TemporaryDirectory(prefix="dfs-base-") as scratch:
        target = Path(scratch) / "base.tar"
        _make(debian_command(target), _with_quick_scratch(os.environ if environ is None else environ))
        yield target


def _make(command: Sequence[str], environ: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MAKE_SECONDS,
            env=dict(environ),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOutError(f"mmdebstrap did not end within {MAKE_SECONDS:.0f} s; try again.") from error
    if done.returncode != 0:
        raise UnavailableError(
            f"mmdebstrap could not make a base image ({last_line(done.stderr)}); check that apt works here."
        )


def _with_quick_scratch(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, with temporary files in memory where there is room and nobody chose a place."""
    if "TMPDIR" in environ or not os.access(_MEMORY, os.W_OK):
        return dict(environ)
    if shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES_MIN:
        return dict(environ)
    return {**environ, "TMPDIR": str(_MEMORY)}
