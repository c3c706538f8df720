"""Our own packages: where they are imported from, their digest, and a wheel of them."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from dfs_wire.errors import InternalError

DISTRIBUTION = "dfs"
#: All packages of the distribution. A test compares this with pyproject.toml.
PACKAGES = (
    "dfs_runtime",
    "dfs_wire",
    "dfs_master",
    "dfs_node",
    "dfs_client",
    "dfs_deploy",
    "dfs_migrations",
)
#: Zip archives know no time before this one; a fixed one makes equal contents equal files.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: dfs\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, slots=True)
class OwnFile:
    """One file as it lies in a wheel."""

    name: str
    data: bytes


def version() -> str:
    """The installed version of dfs."""
    return distribution(DISTRIBUTION).version


def own_files() -> list[OwnFile]:
    """Every file of our packages, from where they are imported: an editable and a wheel's copy alike, in order.

    Raises:
        InternalError: a package is missing.
    """
    return [file for package in PACKAGES for file in sorted(_files_of(package), key=lambda file: file.name)]


def _files_of(package: str) -> Iterator[OwnFile]:
    # Roles are found, not imported: deploy knows no master and no node.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InternalError(f"The package {package} cannot be found; install dfs again.")
    root = Path(spec.origin).parent
    for path in root.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield OwnFile(f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes())


def digest_of(files: list[OwnFile], *more: str) -> str:
    """SHA-256 in hex over names and contents, and over what else decides how an image comes out."""
    digest = hashlib.sha256()
    for part in (*(part for file in files for part in (file.name.encode(), file.data)), *(m.encode() for m in more)):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def write_wheel(files: list[OwnFile], directory: Path) -> Path:
    """Pack our packages with the installed metadata, so that console scripts and the version work where it goes.

    Raises:
        InternalError: the installation has no metadata.
    """
    found = distribution(DISTRIBUTION)
    metadata, entry_points = found.read_text("METADATA"), found.read_text("entry_points.txt")
    if metadata is None or entry_points is None:
        raise InternalError("The metadata of dfs cannot be found; install dfs again.")
    info = f"{DISTRIBUTION}-{found.version}.dist-info"
    all_files = [
        *files,
        OwnFile(f"{info}/METADATA", metadata.encode()),
        OwnFile(f"{info}/WHEEL", _WHEEL.encode()),
        OwnFile(f"{info}/entry_points.txt", entry_points.encode()),
    ]
    all_files.append(OwnFile(f"{info}/RECORD", _record(all_files, info)))
    path = directory / f"{DISTRIBUTION}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in all_files:
            wheel.writestr(zipfile.ZipInfo(file.name, _ZIP_TIME), file.data, zipfile.ZIP_DEFLATED)
    return path


def _record(files: list[OwnFile], info: str) -> bytes:
    lines = [f"{file.name},sha256={_unpadded(hashlib.sha256(file.data).digest())},{len(file.data)}" for file in files]
    return "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()


def _unpadded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
