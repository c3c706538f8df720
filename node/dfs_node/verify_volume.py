"""A full verifying pass over a volume that no node serves: the only way to trust one again after an I/O error."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dfs_node.disk_volume import DiskVolume
from dfs_node.identity import load_identity
from dfs_node.volume import Volume
from dfs_node.volume_directory import hold_volume
from dfs_wire.errors import VolumeFailedError, VolumeForeignError
from dfs_wire.messages import Finding, FindingKind


@dataclass(slots=True)
class VolumeReport:
    """What a pass found. `cleared` says that a recorded failure was taken back."""

    chunks: int = 0
    bytes: int = 0
    bad: list[Finding] = field(default_factory=list)
    cleared: bool = False


def verify_all(volume: Volume) -> Iterator[tuple[int, Finding]]:
    """Read every chunk whole; gives its size and what it is like."""
    for prefix in range(256):
        for item in volume.inventory(prefix):
            yield item.size, volume.verify(item.digest)


def verify_directory(path: Path) -> VolumeReport:
    """Verify the volume in a directory, and clear its failure when all of it is well.

    Raises:
        VolumeForeignError: no volume is there.
        VolumeInUseError: a node serves it.
        VolumeFailedError: the disk cannot even be read or written now.
    """
    if load_identity(path) is None:
        raise VolumeForeignError(f"{path} holds no volume; name the directory that the node was given")
    with hold_volume(path):
        volume = DiskVolume(path)
        report = VolumeReport()
        for size, finding in verify_all(volume):
            report.chunks += 1
            report.bytes += size
            if finding.kind is not FindingKind.GOOD:
                report.bad.append(finding)
        if volume.health.reason is not None and not report.bad:
            _clear(volume)
            report.cleared = True
        return report


def _clear(volume: DiskVolume) -> None:
    try:
        if volume.journal.unreadable:
            volume.journal.discard()
        volume.health.clear()
    except OSError as error:
        raise VolumeFailedError(f"the disk still fails ({error.strerror}); replace it") from error
