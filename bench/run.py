"""`make bench`: each workload several times on a fresh cluster each; prints medians with their spread, writes JSON."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.cluster import fresh_cluster
from bench.workloads import WORKLOADS


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure a cluster of three process nodes on this machine.")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="comma-separated: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="fresh clusters a workload (default %(default)s)")
    parser.add_argument("--directory", type=Path, help="where clusters and files lie (default: the system's)")
    parser.add_argument("--json", type=Path, default=Path("bench-result.json"), help="default %(default)s")
    options = parser.parse_args()
    chosen = [name for name in options.workloads.split(",") if name]
    unknown = set(chosen) - set(WORKLOADS)
    if unknown or options.runs < 1:
        parser.error(f"unknown workloads {sorted(unknown)}; there are {sorted(WORKLOADS)}")
    figures: defaultdict[str, list[float]] = defaultdict(list)
    # Runs of different workloads alternate, so that a slow minute of the machine does not hit one of them alone.
    for number in range(1, options.runs + 1):
        for name in chosen:
            print(f"run {number} of {options.runs}: {name}", file=sys.stderr)
            with fresh_cluster(options.directory) as directory:
                for figure, value in WORKLOADS[name](directory).items():
                    figures[figure].append(value)
    _print(figures)
    options.json.write_text(json.dumps(_result(figures, options.runs), indent=2) + "\n")


def _print(figures: dict[str, list[float]]) -> None:
    print(f"{'figure':48} {'median':>10} {'min':>10} {'max':>10}")
    for name, values in figures.items():
        print(f"{name:48} {statistics.median(values):10.2f} {min(values):10.2f} {max(values):10.2f}")


def _result(figures: dict[str, list[float]], runs: int) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dfs": version("dfs"),
        "python": platform.python_version(),
        "runs": runs,
        "figures": {
            name: {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}
            for name, values in figures.items()
        },
    }


if __name__ == "__main__":
    main()
