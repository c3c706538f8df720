"""The client profiles of clusters: written by deploy, read by `dfs-client`, exported for a second machine."""

from pathlib import Path

from dfs_client.profile import (
    Profile,
    profile_path,
    read_profile,
    remove_profile,
    set_current_profile,
    write_profile,
)
from dfs_deploy.containers import inside_address
from dfs_deploy.spec import MASTER, ClusterSpec, join_address
from dfs_deploy.state import Credentials
from dfs_wire.errors import DfsError, UsageError
from dfs_wire.messages import AddressSet


def profile_of(spec: ClusterSpec, credentials: Credentials) -> Profile:
    """The profile of whoever deployed the cluster, on the machine where it runs."""
    return Profile(
        name=spec.name,
        master=spec.master_address,
        cluster_id=credentials.cluster_id,
        client_key=credentials.client_key,
        admin_key=credentials.admin_key,
        address_set=own_address_set(spec),
    )


def own_address_set(spec: ClusterSpec) -> AddressSet:
    """Which addresses of the nodes whoever deployed uses, on the machine where the cluster runs.

    Processes reach each other as we do, and behind a wildcard their public addresses are for other machines.
    Containers reach each other as nobody outside does.
    """
    return AddressSet.CLUSTER if spec.is_wildcard and spec.engine == "process" else AddressSet.PUBLIC


def inside_profile(spec: ClusterSpec, credentials: Credentials) -> Profile:
    """The profile for a client in a container on the cluster's own network, with no right to operate it.

    Raises:
        UsageError: the cluster has no network of its own.
    """
    if spec.engine != "docker":
        raise UsageError(f"Cluster {spec.name!r} runs as processes, which no container reaches; leave --inside out.")
    return Profile(
        name=spec.name,
        master=inside_address(spec.name, MASTER),
        cluster_id=credentials.cluster_id,
        client_key=credentials.client_key,
        address_set=AddressSet.CLUSTER,
    )


def shared_profile(spec: ClusterSpec, credentials: Credentials) -> Profile:
    """The profile for another person or machine: how it reaches the cluster, and no right to operate it."""
    return Profile(
        name=spec.name,
        master=join_address(spec.shared_host, spec.master_port),
        cluster_id=credentials.cluster_id,
        client_key=credentials.client_key,
    )


class ProfileBook:
    """The profiles under one home. Holds no state; safe to share between threads."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def exists(self, name: str) -> bool:
        """Whether there is a profile of that name, of whatever cluster."""
        return profile_path(name, self._home).exists()

    def is_current(self, spec: ClusterSpec, credentials: Credentials) -> bool:
        """Whether the profile says what the cluster says; a damaged one does not."""
        try:
            return read_profile(spec.name, home=self._home) == profile_of(spec, credentials)
        except DfsError:
            return False

    def write(self, spec: ClusterSpec, credentials: Credentials) -> None:
        """Write the profile of the person who deployed."""
        write_profile(profile_of(spec, credentials), home=self._home)

    def remove(self, name: str) -> None:
        """Delete a profile; none is fine. No other one is used by default for that: only a person chooses one."""
        remove_profile(name, home=self._home)

    def choose(self, name: str) -> None:
        """Make a profile the one that is used when none is named."""
        set_current_profile(name, home=self._home)
