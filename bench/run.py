"""`make bench`: each workload several times, on a fresh cluster each time; prints a table, writes JSON."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.cluster import fresh_cluster
from bench.places import spread_out
from bench.recording import Options, Run
from bench.report import print_table, summarise
from bench.workloads import STARTS_ITSELF, USUAL, WORKLOADS
from bench.workloads.million import FEW

_MEMORY = Path("/dev/shm")  # noqa: S108 - files of the client lie in memory, so that its disk is not measured


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--workloads", default=",".join(USUAL), help=f"of {', '.join(WORKLOADS)} (default %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="fresh clusters a workload (default %(default)s)")
    parser.add_argument("--engine", choices=("process", "docker"), default="process")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long `load` lasts (default %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="clients of `load` (default %(default)s)")
    parser.add_argument(
        "--volume",
        type=int,
        default=2048,
        help="MiB that `w4` stores; `w7` uploads a quarter of it a turn (default %(default)s)",
    )
    parser.add_argument("--files", type=int, default=1_000_000, help="in the catalog of `w8` (default %(default)s)")
    parser.add_argument("--directory", type=Path, help="where clusters and limits write (default: the system's)")
    parser.add_argument("--json", type=Path, default=Path("bench-result.json"), help="default %(default)s")
    options = parser.parse_args()
    chosen = [name for name in options.workloads.split(",") if name]
    unknown = set(chosen) - set(WORKLOADS)
    if "w8" in chosen and options.files < FEW:
        parser.error(f"w8 compares with a catalog of {FEW:,} files; ask for more --files")
    if unknown or not chosen or options.repeat < 1:
        parser.error(f"unknown workloads {sorted(unknown)}; there are {', '.join(WORKLOADS)}")
    # A measurement that is ended leaves no cluster behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs: list[Run] = []
    summary: dict[str, Any] = {}
    asked = Options(options.seconds, options.clients, options.volume, options.files)
    with spread_out(options.directory) as place:
        # Runs of different workloads alternate, so that a slow minute of the machine does not hit one of them alone.
        for number in range(1, options.repeat + 1):
            for name in chosen:
                print(f"run {number} of {options.repeat}: {name}", file=sys.stderr)
                runs.append(_run(name, options.engine, place, asked))
                summary = {"engine": options.engine, "repeat": options.repeat, "workloads": chosen, **summarise(runs)}
                # After each: who interrupts a long measurement keeps what there is.
                options.json.write_text(json.dumps(summary, indent=2) + "\n")
    print_table(summary)


def _run(name: str, engine: str, directory: Path, options: Options) -> Run:
    """One run of one workload; nothing is left of it."""
    files = Path(tempfile.mkdtemp(prefix="dfs-bench-", dir=_MEMORY if _MEMORY.is_dir() else directory))
    disk = Path(tempfile.mkdtemp(prefix="dfs-bench-limit-", dir=directory))
    try:
        with fresh_cluster(engine, directory, deployed=name not in STARTS_ITSELF) as cluster:
            run = Run(cluster, files, disk, options)
            WORKLOADS[name](run)
            return run
    finally:
        shutil.rmtree(files)
        shutil.rmtree(disk)


if __name__ == "__main__":
    main()
