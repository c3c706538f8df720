"""How full a volume may get. Pure.

A disk that is written full cannot be helped: deletes, repair and the file system's own records need room. So an
upload may not take a volume below `upload_floor`. Of what is left, repair, which only moves what is already promised,
may take all but 2 % of the disk (at most 4 GiB); that last part nobody takes, so that deletes always work.
"""

from dfs_wire.limits import GIB


def upload_floor(capacity_bytes: int) -> int:
    """Bytes that uploads leave free: 5 % of the disk, at most 10 GiB."""
    return min(capacity_bytes * 5 // 100, 10 * GIB)


def is_full(capacity_bytes: int, free_bytes: int) -> bool:
    """Whether the volume takes no uploads, however small."""
    return free_bytes < upload_floor(capacity_bytes)


def takes_upload(capacity_bytes: int, free_bytes: int, size: int) -> bool:
    """Whether `size` more bytes leave the floor untouched."""
    return free_bytes - size >= upload_floor(capacity_bytes)


def copy_floor(capacity_bytes: int) -> int:
    """Bytes that repair leaves free, too: 2 % of the disk, at most 4 GiB."""
    return min(capacity_bytes * 2 // 100, 4 * GIB)


def takes_copy(capacity_bytes: int, free_bytes: int, size: int) -> bool:
    """Whether a copy of `size` bytes that repair makes leaves that untouched."""
    return free_bytes - size >= copy_floor(capacity_bytes)
