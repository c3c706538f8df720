"""Entries as JSON and as rows: the same fields wherever a command shows them."""

from dfs_client.display import mode_string, octal_mode, utc_time
from dfs_client.output import Output
from dfs_client.types import FileStat
from dfs_wire.messages import ChunkInfo, Copy, Entry, EntryKind


def entry_record(entry: Entry, *, copies: bool = False) -> dict[str, object]:
    """An entry as `list --json` shows it; `modified_at` is null for a directory."""
    is_file = entry.kind is EntryKind.FILE
    record: dict[str, object] = {
        "path": entry.path,
        "kind": str(entry.kind),
        "size": entry.size,
        "modified_at": utc_time(entry.mtime_ns) if is_file else None,
        "mode": octal_mode(entry.mode),
    }
    if copies:
        record["copies"] = _copies(entry.copies)
    return record


def stat_record(found: FileStat) -> dict[str, object]:
    """An entry with everything known of it, as `stat --json` shows it."""
    entry = found.entry
    is_file = entry.kind is EntryKind.FILE
    return {
        **entry_record(entry),
        "mtime_ns": entry.mtime_ns,
        "digest": entry.digest.hex() if is_file else None,
        "version": entry.version if is_file else None,
        "copies_wanted": found.copies_wanted,
        "policy_from": found.policy_from or None,
        "copies": _copies(entry.copies or holders(found.chunks)),
        "chunks": [_chunk(chunk) for chunk in found.chunks],
    }


def holders(chunks: list[ChunkInfo]) -> list[Copy]:
    """Every node that holds a good replica of one of the chunks, by name."""
    found = {replica.node: replica.address for chunk in chunks for replica in chunk.replicas if replica.state == "good"}
    return [Copy(node, found[node]) for node in sorted(found)]


def long_cells(entry: Entry, output: Output) -> list[str]:
    """Mode, size, time and nodes of an entry, for a table."""
    return [mode_string(entry), *short_cells(entry, output), ",".join(copy.node for copy in entry.copies) or "-"]


def short_cells(entry: Entry, output: Output) -> list[str]:
    """Size and time of an entry; a directory has neither."""
    if entry.kind is EntryKind.DIRECTORY:
        return ["-", "-"]
    return [output.size(entry.size), output.time(entry.mtime_ns)]


def _copies(copies: list[Copy]) -> list[dict[str, object]]:
    return [{"node": copy.node, "address": copy.address} for copy in copies]


def _chunk(chunk: ChunkInfo) -> dict[str, object]:
    return {
        "ordinal": chunk.ordinal,
        "digest": chunk.digest.hex(),
        "size": chunk.chunk_size,
        "offset": chunk.offset,
        "length": chunk.length,
        "replicas": [
            {"node": replica.node, "address": replica.address, "state": replica.state} for replica in chunk.replicas
        ],
    }
