"""How values look: sizes, times, modes and names that could upset a terminal. Pure."""

import stat
import unicodedata
from datetime import UTC, datetime, timedelta

from dfs_wire.messages import Entry, EntryKind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

#: Characters that move the cursor, reorder text or break a line: control, format, surrogate, separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SHORT_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """The text on one line, with everything that a terminal would obey, and the backslash, written as an escape."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a local name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def human_bytes(count: int) -> str:
    """A size for people: `0 B`, `1.5 KiB`, `20 MiB`."""
    value = float(count)
    for unit in _UNITS:
        if abs(value) < 1023.95 or unit == _UNITS[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{count} B"
    return f"{value:.1f} {unit}" if abs(value) < 9.95 else f"{value:.0f} {unit}"


def utc_time(nanoseconds: int) -> str | None:
    """Nanoseconds since 1970 as RFC 3339 in UTC with microseconds; None for a year that it cannot write."""
    moment = _moment(nanoseconds)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def local_time(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as a terminal shows it: local time, to the minute; `-` for a year out of range."""
    moment = _moment(nanoseconds)
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


def _moment(nanoseconds: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)
    except OverflowError:
        return None


def octal_mode(mode: int) -> str:
    """Permission bits as `chmod` takes them: `0644`."""
    return f"{mode & 0o7777:04o}"


def mode_string(entry: Entry) -> str:
    """Kind and permission bits as `ls -l` writes them: `drwxr-xr-x`."""
    kind = stat.S_IFDIR if entry.kind is EntryKind.DIRECTORY else stat.S_IFREG
    return stat.filemode(kind | entry.mode)
