"""Who may say Hello as what. Keys are random 256 bit and stored as BLAKE3 digests."""

import secrets
from collections.abc import Iterable, Mapping

from blake3 import blake3

from dfs_wire.messages import Role

KEY_BYTES = 32


def make_key() -> bytes:
    """A fresh key for a client, an operator, or a node's first join."""
    return secrets.token_bytes(KEY_BYTES)


def key_digest(key: bytes) -> bytes:
    """What is stored of a key. A random 256-bit key needs no salt and no slow hash."""
    return blake3(key).digest()


class Credentials:
    """The keys of one cluster. Immutable, so safe to share between threads."""

    def __init__(self, rows: Iterable[tuple[str, bytes]]) -> None:
        self._roles: Mapping[bytes, Role] = {digest: Role(role) for role, digest in rows}

    def digests_of(self, role: Role) -> list[bytes]:
        """The stored digests of all keys of a role."""
        return [digest for digest, each in self._roles.items() if each is role]

    def role_of(self, key: bytes) -> Role | None:
        """The role that a key opens. The look-up is by digest, so its timing tells nothing about the key."""
        return self._roles.get(key_digest(key)) if key else None
