"""How results look, on a terminal and elsewhere."""

import io
import json

import pytest

from dfs_client.display import human_bytes, local_time, mode_string, octal_mode, utc_time, visible
from dfs_client.output import Column, Output, OutputClosedError
from dfs_wire.errors import NotFoundError
from dfs_wire.messages import Entry, EntryKind


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("grün 文", "grün 文"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("back\\slash", "back\\\\slash"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b\U000e0001", "a\\u2028b\\U000e0001"),
        ("\udcff", "\\xff"),
        ("\x7f\x9b", "\\x7f\\x9b"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    """A name cannot colour, reorder or break the lines around it."""
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024, "10 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (256 * 1024**2, "256 MiB"),
        (5 * 1024**5, "5.0 PiB"),
        (2**70, "1024 EiB"),
    ],
)
def test_sizes_for_people(count: int, shown: str) -> None:
    """Binary units, two or three digits."""
    assert human_bytes(count) == shown


def test_times_are_rfc_3339_in_utc() -> None:
    """Also before 1970; a year that cannot be written has no time."""
    assert utc_time(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert utc_time(-1_000) == "1969-12-31T23:59:59.999999Z"
    assert utc_time(10**30) is None
    assert local_time(10**30) == "-"
    assert len(local_time(0)) == len("1970-01-01 00:00")


def test_modes_look_as_in_ls_and_chmod() -> None:
    """Kind and permission bits."""
    entry = Entry("/d", EntryKind.DIRECTORY, 0, 0, 0o1755, 0, b"")
    assert mode_string(entry) == "drwxr-xr-t"
    assert octal_mode(0o644) == "0644"


def test_off_a_terminal_a_table_is_tabs_with_the_name_first() -> None:
    """Even a name with a tab or newline stays in its column."""
    out = io.StringIO()
    output = Output(program="x", out=out)
    output.table([Column("NAME"), Column("SIZE", right=True)], [["a\tb\n", output.size(2048)]], name_last=True)
    assert out.getvalue() == "NAME\tSIZE\na\\tb\\n\t2048\n"


def test_on_a_terminal_a_table_is_aligned_with_the_name_last() -> None:
    """Numbers end in one column."""
    out = Terminal()
    output = Output(program="x", out=out)
    rows = [["a", output.size(2048)], ["bb", output.size(1)]]
    output.table([Column("NAME"), Column("SIZE", right=True)], rows, name_last=True)
    assert out.getvalue().splitlines() == ["   SIZE  NAME", "2.0 KiB  a", "    1 B  bb"]


def test_a_long_table_on_a_terminal_begins_before_it_is_complete() -> None:
    """Widths are taken from a batch of rows, never from all of them."""
    out = Terminal()
    seen: list[int] = []

    def rows() -> "list[list[str]]":
        for number in range(1_200):
            seen.append(len(out.getvalue()))
            yield [str(number)]  # type: ignore[misc]

    Output(program="x", out=out).table([Column("N")], rows())
    assert seen[400] == 0
    assert seen[600] > 0
    assert len(out.getvalue().splitlines()) == 1_201


def test_an_error_is_a_sentence_and_with_json_an_object_too() -> None:
    """Both on standard error; the object is the last line."""
    err = io.StringIO()
    Output(program="dfs-client", json_lines=True, err=err).error(NotFoundError("/a\n does not exist"))
    sentence, line = err.getvalue().splitlines()
    assert sentence == "dfs-client: /a\\n does not exist"
    assert json.loads(line) == {"error": {"code": "not_found", "message": "/a\n does not exist"}}


def test_a_stream_that_cannot_write_a_character_gets_an_escape() -> None:
    """A terminal in another encoding never stops a listing; JSON stays JSON."""
    raw = io.BytesIO()
    output = Output(program="x", out=io.TextIOWrapper(raw, encoding="ascii"))
    output.line("grün")
    output.record({"path": "/grün"})
    output.flush()
    assert raw.getvalue() == b'gr\\xfcn\n{"path": "/gr\\u00fcn"}\n'


def test_a_closed_pipe_is_told_from_other_errors() -> None:
    """For text and for bytes."""

    class Broken(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, _data: object) -> int:
            raise BrokenPipeError

    text = io.TextIOWrapper(Broken(), write_through=True)  # type: ignore[type-var]
    output = Output(program="x", out=text)
    with pytest.raises(OutputClosedError):
        output.line("text")
    with pytest.raises(OutputClosedError):
        output.binary().write(b"bytes")
    with pytest.raises(OutputClosedError):
        Output(program="x", err=text).note("a remark")
