"""The build context: one tar archive with the Dockerfile and all that it copies, equal for equal contents."""

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

DOCKERFILE = Path(__file__).with_name("Dockerfile")


def write_context(target: BinaryIO, *, requirements: Sequence[str], wheels: Path, own_wheel: Path) -> None:
    """Write the archive and go back to its start."""
    with tarfile.open(fileobj=target, mode="w") as archive:
        _add(archive, "Dockerfile", DOCKERFILE.read_bytes())
        _add(archive, "requirements.txt", "".join(f"{line}\n" for line in requirements).encode())
        for path in _sorted_wheels(wheels):
            _add(archive, f"wheels/{path.name}", path.read_bytes())
        _add(archive, f"own/{own_wheel.name}", own_wheel.read_bytes())
    target.seek(0)


def _sorted_wheels(directory: Path) -> Iterable[Path]:
    return sorted(directory.glob("*.whl"))


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """No owner, no time: the engine's build cache compares contents only."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(data))
