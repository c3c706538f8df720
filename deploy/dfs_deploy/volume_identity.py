"""Read from a volume's `identity` file whether its node ever joined; `docs/storage-format.md` has the format."""

from pathlib import Path

import msgspec

#: Magic and checksum stand before the fields.
_FIELDS_OFFSET = 12


class _Identity(msgspec.Struct, frozen=True):
    node_id: int = 0


def has_joined(volume: Path) -> bool:
    """Whether a master gave this volume an id, so that chunks may lie on it.

    An identity that cannot be read counts as one: what may hold data is never taken for rubbish.
    """
    try:
        return identity_has_joined((volume / "identity").read_bytes())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def identity_has_joined(data: bytes) -> bool:
    """The same for the content of the file; what cannot be read counts as one."""
    try:
        return msgspec.msgpack.decode(data[_FIELDS_OFFSET:], type=_Identity).node_id != 0
    except msgspec.DecodeError:
        return True
