"""An independent look at what a cluster stores: the database file and the volumes, none of the servers' code."""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3
from tests.support.faults import FaultCluster

_HEADER = struct.Struct(">8sIIQQ32s")


@dataclass(slots=True)
class Findings:
    """What is wrong, in a sentence each; and what was looked at."""

    faults: list[str] = field(default_factory=list)
    files: int = 0
    copies: int = 0


def chunk_data(path: Path) -> bytes | None:
    """The data of a chunk file as the storage format lays it out; None where it is no whole chunk file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) < _HEADER.size:
        return None
    magic, version, offset, _, length, _ = _HEADER.unpack_from(raw)
    if (magic, version) != (b"DFSCHUNK", 1) or len(raw) != offset + length:
        return None
    return raw[offset:]


def examine(cluster: FaultCluster, *, copies: int = 2) -> Findings:
    """Check every current version: extents without a gap, and for each enough good copies on different nodes."""
    found = Findings()
    verified: dict[tuple[str, str], bool] = {}
    versions = cluster.rows(
        "SELECT v.id, v.size, coalesce(sum(x.length), 0) AS bytes FROM versions v"
        " JOIN entries e ON e.version_id = v.id LEFT JOIN extents x ON x.version_id = v.id GROUP BY v.id"
    )
    found.files = len(versions)
    found.faults += [
        f"version {row['id']} has {row['bytes']} bytes in extents instead of {row['size']}"
        for row in versions
        if row["bytes"] != row["size"]
    ]
    chunks = cluster.rows(
        "SELECT DISTINCT hex(c.digest) AS digest FROM chunks c JOIN extents x ON x.chunk_id = c.id"
        " JOIN entries e ON e.version_id = x.version_id"
    )
    replicas = cluster.rows(
        "SELECT hex(c.digest) AS digest, n.name AS node FROM replicas r JOIN chunks c ON c.id = r.chunk_id"
        " JOIN nodes n ON n.id = r.node_id WHERE r.state = 'good'"
    )
    holders: dict[str, list[str]] = {}
    for row in replicas:
        holders.setdefault(row["digest"].lower(), []).append(row["node"])
    for row in chunks:
        digest = row["digest"].lower()
        for node in holders.get(digest, []):
            data = chunk_data(cluster.chunk_file(node, digest))
            verified[node, digest] = data is not None and blake3(data).hexdigest() == digest
            if not verified[node, digest]:
                found.faults.append(f"the copy of {digest} on {node} is recorded as good and is not")
        good = sum(verified.get((node, digest), False) for node in holders.get(digest, []))
        found.copies += good
        if good < copies:
            found.faults.append(f"chunk {digest} has {good} good copies instead of {copies}")
    return found


def temporary_files(cluster: FaultCluster) -> list[Path]:
    """Unfinished chunks in all volumes."""
    return [path for volume in cluster.volumes.values() for path in (volume / "chunks").glob("*/*.tmp")]
