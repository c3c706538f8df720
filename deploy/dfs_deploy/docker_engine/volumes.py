"""Whose a volume is: one that does not carry the labels of its cluster is never removed, nor made a cluster of."""

from collections.abc import Callable
from pathlib import Path

from dfs_deploy.containers import LABEL_CLUSTER, LABEL_HOME, LABEL_ROLE, cluster_labels, volume_name
from dfs_deploy.docker_engine.sdk import DockerSdk
from dfs_deploy.spec import MASTER, ClusterSpec
from dfs_wire.errors import ConflictError


def is_home(label: str, home: str) -> bool:
    """Whether a label names a home, which is resolved; an earlier version wrote it as the user did."""
    return bool(label) and str(Path(label).resolve()) == home


class OwnVolumes:
    """The volumes of the clusters below one `DFS_HOME` on one engine. Used by one thread.

    `say` gets what a person should still see when the command has ended.
    """

    def __init__(self, sdk: DockerSdk, home: str, say: Callable[[str], None]) -> None:
        self._sdk = sdk
        self._home = home
        self._say = say
        #: Those that were not there before: only they may be taken back.
        self._made: set[str] = set()

    def of(self, spec: ClusterSpec) -> list[str]:
        """All that carry the cluster's labels, whatever their number.

        Raises:
            ConflictError: they belong to a cluster of the same name under another `DFS_HOME`.
        """
        found = self._sdk.volumes({LABEL_CLUSTER: spec.name})
        for name, labels in found.items():
            self.check_home(name, labels.get(LABEL_HOME, ""))
        return list(found)

    def nodes(self, spec: ClusterSpec) -> list[str]:
        """The names of the nodes whose volumes are among them; more than the cluster has, if some were left over."""
        prefix = volume_name(spec.name, "")
        return [role for name in self.of(spec) if (role := name.removeprefix(prefix)) not in {name, MASTER}]

    def check_home(self, name: str, home: str) -> None:
        """Refuse what another home's cluster of the same name has.

        Raises:
            ConflictError: it is not this home's.
        """
        if not is_home(home, self._home):
            raise ConflictError(
                f"{name} on this Docker Engine belongs to the cluster below DFS_HOME={home}; use another --name here."
            )

    def check(self, spec: ClusterSpec, role: str) -> bool:
        """Whether a role's volume is there.

        Raises:
            ConflictError: a volume has its name and not its labels, so it may hold anything.
        """
        name = volume_name(spec.name, role)
        labels = self._sdk.find_volume(name)
        if labels is None:
            return False
        if labels.get(LABEL_CLUSTER) != spec.name:
            wanted = " ".join(f"--label {key}={value}" for key, value in self._labels(spec, role).items())
            raise ConflictError(
                f"A volume {name} exists that dfs did not make, and it is left as it is: use another --name, or move "
                f"its content into a volume with the labels of this cluster (docker volume create {wanted} {name})."
            )
        self.check_home(name, labels.get(LABEL_HOME, ""))
        return True

    def make(self, spec: ClusterSpec, role: str) -> None:
        """Have a role's volume; one of that name that is there stays as it is."""
        name = volume_name(spec.name, role)
        if self._sdk.find_volume(name) is None:
            self._sdk.create_volume(name, self._labels(spec, role))
            self._made.add(name)

    def made_here(self, name: str) -> bool:
        """Whether this very command made a volume."""
        return name in self._made

    def remove(self, spec: ClusterSpec, role: str) -> None:
        """Delete a role's volume; one without our labels stays, and that is said."""
        name = volume_name(spec.name, role)
        if name in self.of(spec):
            self._delete(name)
        else:
            self._tell_of_foreign(name)

    def remove_all(self, spec: ClusterSpec) -> None:
        """Delete every volume of a cluster; those without our labels stay, and that is said."""
        for name in self.of(spec):
            self._delete(name)
        for role in spec.roles:
            self._tell_of_foreign(volume_name(spec.name, role))

    def take_back(self) -> None:
        """Delete what this command made."""
        for name in sorted(self._made):
            self._delete(name)

    def _delete(self, name: str) -> None:
        self._sdk.remove_volume(name)
        self._made.discard(name)

    def _tell_of_foreign(self, name: str) -> None:
        if self._sdk.find_volume(name) is not None:
            self._say(f"The volume {name} stays: dfs did not make it. `docker volume rm {name}` deletes its data.")

    def _labels(self, spec: ClusterSpec, role: str) -> dict[str, str]:
        return {**cluster_labels(spec.name, self._home), LABEL_ROLE: role}
