"""Read the ends of log files, and follow them over a rotation."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from dfs_runtime.clock import Clock

_READ_BYTES = 64 * 1024
_FOLLOW_PAUSE_SECONDS = 0.25


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a file that may be large; none when it is not there."""
    if lines <= 0:
        return []
    try:
        with path.open("rb") as file:
            return _tail_of(file, lines)
    except FileNotFoundError:
        return []


def _tail_of(file: BinaryIO, lines: int) -> list[str]:
    """Read backwards until enough line breaks were seen."""
    position = file.seek(0, 2)
    data = b""
    while position > 0 and data.count(b"\n") <= lines:
        step = min(_READ_BYTES, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
    # Not `splitlines`: a record may hold characters that it would take for line breaks.
    return data.decode("utf-8", "replace").removesuffix("\n").split("\n")[-lines:] if data else []


class Follower:
    """Gives the whole lines that are added to one file; a file that was replaced is read from its start.

    Used by one thread. Close it when done.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._open(at_end=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def new_lines(self) -> list[str]:
        """What was added since the last call."""
        if self._file is None:
            self._open(at_end=False)
        if self._file is None:
            return []
        lines = self._read()
        if self._was_replaced():
            lines += self._read()
            self.close()
            self._open(at_end=False)
            lines += self._read()
        return lines

    def _open(self, *, at_end: bool) -> None:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return
        self._rest = b""
        if at_end:
            self._file.seek(0, 2)

    def _read(self) -> list[str]:
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def _was_replaced(self) -> bool:
        """Whether the name now stands for another file, or the file was cut."""
        if self._file is None:
            return False
        mine = os.fstat(self._file.fileno())
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return named.st_ino != mine.st_ino or named.st_size < self._file.tell()


def follow(files: Sequence[tuple[str, Path]], clock: Clock) -> Iterator[tuple[str, str]]:
    """`(label, line)` of what is added to some files from this call on, without end."""
    followers = [(label, Follower(path)) for label, path in files]
    return _new_lines(followers, clock)


def _new_lines(followers: list[tuple[str, Follower]], clock: Clock) -> Iterator[tuple[str, str]]:
    try:
        while True:
            found = False
            for label, follower in followers:
                for line in follower.new_lines():
                    found = True
                    yield label, line
            if not found:
                clock.sleep(_FOLLOW_PAUSE_SECONDS)
    finally:
        for _, follower in followers:
            follower.close()
