"""Ways in which the file of a chunk can go bad on a disk."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.oracle import chunk_data

#: Damages the file of a chunk; the second path is another chunk's file.
Damage = Callable[[Path, Path], None]

#: Where the header keeps what, from the storage format: name -> offset of one byte of it.
_HEADER_FIELDS = {
    "magic": 0,
    "format": 11,
    "header length": 14,
    "generation": 23,
    "length": 31,
    "digest": 40,
    "block length": 66,
    "block count": 71,
    "reserved": 75,
    "header checksum": 82,
    "first block checksum": 84,
    "padding": 4_000,
}


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit over; a negative offset counts from the end."""
    with path.open("r+b") as file:
        file.seek(offset, 2 if offset < 0 else 0)
        (value,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([value ^ 1 << bit]))


def _flip_at(offset: int) -> Damage:
    return lambda path, _: flip(path, offset)


def _flip_in_data(part: float) -> Damage:
    def damage(path: Path, _: Path) -> None:
        length = len(chunk_data(path) or b"")
        flip(path, -length + int(part * (length - 1)), bit=7)

    return damage


def _truncate(keep: Callable[[int], int]) -> Damage:
    def damage(path: Path, _: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(keep(path.stat().st_size))

    return damage


def _extend(path: Path, _: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def _replace(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


def _delete(path: Path, _: Path) -> None:
    path.unlink()


def _make_directory(path: Path, _: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Damage] = {
    **{f"flipped {name}": _flip_at(offset) for name, offset in _HEADER_FIELDS.items()},
    "flipped first byte": _flip_in_data(0.0),
    "flipped middle byte": _flip_in_data(0.5),
    "flipped last byte": _flip_in_data(1.0),
    "short by a byte": _truncate(lambda size: size - 1),
    "cut in the header": _truncate(lambda _: 100),
    "emptied": _truncate(lambda _: 0),
    "longer by a byte": _extend,
    "another chunk's file": _replace,
    "deleted": _delete,
    "a directory": _make_directory,
}
