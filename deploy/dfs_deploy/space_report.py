"""What `dfs df` says: for people a table and a sentence, for programs one object."""

from collections.abc import Sequence
from dataclasses import dataclass

from dfs_client.output import Column, Output
from dfs_wire.messages import NodeSpace, SpaceDetailReply

_COLUMNS = [
    Column("NODE"),
    *(
        Column(name, right=True)
        for name in ("CAPACITY", "USED", "LIVE", "SURPLUS", "WAITING", "ORPHAN", "OTHER", "RESERVE", "FREE")
    ),
]


@dataclass(frozen=True, slots=True)
class Split:
    """Bytes of one volume, or of all. `orphan` None: no inventory yet."""

    name: str
    capacity: int
    used: int
    live: int
    surplus: int
    waiting: int
    orphan: int | None
    reserve: int
    free: int

    @property
    def other(self) -> int:
        """Used, and on no record: headers, and uploads that no commit followed yet."""
        return max(0, self.used - self.live - self.surplus - self.waiting - (self.orphan or 0))


def split_of(node: NodeSpace) -> Split:
    """One volume."""
    return Split(
        node.name,
        node.capacity_bytes,
        node.used_bytes,
        node.live_bytes,
        node.surplus_bytes,
        node.waiting_bytes,
        None if node.orphan_bytes < 0 else node.orphan_bytes,
        node.reserve_bytes,
        node.free_bytes,
    )


def total_of(nodes: Sequence[NodeSpace]) -> Split:
    """All volumes; what several on one file system share is counted once."""
    splits = [split_of(node) for node in nodes]
    shared = {node.filesystem_id or node.name: split for node, split in zip(nodes, splits, strict=True)}
    inventories = [split.orphan for split in splits if split.orphan is not None]
    return Split(
        "all",
        sum(split.capacity for split in shared.values()),
        sum(split.used for split in splits),
        sum(split.live for split in splits),
        sum(split.surplus for split in splits),
        sum(split.waiting for split in splits),
        sum(inventories) if inventories else None,
        sum(split.reserve for split in shared.values()),
        sum(split.free for split in shared.values()),
    )


def space_object(reply: SpaceDetailReply, nodes: Sequence[NodeSpace]) -> dict[str, object]:
    """For `--json`."""
    return {
        "nodes": [_object(split_of(node)) | {"state": node.state} for node in nodes],
        "all": _object(total_of(nodes)),
        "first_free_at_ms": reply.first_free_at_ms or None,
    }


def _object(split: Split) -> dict[str, object]:
    return {
        "name": split.name,
        "capacity_bytes": split.capacity,
        "used_bytes": split.used,
        "live_bytes": split.live,
        "surplus_bytes": split.surplus,
        "waiting_bytes": split.waiting,
        "orphan_bytes": split.orphan,
        "other_bytes": split.other,
        "reserve_bytes": split.reserve,
        "free_bytes": split.free,
    }


def show_space(reply: SpaceDetailReply, nodes: Sequence[NodeSpace], output: Output) -> None:
    """For people."""
    rows = [split_of(node) for node in nodes]
    if len(rows) != 1:
        rows.append(total_of(nodes))
    output.table(_COLUMNS, [_row(split, output) for split in rows])
    if reply.first_free_at_ms:
        output.line(f"The first of what waits is deleted {_in_words(reply.first_free_at_ms - reply.time_ms)}.")


def _row(split: Split, output: Output) -> list[str]:
    sizes = (split.capacity, split.used, split.live, split.surplus, split.waiting)
    rest = (split.other, split.reserve, split.free)
    orphan = "-" if split.orphan is None else output.size(split.orphan)
    return [split.name, *map(output.size, sizes), orphan, *map(output.size, rest)]


def _in_words(milliseconds: int) -> str:
    seconds = max(0, milliseconds) // 1000
    if seconds < 2:
        return "now"
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"in {seconds // length} {unit}"
    return f"in {seconds} seconds"
