"""A fresh cluster of three process nodes for one run, through the same command that users type."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "bench"


@contextmanager
def fresh_cluster(parent: Path | None = None) -> Iterator[Path]:
    """Deploy, give the directory to work in (it holds `home`), destroy. Sets `DFS_HOME` for this process."""
    directory = Path(tempfile.mkdtemp(prefix="dfs-bench-", dir=parent))
    os.environ["DFS_HOME"] = str(directory / "home")
    try:
        _dfs("deploy", "--nodes", "3", "--name", NAME, "--engine", "process")
        yield directory
    finally:
        _dfs("destroy", "--name", NAME, "--delete-data", "--yes")
        shutil.rmtree(directory)


def _dfs(*arguments: str) -> None:
    program = Path(sys.executable).with_name("dfs")
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
