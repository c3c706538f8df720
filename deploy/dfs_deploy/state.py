"""Where clusters lie under `DFS_HOME`, and the files that `deploy` itself keeps there."""

import errno
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from dfs_deploy.data_removal import MASTER_FILES, VOLUME_FILES, Storage, delete, empty_disk, mount_points
from dfs_deploy.spec import ClusterSpec, check_name, spec_from_toml, spec_to_toml
from dfs_runtime.clock import Clock, Deadline
from dfs_runtime.files import (
    TEMPORARY_SUFFIX,
    AlreadyLockedError,
    exclusive_lock,
    fsync_directory,
    make_directory,
    write_secret,
)
from dfs_wire.errors import ConflictError, NotFoundError, SchemaError

PRIVATE_MODE = 0o700
_DESCRIPTION = "cluster.toml"
_STAGING_PREFIX = "master.new-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: How long a command waits for another one that works on the same cluster, in seconds.
LOCK_SECONDS = 120.0
_LOCK_PAUSE_SECONDS = 0.1


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What `dfs-master init` printed: the keys of a cluster, as hex text. Never logged, never on a command line."""

    cluster_id: str
    client_key: str
    admin_key: str
    join_token: str

    def __repr__(self) -> str:
        return f"Credentials(cluster_id={self.cluster_id!r}, ...)"


@dataclass(frozen=True, slots=True)
class ClusterPaths:
    """The directories and files of one cluster. Only names: nothing is opened here."""

    root: Path

    @property
    def spec(self) -> Path:
        """What was deployed."""
        return self.root / _DESCRIPTION

    @property
    def credentials(self) -> Path:
        """The cluster's keys, for writing its profile again."""
        return self.root / "credentials.json"

    @property
    def master_data(self) -> Path:
        """The master's database and key."""
        return self.root / "master"

    def fresh_staging(self) -> Path:
        """A new name for a master being initialised; it becomes `master_data` when all of it is on disk."""
        return self.root / f"{_STAGING_PREFIX}{secrets.token_hex(4)}"

    def stagings(self) -> list[Path]:
        """What initialisations that were killed have left."""
        return sorted(self.root.glob(f"{_STAGING_PREFIX}*"))

    @property
    def join_token(self) -> Path:
        """With this a node may join for the first time."""
        return self.master_data / "join-token"

    @property
    def database(self) -> Path:
        """The metadata database."""
        return self.master_data / "metadata.db"

    @property
    def logs(self) -> Path:
        """The directory of all logs."""
        return self.root / "logs"

    def node_root(self, node: str) -> Path:
        """Everything of one node."""
        return self.root / node

    def volume(self, node: str) -> Path:
        """A node's volume."""
        return self.root / node / "volume"

    def storages(self) -> list[Storage]:
        """What roles store, of every node that was ever here; the master comes first, for nothing serves without it."""
        nodes = sorted(self.root.glob("node-*"))
        return [Storage(self.master_data, MASTER_FILES), *(self.node_storage(node.name) for node in nodes)]

    def node_storage(self, node: str) -> Storage:
        """What a node stores."""
        return Storage(self.volume(node), VOLUME_FILES)

    def log(self, role: str) -> Path:
        """The log that a daemon writes and rotates itself."""
        return self.logs / f"{role}.log"

    def output(self, role: str) -> Path:
        """What a daemon wrote to standard output and error: a refusal to start, or a crash."""
        return self.logs / f"{role}.out"

    def pid(self, role: str) -> Path:
        """The process of a role, as it was last started."""
        return self.root / "run" / f"{role}.json"


def is_unfinished_description(name: str) -> bool:
    """Whether a file is all that a command leaves that was killed while it wrote the first description of a cluster."""
    return name.startswith(f".{_DESCRIPTION}.") and name.endswith(TEMPORARY_SUFFIX)


class StateStore:
    """All clusters below one `DFS_HOME`. Holds no state; several threads and processes may use it under its locks."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._clusters = home / "clusters"
        self._clock = clock

    def names(self) -> list[str]:
        """The clusters that exist, in order."""
        if not self._clusters.is_dir():
            return []
        return sorted(path.parent.name for path in self._clusters.glob(f"*/{_DESCRIPTION}"))

    def paths(self, name: str) -> ClusterPaths:
        """Where a cluster lies or would lie.

        Raises:
            UsageError: the name is not one.
        """
        return ClusterPaths(self._clusters / check_name(name))

    def find(self, name: str) -> ClusterSpec | None:
        """The cluster of that name, or None.

        Raises:
            SchemaError: its file is damaged.
        """
        path = self.paths(name).spec
        try:
            return spec_from_toml(path.read_text("utf-8"), str(path))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise SchemaError(f"{path} is damaged ({error}); put a good copy back.") from error

    def load(self, name: str) -> ClusterSpec:
        """The cluster of that name.

        Raises:
            NotFoundError: there is none.
        """
        spec = self.find(name)
        if spec is None:
            raise NotFoundError(f"There is no cluster {name!r} here; `dfs list` shows those that exist.")
        return spec

    def save(self, spec: ClusterSpec) -> None:
        """Make the cluster's directory when it is not there, and keep its description."""
        paths = self.paths(spec.name)
        make_directory(paths.root, mode=PRIVATE_MODE)
        write_secret(paths.spec, spec_to_toml(spec).encode())

    def mark_destroyed(self, spec: ClusterSpec) -> None:
        """Before its data goes: whatever ends that early, what is left is no cluster that could be started.

        A full disk does not keep anybody from deleting: there it stays unsaid.

        Raises:
            OSError: it cannot be written, for another reason.
        """
        try:
            self.save(replace(spec, destroyed=True))
        except OSError as error:
            if error.errno not in _FULL:
                raise

    def save_credentials(self, name: str, credentials: Credentials) -> None:
        """Keep a cluster's keys, readable by the owner alone."""
        write_secret(self.paths(name).credentials, msgspec.json.encode(credentials) + b"\n")

    def credentials(self, name: str) -> Credentials:
        """The keys of a cluster.

        Raises:
            SchemaError: they are lost or damaged.
        """
        path = self.paths(name).credentials
        try:
            return msgspec.json.decode(path.read_bytes(), type=Credentials)
        except (OSError, msgspec.DecodeError) as error:
            raise SchemaError(f"The keys of cluster {name!r} cannot be read from {path} ({error}).") from error

    def forget(self, name: str) -> list[Path]:
        """Delete a cluster's directory with all data in it; the directories that stay. One that is not there is fine.

        Raises:
            OSError: something cannot be deleted; doing it again goes on there.
        """
        paths = self.paths(name)
        if not paths.root.exists():
            return []
        mounts = mount_points()
        root = paths.root.resolve()
        stay = {place for storage in paths.storages() if (place := empty_disk(storage, mounts)) is not None}
        # The description goes last: as long as anything is left, the same command must find the cluster again.
        for entry in paths.root.iterdir():
            if entry != paths.spec:
                stay.update(delete(entry, mounts))
        paths.spec.unlink(missing_ok=True)
        stay.update([root, *delete(paths.root, mounts)])
        fsync_directory(self._clusters)
        # The directory itself is still there where it is a link or holds one that stays: only the innermost are named.
        found = [place for place in stay if place.exists()]
        return sorted(place for place in found if not any(place in other.parents for other in found))

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other commands away from one cluster for as long as the block runs.

        Raises:
            ConflictError: another command held it for `LOCK_SECONDS`.
        """
        with self._lock(f".{check_name(name)}.lock", f"Another dfs command works on cluster {name!r}"):
            yield

    @contextmanager
    def ports_locked(self) -> Iterator[None]:
        """Keep others from choosing ports while the block chooses and saves its own.

        Raises:
            ConflictError: another command held it for `LOCK_SECONDS`.
        """
        with self._lock(".ports.lock", "Another dfs command chooses ports"):
            yield

    @contextmanager
    def _lock(self, file_name: str, complaint: str) -> Iterator[None]:
        make_directory(self._clusters, mode=PRIVATE_MODE)
        deadline = Deadline(self._clock, LOCK_SECONDS)
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(exclusive_lock(self._clusters / file_name))
                    break
                except AlreadyLockedError as error:
                    if deadline.passed():
                        raise ConflictError(f"{complaint}; wait until it ended and try again.") from error
                    self._clock.sleep(_LOCK_PAUSE_SECONDS)
            yield
