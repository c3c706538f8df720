"""Making a new cluster's metadata: database, key, credentials."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from dfs_master.catalog import fresh
from dfs_master.config import DATABASE_FILE, held
from dfs_master.credentials import key_digest, make_key
from dfs_master.keys import KEY_FILE, make_master_key
from dfs_runtime.clock import Clock
from dfs_runtime.files import make_directory
from dfs_wire.errors import AlreadyExistsError
from dfs_wire.messages import Role


@dataclass(frozen=True, slots=True)
class NewCluster:
    """What is told once, and kept by whoever asked: the database has only the keys' digests."""

    cluster_id: str
    client_key: bytes
    admin_key: bytes
    join_token: bytes


def initialise(data: Path, clock: Clock, *, copies: int) -> NewCluster:
    """Make the directory of a new master.

    Everything that makes it a cluster is written in one transaction: an attempt that was cut short is made again.

    Raises:
        AlreadyExistsError: there is one already.
        VolumeInUseError: a master serves there.
    """
    make_directory(data, mode=0o700)
    with held(data):
        return _initialise(data, clock, copies)


def _initialise(data: Path, clock: Clock, copies: int) -> NewCluster:
    database = data / DATABASE_FILE
    if fresh.cluster_in(database) is not None:
        raise AlreadyExistsError(f"{data} holds a master already; start it with: dfs-master --data {data}")
    if not (data / KEY_FILE).exists():
        make_master_key(data)
    made = NewCluster(secrets.token_hex(16), make_key(), make_key(), make_key())
    keys = {Role.CLIENT: made.client_key, Role.ADMIN: made.admin_key, Role.JOIN: made.join_token}
    fresh.make(
        database,
        {"cluster_id": made.cluster_id, "copies": str(copies)},
        [fresh.FirstKey(role, key_digest(key), f"the first {role} key") for role, key in keys.items()],
        clock.wall_ms(),
    )
    return made
