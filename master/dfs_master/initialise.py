"""Making a new cluster's metadata: database, key, credentials."""

import secrets
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dfs_master.catalog.committer import Committer, take_epoch
from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.migrate import upgrade
from dfs_master.catalog.mutations.records import AddCredential, SetSetting
from dfs_master.catalog.reader import Reader
from dfs_master.config import DATABASE_FILE, held
from dfs_master.credentials import key_digest, make_key
from dfs_master.keys import KEY_FILE, make_master_key
from dfs_runtime.clock import Clock
from dfs_runtime.files import make_directory
from dfs_wire.errors import AlreadyExistsError, DfsError
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
    upgrade(database, clock)
    engine = open_engine(database)
    with closing(Reader(engine, clock)) as reader:
        if reader.setting("cluster_id") is not None:
            raise AlreadyExistsError(f"{data} holds a master already; start it with: dfs-master --data {data}")
    if not (data / KEY_FILE).exists():
        make_master_key(data)
    made = NewCluster(secrets.token_hex(16), make_key(), make_key(), make_key())
    keys = {Role.CLIENT: made.client_key, Role.ADMIN: made.admin_key, Role.JOIN: made.join_token}
    failed: list[BaseException] = []
    committer = Committer(engine, clock, take_epoch(engine), nodes=dict, on_fatal=failed.append)
    outcomes = committer.run_group(
        [
            SetSetting("cluster_id", made.cluster_id),
            SetSetting("copies", str(copies)),
            *(AddCredential(role, key_digest(key), f"the first {role} key") for role, key in keys.items()),
        ]
    )
    committer.stop()
    for outcome in [*failed, *outcomes]:
        if isinstance(outcome, DfsError):
            raise outcome
    return made
