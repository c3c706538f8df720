"""What the machine itself can do, measured in the same run: every figure of ours is quoted as a ratio to these."""

import subprocess
import time
from pathlib import Path


def two_copies_mib_per_s(source: Path, directory: Path) -> float:
    """MiB of user data a second when two `dd … conv=fsync` write a copy each, at the same time."""
    copies = [directory / "copy-1", directory / "copy-2"]
    begun = time.perf_counter()
    running = [
        subprocess.Popen(
            ["dd", f"if={source}", f"of={copy}", "bs=8M", "conv=fsync"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for copy in copies
    ]
    if any(process.wait() for process in running):
        raise RuntimeError("dd failed; is the disk full?")
    seconds = time.perf_counter() - begun
    for copy in copies:
        copy.unlink()
    return source.stat().st_size / 2**20 / seconds
