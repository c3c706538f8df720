"""The master's key: a file of its own, never in the database nor in its backups."""

import secrets
from functools import lru_cache, partial
from pathlib import Path

from dfs_runtime.files import write_secret
from dfs_wire.errors import NotFoundError, SchemaError
from dfs_wire.tickets import KEY_BYTES, derive_node_key

KEY_FILE = "master.key"


def make_master_key(directory: Path) -> bytes:
    """Make and keep a fresh key."""
    key = secrets.token_bytes(KEY_BYTES)
    write_secret(directory / KEY_FILE, key.hex().encode() + b"\n")
    return key


def load_master_key(directory: Path) -> bytes:
    """Read the key.

    Raises:
        NotFoundError: it is missing.
        SchemaError: the file holds something else.
    """
    path = directory / KEY_FILE
    try:
        key = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is missing; bring it back from your backup: nodes trust no other key") from error
    except ValueError as error:
        raise SchemaError(f"{path} is damaged; bring it back from your backup") from error
    if len(key) != KEY_BYTES:
        raise SchemaError(f"{path} is damaged; bring it back from your backup")
    return key


#: Strangers name any node id in their Hello: what is remembered for them must have an end.
_REMEMBERED_MAX = 4_096


class NodeKeys:
    """Derived keys, remembered. Safe to use from several threads: a key derived twice is the same key."""

    def __init__(self, master_key: bytes, cluster_id: str) -> None:
        self.cluster_id = cluster_id
        self._derived = lru_cache(_REMEMBERED_MAX)(partial(derive_node_key, master_key, cluster_id))

    def of(self, node_id: int) -> bytes:
        """The signing key of a node."""
        return self._derived(node_id)
