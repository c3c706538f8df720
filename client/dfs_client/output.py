"""The only place that prints. Results go to standard output, everything said about them to standard error."""

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import BinaryIO, TextIO, TypeVar, cast

import msgspec

from dfs_client.display import human_bytes, local_time, utc_time, visible
from dfs_client.file_objects import flush_all, write_all
from dfs_wire.errors import DfsError

#: A table on a terminal takes its column widths from this many rows at a time, so that a long list begins at once.
_TABLE_BATCH_ROWS = 500


_T = TypeVar("_T")


class OutputClosedError(Exception):
    """Whoever read our output went away, as `head` does."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table. `right`: numbers, aligned at their end on a terminal."""

    title: str
    right: bool = False


class Output:
    """Writes results as text or, with `json`, as JSON Lines.

    On a terminal a table is aligned and its values are for people; elsewhere fields are separated by one tab,
    sizes are exact and times RFC 3339 in UTC. Not safe to share between threads.
    """

    def __init__(
        self, *, program: str, json_lines: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.program = program
        self.json = json_lines
        self._out = out
        self._err = err

    # -- where to ----------------------------------------------------------------------------------------------

    @property
    def out(self) -> TextIO:
        """Standard output, as it is now (tests and pagers replace it)."""
        return self._out or sys.stdout

    @property
    def err(self) -> TextIO:
        """Standard error, as it is now."""
        return self._err or sys.stderr

    @property
    def on_terminal(self) -> bool:
        """Whether people read standard output as it comes."""
        return self.out.isatty()

    @property
    def err_on_terminal(self) -> bool:
        """Whether people read standard error as it comes: the place of a progress bar."""
        return self.err.isatty()

    def binary(self) -> BinaryIO:
        """Standard output for bytes. A reader that went away raises `OutputClosedError` there too."""
        self.flush()
        return cast(BinaryIO, _GuardedBytes(self.out))

    # -- results -----------------------------------------------------------------------------------------------

    def line(self, text: str = "") -> None:
        """One line of text as it is; pass names through `visible` first."""
        self._write(text + "\n")

    def record(self, value: Mapping[str, object]) -> None:
        """One JSON object on a line of its own."""
        self._write(self._json_text(value, self.out) + "\n")

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, name_last: bool = False) -> None:
        """A header line and a line a row; the first column is the name. On a terminal it may stand last."""
        waiting = iter(rows)
        # The first row may be an error: then nothing is printed, not even the header.
        rows = chain(list(islice(waiting, 1)), waiting)
        if self.on_terminal:
            self._terminal_table(columns, rows, name_last=name_last)
            return
        self.line("\t".join(column.title for column in columns))
        for row in rows:
            self.line("\t".join(visible(cell) for cell in row))

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Facts about one thing, a line each."""
        shown = [(name, visible(value)) for name, value in pairs]
        width = max((len(name) for name, _ in shown), default=0) + 1
        for name, value in shown:
            self.line(f"{name + ':':<{width}} {value}")

    def size(self, count: int) -> str:
        """A size in bytes: rounded for people on a terminal, exact elsewhere."""
        return human_bytes(count) if self.on_terminal else str(count)

    def time(self, nanoseconds: int) -> str:
        """A file's time: local on a terminal, RFC 3339 in UTC elsewhere."""
        return local_time(nanoseconds) if self.on_terminal else utc_time(nanoseconds) or "-"

    def flush(self) -> None:
        """Hand over what is buffered.

        Raises:
            OutputClosedError: nobody reads it any more.
        """
        try:
            self.out.flush()
        except BrokenPipeError as error:
            raise OutputClosedError from error

    # -- what is said about them -------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A remark or warning for people, on standard error; pass names through `visible` first."""
        self._say(f"{self.program}: {text}")

    def error(self, error: DfsError) -> None:
        """An error: its sentence, and with `json` an object behind it."""
        self.note(visible(error.message))
        if self.json:
            self._say(self._json_text({"error": error_object(error)}, self.err))

    # -- inside ------------------------------------------------------------------------------------------------

    def _write(self, text: str) -> None:
        try:
            self._put(text)
        except BrokenPipeError as error:
            raise OutputClosedError from error
        except UnicodeEncodeError:
            encoding = self.out.encoding or "ascii"
            self._put(text.encode(encoding, "backslashreplace").decode(encoding))

    def _put(self, text: str) -> None:
        out = self.out
        buffer = getattr(out, "buffer", None)
        if isinstance(buffer, io.RawIOBase):
            # Unbuffered (PYTHONUNBUFFERED): such a stream may take a part, which the text layer does not notice.
            write_all(buffer, memoryview(text.encode(out.encoding, out.errors or "strict")))
        else:
            out.write(text)

    def _say(self, text: str) -> None:
        try:
            self.err.write(text + "\n")
            self.err.flush()
        except BrokenPipeError as error:
            raise OutputClosedError from error

    @staticmethod
    def _json_text(value: Mapping[str, object], stream: TextIO) -> str:
        # Only who asks for JSON needs it.
        import json

        unicode_stream = (stream.encoding or "").lower().replace("-", "") == "utf8"
        text = json.dumps(value, ensure_ascii=not unicode_stream)
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def _terminal_table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, name_last: bool) -> None:
        turned = _name_last if name_last else tuple
        heads = turned(columns)
        waiting = iter(rows)
        titles: list[Sequence[str]] = [[column.title for column in heads]]
        while batch := titles + [turned([visible(cell) for cell in row]) for row in islice(waiting, _TABLE_BATCH_ROWS)]:
            titles = []
            widths = [max(len(row[index]) for row in batch) for index in range(len(heads))]
            for row in batch:
                cells = zip(row, heads, widths, strict=True)
                text = "  ".join(cell.rjust(width) if head.right else cell.ljust(width) for cell, head, width in cells)
                self.line(text.rstrip())


def error_object(error: DfsError) -> dict[str, object]:
    """An error as JSON shows it, inside a result too."""
    return {"code": error.code, "message": error.message}


def _name_last(row: Sequence[_T]) -> Sequence[_T]:
    return [*row[1:], row[0]]


class _GuardedBytes(io.RawIOBase):
    """Standard output's bytes, where a broken pipe is told from the broken connection to a node."""

    def __init__(self, out: TextIO) -> None:
        self._bytes = out.buffer

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object) -> int:
        """Write all of a bytes-like object."""
        view = memoryview(cast(bytes, data)).cast("B")
        try:
            write_all(self._bytes, view)
        except BrokenPipeError as error:
            raise OutputClosedError from error
        return len(view)

    def flush(self) -> None:
        """Hand over what is buffered. The interpreter calls this again at its end, when all may be closed."""
        if self._bytes.closed:
            return
        try:
            flush_all(self._bytes)
        except BrokenPipeError as error:
            raise OutputClosedError from error
