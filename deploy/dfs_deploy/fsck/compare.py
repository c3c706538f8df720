"""What is wrong between the catalog and the volumes, and which files it concerns. Reads `Evidence`, changes nothing.

The cluster may serve meanwhile. So a copy counts as damaged only where the catalog called it good both before the
volumes were scanned (`catalog`) and afterwards (`later`), and as unknown only where neither knows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from dfs_deploy.fsck.evidence import Evidence

#: The paths of one damaged chunk that are named; a pack may hold thousands of files.
PATHS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class DamagedCopy:
    """A copy that the catalog counts on and that is not as it should be. `digest` in hex."""

    node: str
    node_id: int
    digest: str
    what: str


@dataclass(frozen=True, slots=True)
class PoorChunk:
    """A chunk with fewer good copies than its files ask for. `unseen` copies are on volumes that were not scanned."""

    digest: str
    wanted: int
    good: int
    unseen: int
    paths: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether no copy of it can be hoped for."""
        return self.good + self.unseen == 0


@dataclass(frozen=True, slots=True)
class UnknownCopy:
    """A chunk file that the catalog does not know of: an upload under way, or an orphan."""

    node: str
    node_id: int
    digest: str
    size: int
    generation: int
    changed_at_ms: int


@dataclass(slots=True)
class Findings:
    """All that was found. `copies` and `bytes` were looked at."""

    copies: int = 0
    bytes: int = 0
    damaged: list[DamagedCopy] = field(default_factory=list)
    poor: list[PoorChunk] = field(default_factory=list)
    unknown: list[UnknownCopy] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)


#: Every copy that is counted on, and what is wrong with it. A file may be newer than its row, and never older.
_COPIES = """
CREATE TEMP VIEW copies AS
SELECT n.name AS node, r.node_id AS node_id, c.digest AS digest, c.id AS chunk_id,
       CASE WHEN f.digest IS NULL THEN 'missing' WHEN f.damage <> '' THEN f.damage
            WHEN f.size <> c.size THEN 'another size' WHEN f.generation < r.generation THEN 'an older file'
            ELSE '' END AS damage
FROM scanned s JOIN catalog.replicas r ON r.node_id = s.node_id JOIN catalog.chunks c ON c.id = r.chunk_id
JOIN catalog.nodes n ON n.id = r.node_id LEFT JOIN found f ON f.node_id = r.node_id AND f.digest = c.digest
WHERE r.state = 'good' AND EXISTS (
    SELECT 1 FROM later.chunks lc JOIN later.replicas lr ON lr.chunk_id = lc.id
    WHERE lc.digest = c.digest AND lr.node_id = r.node_id AND lr.state = 'good' AND lr.generation = r.generation)"""
_DAMAGED = "SELECT node, node_id, lower(hex(digest)), damage FROM copies WHERE damage <> '' ORDER BY 1, 3"
#: What was not looked at is hoped for: volumes that were not scanned, and copies that came meanwhile.
_POOR = """
SELECT digest, id, wanted, good, recorded - seen FROM (
  SELECT lower(hex(c.digest)) AS digest, c.id AS id, l.copies_wanted AS wanted,
         (SELECT count(*) FROM copies k WHERE k.chunk_id = c.id AND k.damage = '') AS good,
         (SELECT count(*) FROM copies k WHERE k.chunk_id = c.id) AS seen,
         (SELECT count(*) FROM later.replicas r WHERE r.chunk_id = l.id AND r.state = 'good') AS recorded
  FROM catalog.chunks c JOIN later.chunks l ON l.digest = c.digest
  WHERE c.copies_wanted > 0 AND l.copies_wanted > 0
) WHERE good + recorded - seen < wanted ORDER BY good + recorded - seen, digest"""
_UNKNOWN = """
SELECT n.name, f.node_id, lower(hex(f.digest)), f.size, f.generation, f.changed_at
FROM found f JOIN catalog.nodes n ON n.id = f.node_id
WHERE NOT EXISTS (SELECT 1 FROM catalog.chunks c JOIN catalog.replicas r ON r.chunk_id = c.id
                  WHERE c.digest = f.digest AND r.node_id = f.node_id)
  AND NOT EXISTS (SELECT 1 FROM later.chunks c JOIN later.replicas r ON r.chunk_id = c.id
                  WHERE c.digest = f.digest AND r.node_id = f.node_id)
ORDER BY 1, 3"""
_USERS = """
SELECT DISTINCT e.id FROM catalog.extents x JOIN catalog.entries e ON e.version_id = x.version_id
WHERE x.chunk_id = ? LIMIT ?"""
_CONTRADICTIONS = {
    "files whose version is not there": """
        SELECT count(*) FROM catalog.entries e LEFT JOIN catalog.versions v ON v.id = e.version_id
        WHERE e.kind = 'file' AND v.id IS NULL""",
    "versions whose extents are not as long as the version": """
        SELECT count(*) FROM (SELECT v.id FROM catalog.versions v LEFT JOIN catalog.extents x ON x.version_id = v.id
        GROUP BY v.id HAVING v.size <> coalesce(sum(x.length), 0))""",
    "extents that lie outside their chunk": """
        SELECT count(*) FROM catalog.extents x LEFT JOIN catalog.chunks c ON c.id = x.chunk_id
        WHERE c.id IS NULL OR x."offset" + x.length > c.size""",
    "entries whose directory is not there": """
        SELECT count(*) FROM catalog.entries e LEFT JOIN catalog.entries p ON p.id = e.parent_id
        WHERE e.parent_id IS NOT NULL AND (p.id IS NULL OR p.kind <> 'directory')""",
    "chunks whose count of good copies is wrong": """
        SELECT count(*) FROM catalog.chunks c WHERE c.copies_good <>
        (SELECT count(*) FROM catalog.replicas r WHERE r.chunk_id = c.id AND r.state = 'good')""",
}


def compare(evidence: Evidence) -> Findings:
    """Everything that is wrong. `later` must be attached."""
    run = evidence.connection.execute
    run(_COPIES)
    findings = Findings()
    ((findings.copies, findings.bytes),) = run("SELECT count(*), coalesce(sum(size), 0) FROM found").fetchall()
    findings.damaged = [DamagedCopy(*row) for row in run(_DAMAGED)]
    findings.poor = [
        PoorChunk(digest, wanted, good, unseen, tuple(sorted(paths_of(evidence, chunk_id))))
        for digest, chunk_id, wanted, good, unseen in run(_POOR).fetchall()
    ]
    findings.unknown = [UnknownCopy(*row) for row in run(_UNKNOWN)]
    for what, query in _CONTRADICTIONS.items():
        ((count,),) = run(query).fetchall()
        if count:
            findings.contradictions.append(f"{count} {what}")
    return findings


def paths_of(evidence: Evidence, chunk_id: int) -> Iterator[str]:
    """The current files that a chunk holds bytes of."""
    for (entry_id,) in evidence.connection.execute(_USERS, (chunk_id, PATHS_MAX)).fetchall():
        path = _path(evidence, entry_id)
        if path is not None:
            yield path


def paths_of_digest(evidence: Evidence, digest: str) -> list[str]:
    """The same by the chunk's digest, sorted."""
    row = evidence.connection.execute(
        "SELECT id FROM catalog.chunks WHERE digest = ?", (bytes.fromhex(digest),)
    ).fetchone()
    return [] if row is None else sorted(paths_of(evidence, row[0]))


def _path(evidence: Evidence, entry_id: int) -> str | None:
    """From the entry up to the root; None for what was removed."""
    names: list[str] = []
    at: int | None = entry_id
    while at is not None:
        row = evidence.connection.execute("SELECT parent_id, name FROM catalog.entries WHERE id = ?", (at,)).fetchone()
        if row is None:
            return None
        parent_id, name = row
        if parent_id is None:
            # The root is entry 1; the other entry without a parent collects removed trees.
            return "/" + "/".join(reversed(names)) if at == 1 else None
        names.append(name)
        at = parent_id
    return None
