"""What every command on a cluster works with, and the cluster's description as it changes meanwhile."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from dfs_deploy.health import Health
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import Credentials, StateStore
from dfs_runtime.clock import Clock

#: Gets one line about each thing that is done, for people.
Progress = Callable[[str], None]


class Profiles(Protocol):
    """The client profiles, as far as deploy needs them."""

    def exists(self, name: str) -> bool:
        """Whether there is a profile of that name, of whatever cluster."""
        ...

    def is_current(self, spec: ClusterSpec, credentials: Credentials) -> bool:
        """Whether the cluster's profile exists and says what the cluster says."""
        ...

    def write(self, spec: ClusterSpec, credentials: Credentials) -> None:
        """Write the cluster's profile."""
        ...

    def remove(self, name: str) -> None:
        """Delete a profile; none is fine."""
        ...

    def choose(self, name: str) -> None:
        """Make a profile the one that is used when none is named."""
        ...


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What every run works with."""

    store: StateStore
    profiles: Profiles
    health: Health
    clock: Clock
    progress: Progress


class Record:
    """The description of the cluster at work: as it is on disk, or about to be. Used by one thread."""

    def __init__(self, store: StateStore, spec: ClusterSpec) -> None:
        self._store = store
        self.spec = spec

    def keep(self, spec: ClusterSpec) -> None:
        """Have this on disk from now on."""
        self._store.save(spec)
        self.spec = spec

    def keep_ids(self, ids: dict[str, int]) -> None:
        """Note the ids that the master gave, by node name."""
        spec = self.spec.with_ids(ids)
        if spec != self.spec:
            self.keep(spec)

    def credentials(self) -> Credentials:
        """The cluster's keys."""
        return self._store.credentials(self.spec.name)
