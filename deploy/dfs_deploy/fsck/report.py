"""What a check found, in sentences for people and objects for programs."""

from dfs_client.display import human_bytes, visible
from dfs_client.output import Output
from dfs_deploy.fsck.check import CheckResult
from dfs_deploy.fsck.compare import PoorChunk
from dfs_runtime.words import plural

#: Files that a sentence names; the object has all of them.
PATHS_SHOWN = 3


def show(result: CheckResult, output: Output) -> None:
    """Print all of it; the summary comes last."""
    if output.json:
        _objects(result, output)
    else:
        _sentences(result, output)


def _objects(result: CheckResult, output: Output) -> None:
    found = result.findings
    for copy in found.damaged:
        output.record(
            {
                "kind": "damaged_copy",
                "node": copy.node,
                "digest": copy.digest,
                "what": copy.what,
                "paths": result.paths.get(copy.digest, []),
            }
        )
    for chunk in found.poor:
        output.record(
            {
                "kind": "lost_chunk" if chunk.lost else "poor_chunk",
                "digest": chunk.digest,
                "wanted": chunk.wanted,
                "good": chunk.good,
                "unseen": chunk.unseen,
                "paths": list(chunk.paths),
            }
        )
    for text in found.contradictions:
        output.record({"kind": "contradiction", "what": text})
    for unknown in found.unknown:
        output.record(
            {
                "kind": "unknown_copy",
                "node": unknown.node,
                "digest": unknown.digest,
                "size": unknown.size,
                "changed_at_ms": unknown.changed_at_ms,
            }
        )
    for volume in result.unscanned:
        output.record({"kind": "unscanned_volume", "node": volume.node, "why": volume.why})
    output.record(
        {
            "kind": "summary",
            "damaged": result.damaged,
            "volumes": result.scanned,
            "copies": found.copies,
            "bytes": found.bytes,
            "damaged_copies": len(found.damaged),
            "poor_chunks": len(found.poor),
            "lost_chunks": sum(chunk.lost for chunk in found.poor),
            "unknown_copies": len(found.unknown),
            "contradictions": len(found.contradictions),
        }
    )


def _sentences(result: CheckResult, output: Output) -> None:
    found = result.findings
    for copy in found.damaged:
        files = _named(result.paths.get(copy.digest, []))
        output.line(f"damaged copy on {copy.node}: {copy.what}; chunk {copy.digest[:16]} of {files}")
    for chunk in found.poor:
        output.line(_poor(chunk))
    for text in found.contradictions:
        output.line(f"the metadata contradicts itself: {text}")
    for volume in result.unscanned:
        output.line(f"not looked at: {visible(volume.node)} ({visible(volume.why)})")
    if found.unknown:
        size = human_bytes(sum(copy.size for copy in found.unknown))
        output.line(
            f"{len(found.unknown)} copies ({size}) belong to no file: uploads under way, or orphans that are collected"
            " when their time has come (`dfs settings list`, orphan_seconds)"
        )
    volumes = plural(len(result.scanned), "volume")
    looked = f"{plural(found.copies, 'copy')} ({human_bytes(found.bytes)}) on {volumes} looked at"
    output.line(f"{looked}: {_verdict(result)}")


def _poor(chunk: PoorChunk) -> str:
    files = _named(chunk.paths)
    if chunk.lost and not chunk.paths:
        return f"no good copy left of chunk {chunk.digest[:16]}, which only removed or replaced versions refer to"
    if chunk.lost:
        return f"LOST: {files}; chunk {chunk.digest[:16]} has no good copy left"
    unseen = f" and {chunk.unseen} not looked at" if chunk.unseen else ""
    return f"too few copies: {chunk.good}{unseen} of {chunk.wanted}; chunk {chunk.digest[:16]} of {files}"


def _verdict(result: CheckResult) -> str:
    found = result.findings
    lost = {path for chunk in found.poor if chunk.lost for path in chunk.paths}
    if lost:
        return f"{len(lost)} files are lost; restore them from elsewhere"
    if found.contradictions:
        return "the metadata is damaged; see `dfs db check`, or restore a backup"
    if found.damaged or found.poor:
        return "every file can be read; a running cluster mends what is damaged by itself"
    return "nothing is damaged" if result.scanned else "no volume could be looked at"


def _named(paths: list[str] | tuple[str, ...]) -> str:
    if not paths:
        return "no current file"
    more = f" and {len(paths) - PATHS_SHOWN} more" if len(paths) > PATHS_SHOWN else ""
    return ", ".join(visible(path) for path in paths[:PATHS_SHOWN]) + more
