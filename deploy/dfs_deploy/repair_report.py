"""How repair and rebalance stand, as text and as JSON."""

from dfs_client.display import human_bytes
from dfs_runtime.words import plural
from dfs_wire.messages import RepairStatusReply

_STATES = {
    "idle": "nothing to do",
    "working": "copies are being made",
    "waiting": "waiting; see why",
    "stopped": "stopped: it needs a decision",
}
_REBALANCE = {
    "even": "nodes are evenly full",
    "working": "moving copies to emptier nodes",
    "waiting": "waits until nothing more important is to be done",
    "paused": "paused; `dfs rebalance resume` goes on",
    "off": "off (the setting rebalance_percent is 0)",
}


def repair_object(reply: RepairStatusReply) -> dict[str, object]:
    """The object of `dfs repair status --json`; what nobody knows is null."""
    return {
        "state": reply.state,
        "reasons": reply.reasons,
        "chunks_left": reply.chunks_left,
        "bytes_left": reply.bytes_left,
        "bytes_per_second": reply.bytes_per_second,
        "seconds_left": _known(reply.seconds_left),
        "under_way": reply.under_way,
        "counting": reply.counting,
    }


def rebalance_object(reply: RepairStatusReply) -> dict[str, object]:
    """The object of `dfs rebalance status --json`."""
    return {
        "state": reply.rebalance,
        "bytes_left": reply.rebalance_bytes_left,
        "bytes_per_second": reply.rebalance_bytes_per_second,
        "seconds_left": _known(reply.rebalance_seconds_left),
    }


def repair_lines(reply: RepairStatusReply, *, brief: bool = False) -> list[tuple[str, str]]:
    """Facts for people; `brief` leaves out what is as it should be."""
    lines: list[tuple[str, str]] = []
    if not brief or reply.state != "idle" or reply.reasons or reply.counting:
        lines.append(("repair", f"{_STATES.get(reply.state, reply.state)}{_left(reply)}"))
        lines += [("why", reason) for reason in reply.reasons]
    if not brief or reply.rebalance not in ("even", "off"):
        lines.append(("rebalance", rebalance_text(reply)))
    return lines


def rebalance_text(reply: RepairStatusReply) -> str:
    """How the rebalance stands, in one line."""
    text = _REBALANCE.get(reply.rebalance, reply.rebalance)
    if not reply.rebalance_bytes_left:
        return text
    left = f"{human_bytes(reply.rebalance_bytes_left)} to move"
    return f"{text}; {left}{_pace(reply.rebalance_bytes_per_second, reply.rebalance_seconds_left)}"


def _left(reply: RepairStatusReply) -> str:
    if not reply.chunks_left:
        return "; still looking" if reply.counting else ""
    count = "at least " if reply.counting else ""
    chunks = f"{count}{plural(reply.chunks_left, 'chunk')} left"
    text = f"; {chunks}, {human_bytes(reply.bytes_left)}, {reply.under_way} under way"
    return text + _pace(reply.bytes_per_second, reply.seconds_left)


def _pace(bytes_per_second: int, seconds_left: int) -> str:
    if bytes_per_second <= 0:
        return ""
    rate = f", {human_bytes(bytes_per_second)}/s"
    return rate if seconds_left < 0 else f"{rate}, about {duration_text(seconds_left)} left"


def _known(seconds: int) -> int | None:
    return None if seconds < 0 else seconds


def duration_text(seconds: int) -> str:
    """A time as people say it: 45 s, 12 min, 3 h 20 min."""
    if seconds < 120:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
