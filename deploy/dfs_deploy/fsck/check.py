"""One whole check of a cluster: backups of the catalog around scans of all volumes, then the comparison."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dfs_deploy.engine import Engine
from dfs_deploy.fsck.compare import Findings, compare, paths_of_digest
from dfs_deploy.fsck.evidence import Evidence
from dfs_deploy.fsck.scan import parse
from dfs_deploy.spec import ClusterSpec, NodeSpec
from dfs_runtime.words import plural
from dfs_wire.errors import CorruptError, DfsError, VolumeForeignError

#: Volumes that are read at once: they are different disks, or should be.
SCANS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Unscanned:
    """A volume that could not be looked at, and why."""

    node: str
    why: str


@dataclass(slots=True)
class CheckResult:
    """What a check found. `paths` names the files of each damaged copy, by its digest."""

    findings: Findings
    scanned: list[str] = field(default_factory=list)
    unscanned: list[Unscanned] = field(default_factory=list)
    paths: dict[str, list[str]] = field(default_factory=dict)

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong that needs mending."""
        found = self.findings
        return bool(found.damaged or found.poor or found.contradictions)


def check(engine: Engine, spec: ClusterSpec, *, read_data: bool, progress: Callable[[str], None]) -> CheckResult:
    """Compare a cluster's catalog with its volumes; the cluster may serve or not.

    Raises:
        CorruptError: the metadata database itself is damaged.
        DfsError: it cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="dfs-fsck-") as scratch:
        place = Path(scratch)
        progress("copying the metadata")
        engine.save_catalog(spec, place / "catalog.db")
        nodes = [node for node in spec.nodes if node.id is not None]
        progress(f"reading {plural(len(nodes), 'volume')}")
        with ThreadPoolExecutor(max_workers=SCANS_AT_ONCE) as together:
            scans = list(together.map(lambda node: _scan(engine, spec, node, place, read_data=read_data), nodes))
        progress("comparing")
        engine.save_catalog(spec, place / "later.db")
        with Evidence(place / "scratch.db", place / "catalog.db") as evidence:
            evidence.attach("later", place / "later.db")
            return _compared(evidence, spec, list(zip(nodes, scans, strict=True)))


def _scan(engine: Engine, spec: ClusterSpec, node: NodeSpec, place: Path, *, read_data: bool) -> Path | DfsError:
    """The list of what a volume holds, in a file; or why there is none."""
    listing = place / f"{node.name}.scan"
    try:
        with listing.open("wb") as out:
            engine.scan_volume(spec, node, out, read_data=read_data)
    except DfsError as error:
        return error
    return listing


def _compared(evidence: Evidence, spec: ClusterSpec, scans: Sequence[tuple[NodeSpec, Path | DfsError]]) -> CheckResult:
    """Read the lists in, then compare."""
    result = CheckResult(Findings())
    for node, scan in scans:
        try:
            if isinstance(scan, DfsError):
                raise scan
            _load(evidence, node, scan)
        except DfsError as error:
            result.unscanned.append(Unscanned(node.name, error.message))
        else:
            result.scanned.append(node.name)
    ours = {node.id for node in spec.nodes}
    result.unscanned += [
        Unscanned(node.name, "it is not one of this deployment")
        for node in evidence.nodes()
        if node.id not in ours and node.state != "dead"
    ]
    result.findings = compare(evidence)
    result.paths = {copy.digest: paths_of_digest(evidence, copy.digest) for copy in result.findings.damaged}
    return result


def _load(evidence: Evidence, node: NodeSpec, listing: Path) -> None:
    with listing.open("rb") as file:
        head, copies = parse(file)
        if head.cluster_id != evidence.cluster_id() or head.node_id != node.id:
            raise VolumeForeignError(
                f"the volume of {node.name} belongs to node {head.node_id} of cluster {head.cluster_id}; is it swapped?"
            )
        if node.id is None:
            raise CorruptError(f"{node.name} never joined")
        evidence.add_scan(node.id, copies)
