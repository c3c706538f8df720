"""Single files as the tar archives that Docker's API takes and gives."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dfs_deploy.containers import USER_ID
from dfs_runtime.files import SECRET_MODE, fsync_directory, temporary_name
from dfs_wire.errors import NotFoundError, UnavailableError

_COPY_BYTES = 1024 * 1024
_ENDED_EARLY = "The Docker Engine stopped in the middle of a file that it sends; try again."


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
        UnavailableError: it ends early.
    """
    with _one_file(pieces) as (_, found):
        return found.read()


def save_only_file(pieces: Iterable[bytes], target: Path) -> int:
    """Write the one file of an archive to a new file that only its owner can read; its size in bytes.

    It is durable, and appears whole or not at all.

    Raises:
        FileExistsError: the target exists.
        NotFoundError: there is no file in the archive.
        UnavailableError: the archive ends early.
    """
    temporary = temporary_name(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file, _one_file(pieces) as (size, found):
            shutil.copyfileobj(found, file, _COPY_BYTES)
            if file.tell() != size:
                raise UnavailableError(_ENDED_EARLY)
            file.flush()
            os.fsync(descriptor)
        _give_name(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_directory(target.parent)
    return size


def _give_name(temporary: Path, target: Path) -> None:
    """Let a file have its name, which nothing else may have meanwhile."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        # FAT and some shares have no links. There a file that appears just now would be replaced.
        temporary.rename(target)


@contextmanager
def _one_file(pieces: Iterable[bytes]) -> Iterator[tuple[int, IO[bytes]]]:
    """Size and content of the one file in an archive.

    Raises:
        NotFoundError: there is none in it.
        UnavailableError: it ends early.
    """
    try:
        with tarfile.open(fileobj=_Pieces(pieces), mode="r|") as archive:
            for entry in archive:
                found = archive.extractfile(entry)
                if found is not None:
                    yield entry.size, found
                    return
    except tarfile.TarError as error:
        raise UnavailableError(_ENDED_EARLY) from error
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
