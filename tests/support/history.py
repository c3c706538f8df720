"""What a workload did, kept so that a killed process cannot take it along, and what its files must hold.

The content of an upload follows from its id: any byte of it can be checked without storing it anywhere.
"""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from blake3 import blake3

_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """One file that a workload stores: `size` bytes made from `id`."""

    id: str
    path: str
    size: int

    def content(self) -> bytes:
        """All bytes."""
        return blake3(self.id.encode()).digest(length=self.size)

    def digest(self) -> bytes:
        """BLAKE3 of the content, made piece by piece."""
        whole = blake3()
        for piece in self.pieces():
            whole.update(piece)
        return whole.digest()

    def pieces(self) -> Iterator[bytes]:
        """The content in order, a little at a time."""
        source = blake3(self.id.encode())
        for start in range(0, self.size, _PIECE_BYTES):
            yield source.digest(length=min(_PIECE_BYTES, self.size - start), seek=start)

    def write_to(self, path: Path) -> Path:
        """Make it a local file."""
        with path.open("wb") as file:
            file.writelines(self.pieces())
        return path

    def stream(self) -> io.BytesIO:
        """The content as a file object."""
        return io.BytesIO(self.content())


class History:
    """An append-only file, one JSON object a line, fsynced before `append` returns. Used by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def append(self, event: str, upload: Upload, **more: str | int) -> None:
        """Note `begin`, `ok` (acknowledged) or `fail` (an error was reported) of one upload."""
        line = json.dumps({"event": event, **asdict(upload), **more}) + "\n"
        os.write(self._descriptor, line.encode())
        # Two system calls of the same effect, so that a test can kill at the end of an upload and not at its begin.
        (os.fdatasync if event == "begin" else os.fsync)(self._descriptor)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of each upload, by id. `unknown` began, and nobody ever heard of its end.

    `errors` holds a sentence for each of `fail`, `sent` the bytes that nodes were sent for each of `ok`.
    """

    ok: dict[str, Upload]
    fail: dict[str, Upload]
    unknown: dict[str, Upload]
    errors: dict[str, str]
    sent: dict[str, int]


def read_history(path: Path) -> Outcomes:
    """The outcomes so far; a last line that a kill tore counts as not written."""
    found = Outcomes({}, {}, {}, {}, {})
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        record = json.loads(line)
        upload = Upload(record["id"], record["path"], record["size"])
        for outcomes in (found.ok, found.fail, found.unknown):
            outcomes.pop(upload.id, None)
        {"begin": found.unknown, "ok": found.ok, "fail": found.fail}[record["event"]][upload.id] = upload
        if record["event"] == "fail":
            found.errors[upload.id] = record["error"]
        if record["event"] == "ok":
            found.sent[upload.id] = record["sent"]
    return found
