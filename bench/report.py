"""Figures of several runs as a table for people and as JSON for `bench.compare`."""

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from bench.recording import Run
from bench.targets import TARGETS


def summarise(runs: Sequence[Run]) -> dict[str, Any]:
    """Median, minimum and maximum of every figure and limit, and the ratio of each to its limit within its own run."""
    figures: dict[str, dict[str, Any]] = {}
    limits: defaultdict[str, list[float]] = defaultdict(list)
    cpu: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for name, value in run.limits.items():
            limits[name].append(value)
        for figure in run.figures:
            entry = figures.setdefault(figure.name, {"unit": figure.unit, "values": [], "ratios": []})
            entry["values"].append(figure.value)
            target = TARGETS.get(figure.name)
            if target is not None and target.limit:
                entry["ratios"].append(figure.value / run.limits[target.limit])
            for role, spent in figure.cpu_ms.items():
                cpu[figure.name][role].append(spent)
    for name, entry in figures.items():
        entry.update(_spread(entry["values"]))
        entry["cpu_ms"] = {role: statistics.median(spent) for role, spent in cpu[name].items()}
        ratios = entry.pop("ratios")
        if ratios:
            entry["limit"], entry["ratio"] = TARGETS[name].limit, _spread(ratios)
        if name in TARGETS:
            entry["target"] = {"value": TARGETS[name].wanted, "ratio": TARGETS[name].ratio}
            entry["met"] = TARGETS[name].met(entry["median"], statistics.median(ratios) if ratios else 0.0)
    return {
        **_provenance(),
        "runs": len(runs),
        "limits": {name: {**_spread(values), "values": values} for name, values in limits.items()},
        "figures": figures,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _provenance() -> dict[str, Any]:
    packages = ("dfs", "msgspec", "blake3", "crc32c", "sqlalchemy")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain").splitlines()),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            **{name: version(name) for name in packages},
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "kernel": platform.release(),
        },
        "cores": len(os.sched_getaffinity(0)),
    }


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def print_table(summary: dict[str, Any]) -> None:
    """The limits of the machine, then the figures; as Markdown, so that it can go into a document."""
    print("\n| the machine's limits | median | min–max |\n|---|---|---|")
    for name, limit in summary["limits"].items():
        print(f"| {name} | {_number(limit['median'])} | {_number(limit['min'])}–{_number(limit['max'])} |")
    print("\n| workload | median | min–max | ratio to limit (min–max) | target | processor time of one, ms |")
    print("|---|---|---|---|---|---|")
    for name, figure in summary["figures"].items():
        spread = f"{_number(figure['min'])}–{_number(figure['max'])}"
        spent = ", ".join(f"{role} {ms:.2f}" for role, ms in figure["cpu_ms"].items())
        median = f"{_number(figure['median'])} {figure['unit']}"
        print(f"| {name} | {median} | {spread} | {_ratio(figure)} | {_target(figure)} | {spent} |")
    missed = [name for name, figure in summary["figures"].items() if figure.get("met") is False]
    if missed:
        print(f"\nmissed: {', '.join(missed)}", file=sys.stderr)


def _ratio(figure: dict[str, Any]) -> str:
    ratio = figure.get("ratio")
    if ratio is None:
        return ""
    return f"{ratio['median']:.3g} of {figure['limit']} ({ratio['min']:.3g}–{ratio['max']:.3g})"


def _target(figure: dict[str, Any]) -> str:
    target = figure.get("target")
    if target is None:
        return ""
    wanted = f"{target['ratio']:.3g} of it" if target["ratio"] else f"{_number(target['value'])} {figure['unit']}"
    return f"{wanted}: {'met' if figure['met'] else 'missed'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
