"""What the benchmark makes of its figures; the measuring itself needs a quiet machine, not a test."""

import json
import sys
from pathlib import Path
from random import Random

import pytest
from bench import compare, limits
from bench.catalogs import Filled
from bench.cluster import Cluster
from bench.recording import Options, Run
from bench.report import print_table, summarise
from bench.targets import TARGETS, Target
from bench.workloads import STARTS_ITSELF, USUAL, WORKLOADS, beside, million

from dfs_client.api import Dfs


def make_run(up: float, limit: float, *, list_seconds: float = 0.1) -> Run:
    """One run with a figure that has a limit, and one that stands alone."""
    run = Run(Cluster("process", Path("home")), Path("files"), Path("disk"), Options())
    run.limits["two copies"] = limit
    run.note("w1 up", up, "MiB/s", {"client": 1.5, "nodes": 3.0})
    run.note("w5 dfs-client list", list_seconds, "s")
    return run


def test_a_figure_is_judged_by_its_ratio_within_its_own_run() -> None:
    """The machine was half as fast in the second run: the ratio stands still."""
    found = summarise([make_run(600, 1_000), make_run(300, 500), make_run(310, 500)])["figures"]["w1 up"]
    assert (found["median"], found["min"], found["max"]) == (310, 300, 600)
    assert found["ratio"] == {"median": 0.6, "min": 0.6, "max": 0.62}
    assert found["cpu_ms"] == {"client": 1.5, "nodes": 3.0}
    assert found["met"]


@pytest.mark.parametrize(("seconds", "met"), [(0.1, True), (0.3, False)])
def test_a_figure_without_a_limit_is_judged_as_it_is(seconds: float, met: bool) -> None:
    """Less is better there."""
    found = summarise([make_run(1, 1, list_seconds=seconds)])["figures"]["w5 dfs-client list"]
    assert found["met"] is met
    assert "ratio" not in found


def test_targets_are_ratios_of_the_machine_of_the_peers() -> None:
    """Twice the best peer over the limit there."""
    assert TARGETS["w1 up"].ratio == pytest.approx(444 / 822)
    assert Target("", 10, smaller=True).ratio == 0.0
    limits = {target.limit for target in TARGETS.values() if target.limit}
    assert limits == {
        "two copies",
        "loopback",
        "create and fsync, 8",
        "create and fsync, 1",
        "cp -r twice",
        "round trips",
        "SQLite commits",
        "copy and fsync, 2 at once",
    }


def test_the_machines_own_copies_leave_nothing_behind(tmp_path: Path) -> None:
    """Whole files, each copied once; then the disk is as it was."""
    assert limits.copy_and_fsync(tmp_path, files=3, mib=1) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_cost_is_judged_by_the_turns_next_to_it() -> None:
    """The disk doubles its speed meanwhile; a turn that was over too early counts for nothing, its neighbours do."""
    turns = [
        (beside.ALONE, 100.0),
        (beside.SCRUB, 95.0),
        (beside.ALONE, 100.0),
        (beside.REPAIR, 135.0),
        (beside.ALONE, 200.0),
        (beside.SCRUB, 150.0),
        (beside.ALONE, 200.0),
        (beside.OVER, 1.0),
        (beside.ALONE, 200.0),
        (beside.SCRUB, 180.0),
        (beside.ALONE, 200.0),
    ]
    assert beside.costs(turns) == pytest.approx({beside.SCRUB: 10.0, beside.REPAIR: 10.0})


def test_a_workload_that_healed_nothing_is_an_error() -> None:
    """Rather than a good figure."""
    run = make_run(1, 1)
    with pytest.raises(RuntimeError, match="repair"):
        beside._note(run, "up", "MiB/s", [(beside.ALONE, 1.0), (beside.SCRUB, 1.0), (beside.ALONE, 1.0)])


def test_each_target_of_the_million_files_is_a_request_that_is_made() -> None:
    """A renamed request must not lose its target."""
    filled = Filled(million.FEW, 0)
    store = million._Store(Cluster("process", Path("home")), Dfs.__new__(Dfs), filled, Random(1))
    wanted = {name for name in TARGETS if name.startswith("w8 ")}
    assert wanted == {f"w8 {name}, factor" for name in million.REQUESTS}
    assert store._prepare.keys() == million.REQUESTS.keys()
    assert all(times % million.BATCHES == 0 for times in million.REQUESTS.values())
    once = sum(times for name, times in million.REQUESTS.items() if name in ("stat", "open", "delete"))
    assert once + million.WARM_UP <= million.FEW
    assert filled.path(999) == "/full/000000/000999"


def test_the_usual_workloads_exist() -> None:
    """`make bench` without names runs these."""
    assert set(USUAL) <= set(WORKLOADS)
    assert set(WORKLOADS) >= STARTS_ITSELF


def test_the_table_names_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """As Markdown, with the spread."""
    print_table(summarise([make_run(100, 1_000), make_run(200, 1_000)]))
    shown = capsys.readouterr()
    assert "| w1 up | 150 MiB/s | 100–200 | 0.15 of two copies (0.1–0.2) | 0.54 of it: missed |" in shown.out
    assert shown.err == "\nmissed: w1 up\n"


def test_compare_marks_what_changed_beyond_the_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the ratio where there is one: twice the speed on a machine twice as fast is no change."""
    results = {"old": [make_run(100, 1_000)], "same": [make_run(200, 2_000)], "fast": [make_run(150, 1_000)]}
    for name, runs in results.items():
        summary = {"engine": "process", "repeat": 1, **summarise(runs)}
        (tmp_path / name).write_text(json.dumps(summary))
    marked = {}
    for name in ("same", "fast"):
        monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "old"), str(tmp_path / name)])
        compare.main()
        (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("w1 up")]
        marked[name] = "*" in line
    assert marked == {"same": False, "fast": True}
