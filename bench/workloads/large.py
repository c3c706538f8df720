"""w1 and w6: large files, one client and eight, up and down."""

import filecmp

from bench import limits
from bench.recording import Run
from bench.workloads.content import MIB, expect, fresh_file
from dfs_client.api import Dfs, connect

LARGE_MIB = 1024
CLIENTS = 8
EACH_MIB = 64


def one_large(run: Run) -> None:
    """1 GiB up and down, one client."""
    source, target = fresh_file(run.files / "large", LARGE_MIB), run.files / "back"
    _machine(run, LARGE_MIB)
    run.limit("two copies", lambda: limits.two_copies(source, run.disk))
    with connect() as dfs:
        dfs.exists("/")
        run.rate("w1 up", LARGE_MIB, "MiB/s", lambda: dfs.upload(source, "/large"))
        run.rate("w1 down", LARGE_MIB, "MiB/s", lambda: dfs.download("/large", target))
    expect(True, filecmp.cmp(source, target, shallow=False))


def eight_large(run: Run) -> None:
    """64 MiB up and down by each of eight clients."""
    sources = [fresh_file(run.files / f"source-{number}", EACH_MIB) for number in range(CLIENTS)]
    _machine(run, CLIENTS * EACH_MIB)
    run.limit("two copies", lambda: limits.two_copies(run.files / "limit", run.disk))

    def upload(number: int, dfs: Dfs) -> float:
        return dfs.upload(sources[number], f"/{number}").size / MIB

    def download(number: int, dfs: Dfs) -> float:
        return dfs.download(f"/{number}", run.files / f"back-{number}").size / MIB

    run.rate_together("w6 up", CLIENTS, "MiB/s", upload)
    run.rate_together("w6 down", CLIENTS, "MiB/s", download)
    for number, source in enumerate(sources):
        expect(True, filecmp.cmp(source, run.files / f"back-{number}", shallow=False))


def _machine(run: Run, mib: int) -> None:
    source = run.files / "limit"
    if not source.exists():
        fresh_file(source, mib)
    run.limit("loopback", limits.loopback)
    run.limit("file over loopback", lambda: limits.file_over_loopback(source, run.files / "limit-back"))
    run.limit("BLAKE3, one core", limits.blake3_of_one_core)
    run.limit("CRC32C, one core", limits.crc32c_of_one_core)
