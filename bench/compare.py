"""What changed between two results: `python -m bench.compare BEFORE.json AFTER.json`.

The ratio to the machine's limit is compared where there is one, since both results may come from different minutes or
machines. A change counts where the two ranges (minimum to maximum) do not meet.
"""

import argparse
import json
from pathlib import Path
from typing import Any


def main() -> None:
    """Print a line for each figure that both results have."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    before, after = (json.loads(path.read_text()) for path in (options.before, options.after))
    print(f"before: {_source(before)}\nafter:  {_source(after)}\n")
    print(f"{'figure':44} {'before':>11} {'after':>11} {'change':>8}  {'ratio to limit':>17} {'change':>8}")
    for name, old in before["figures"].items():
        new = after["figures"].get(name)
        if new is not None:
            print(_line(name, old, new))
    for title, one, other in (("gone", before, after), ("new", after, before)):
        only = [name for name in one["figures"] if name not in other["figures"]]
        if only:
            print(f"{title}: {', '.join(only)}")


def _source(result: dict[str, Any]) -> str:
    changed = f" with {result['changed_files']} changed files" if result["changed_files"] else ""
    return f"{result['commit'][:12]}{changed}, {result['at']}, {result['repeat']} runs, engine {result['engine']}"


def _line(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    line = f"{name:44} {old['median']:11.3f} {new['median']:11.3f} {_change(old['median'], new['median'])}"
    judged_old, judged_new = old, new
    if "ratio" in old and "ratio" in new:
        judged_old, judged_new = old["ratio"], new["ratio"]
        was, now = judged_old["median"], judged_new["median"]
        line += f"  {was:8.3f} {now:8.3f} {_change(was, now)}"
    else:
        line += " " * 28
    if judged_new["min"] > judged_old["max"] or judged_new["max"] < judged_old["min"]:
        line += "  *"
    spent = [
        f"{role} {old['cpu_ms'][role]:.2f} → {new['cpu_ms'][role]:.2f}"
        for role in old["cpu_ms"]
        if role in new["cpu_ms"]
    ]
    return f"{line}  {'; '.join(spent)}".rstrip()


def _change(was: float, now: float) -> str:
    return f"{(now / was - 1) * 100:+7.1f}%" if was else f"{'':8}"


if __name__ == "__main__":
    main()
