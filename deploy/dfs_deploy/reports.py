"""How results look: JSON objects for programs, lines for people. Pure."""

import json
from typing import Any

from dfs_deploy.engine import LogLine
from dfs_deploy.plan import Change, Found, StartNode
from dfs_deploy.spec import ClusterSpec
from dfs_runtime.words import plural
from dfs_wire.messages import DrainProgressReply

#: Fields of a log record that stand in every line's beginning.
_LEADING_FIELDS = frozenset({"at", "level", "logger", "thread", "message", "exception"})


def state_of(spec: ClusterSpec, found: Found) -> str:
    """`running`, `partial`, `stopped` or `destroyed`."""
    return _state(spec, len(found.running))


def _state(spec: ClusterSpec, running: int) -> str:
    if running == len(spec.roles):
        return "running"
    if running:
        return "partial"
    return "destroyed" if spec.destroyed else "stopped"


def cluster_object(spec: ClusterSpec, found: Found) -> dict[str, object]:
    """A cluster as `dfs list` shows it."""
    return {
        "name": spec.name,
        "engine": spec.engine,
        "nodes": len(spec.nodes),
        "copies": spec.copies,
        "state": state_of(spec, found),
        "master": spec.master_address,
    }


def change_object(change: Change, *, running: int) -> dict[str, object]:
    """The result of a command that changes a cluster; `running` roles are left of it."""
    spec = change.spec
    return {
        "name": spec.name,
        "engine": spec.engine,
        "nodes": len(spec.nodes),
        "copies": spec.copies,
        "state": _state(spec, running),
        "master": spec.master_address,
        "changed": bool(change.steps),
    }


def deployed_lines(change: Change) -> list[str]:
    """What a person wants to know after a deploy."""
    spec = change.spec
    if not change.steps:
        return [f"Cluster {spec.name} runs already with {plural(len(spec.nodes), 'node')}; nothing was changed."]
    begun = sum(isinstance(step, StartNode) for step in change.steps)
    return [
        f"Cluster {spec.name} runs: master {spec.master_address}, {plural(len(spec.nodes), 'node')} "
        f"({begun} started now), {plural(spec.copies, 'copy')} of every file.",
        "Try: dfs-client upload FILE    dfs-client list    dfs status",
    ]


# -- logs -------------------------------------------------------------------------------------------------------


def log_record(line: LogLine) -> dict[str, Any] | None:
    """The record of a log line, or None for raw output."""
    try:
        record = json.loads(line.text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def message_of(line: LogLine) -> str:
    """The message of a log line, or raw output as it is."""
    record = log_record(line)
    return line.text if record is None else str(record.get("message", line.text))


def log_object(line: LogLine) -> dict[str, object]:
    """A log line for programs: its record, with the role in front."""
    record = log_record(line)
    return {"role": line.role, **({"message": line.text} if record is None else record)}


def log_text(line: LogLine, *, with_role: bool) -> str:
    """A log line for people."""
    prefix = f"{line.role:<8} " if with_role else ""
    record = log_record(line)
    if record is None:
        return prefix + line.text
    fields = " ".join(f"{name}={value}" for name, value in record.items() if name not in _LEADING_FIELDS)
    parts = [str(record.get(name, "")) for name in ("at", "level", "logger", "message")]
    text = " ".join(part for part in [*parts, fields] if part)
    return prefix + text + ("\n" + str(record["exception"]) if "exception" in record else "")


def in_time_order(lines: list[LogLine]) -> list[LogLine]:
    """Lines of several roles in the order of their times; raw output stays behind the line it followed."""
    keyed: list[tuple[str, LogLine]] = []
    times: dict[str, str] = {}
    for line in lines:
        record = log_record(line)
        if record is not None and isinstance(record.get("at"), str):
            times[line.role] = record["at"]
        keyed.append((times.get(line.role, ""), line))
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0])]


#: No waiting helps there.
_DAMAGED_ADVICE = "start the nodes that have another copy, or remove the files and wait until they are collected"


def safety_object(left: DrainProgressReply) -> dict[str, object]:
    """Whether a node may stop now, for `--json`."""
    return {
        "safe_to_stop": left.only_here == 0,
        "chunks_only_here": left.only_here,
        "chunks_short_without_it": left.chunks_left,
        "chunks_damaged": left.damaged,
        "files": left.files,
    }


def damaged_sentence(name: str, left: DrainProgressReply) -> str:
    """Why a drain does not end, when that is damage; empty where it is not."""
    if not left.damaged:
        return ""
    what = f"{name} holds all that is left of {plural(left.damaged, 'chunk')}, and that is damaged"
    if not left.files:
        return f"{what}; no file has them now: they are collected `version_grace_seconds` after theirs were removed."
    return (
        f"{what}; {_DAMAGED_ADVICE} (`dfs explain PATH` says who had them). "
        f"Among the files with something only there: {', '.join(left.files)}."
    )


def safety_lines(name: str, left: DrainProgressReply) -> list[str]:
    """Whether a node may stop now, for people."""
    files = f" Among them: {', '.join(left.files)}." if left.files else ""
    if left.only_here:
        damaged = f" Damaged on {name} as well: {left.damaged}; {_DAMAGED_ADVICE}." if left.damaged else ""
        return [f"Do not stop {name} now: {plural(left.only_here, 'chunk')} can be read nowhere else.{files}{damaged}"]
    if left.chunks_left:
        what = f"every file can still be read, but {left.chunks_left} chunks have too few copies while it is away"
        return [f"{name} may be stopped: {what}."]
    return [f"{name} may be stopped: every file has all its copies elsewhere."]
