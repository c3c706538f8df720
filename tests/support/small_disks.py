"""A file system of a few MiB, where this user may mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a memory file system of this size at `path`, which is made; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small file system that this test fills")
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "dfs-test", str(path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        # Lazily: a process that still ends must not keep the mount.
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=30)
