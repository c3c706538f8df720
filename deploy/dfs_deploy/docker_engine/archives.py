"""Single files as the tar archives that Docker's API takes and gives."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from dfs_deploy.containers import USER_ID
from dfs_runtime.files import SECRET_MODE
from dfs_wire.errors import NotFoundError


def secret_archive(name: str, data: bytes) -> bytes:
    """An archive with one file that only the roles' user can read."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        entry.mode = SECRET_MODE
        entry.uid = entry.gid = USER_ID
        archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()


def only_file(pieces: Iterable[bytes]) -> bytes:
    """The content of the one file in an archive.

    Raises:
        NotFoundError: there is none in it.
    """
    with tarfile.open(fileobj=_Pieces(pieces), mode="r|") as archive:
        for entry in archive:
            found = archive.extractfile(entry)
            if found is not None:
                return found.read()
    raise NotFoundError("The archive holds no file.")


def save_only_file(pieces: Iterable[bytes], target: Path) -> int:
    """Write the one file of an archive to a new file that only its owner can read; its size in bytes.

    Raises:
        FileExistsError: the target exists.
        NotFoundError: there is no file in the archive.
    """
    with tarfile.open(fileobj=_Pieces(pieces), mode="r|") as archive:
        for entry in archive:
            found = archive.extractfile(entry)
            if found is None:
                continue
            with target.open("xb") as file:
                target.chmod(SECRET_MODE)
                while data := found.read(1024 * 1024):
                    file.write(data)
            return entry.size
    raise NotFoundError("The archive holds no file.")


class _Pieces(io.RawIOBase):
    """A stream over pieces. Used by one thread."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces: Iterator[bytes] = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """As many bytes as asked for, fewer only at the end."""
        parts = [self._rest]
        have = len(self._rest)
        while size < 0 or have < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        self._rest = b"" if size < 0 else data[size:]
        return data if size < 0 else data[:size]
