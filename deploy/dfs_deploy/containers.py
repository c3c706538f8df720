"""Roles as containers: names, addresses, limits. Pure: what Docker or a compose file is told follows from here."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import msgspec

from dfs_deploy.programs import MASTER_PROGRAM, NODE_PROGRAM
from dfs_deploy.spec import MASTER, ClusterSpec, NodeSpec, join_address

#: Every role listens on this port inside its container; outside it has a port of its own.
INSIDE_PORT = 5_000
_INSIDE_LISTEN = f"0.0.0.0:{INSIDE_PORT}"

#: The user of the image, as the Dockerfile makes it.
USER_ID = 10_001
USER = f"{USER_ID}:{USER_ID}"

#: Where a role's named volume is mounted, and what lies in it.
DATA = "/data"
MASTER_DATA = f"{DATA}/master"
MASTER_DATA_NEW = f"{DATA}/master.new"
NODE_VOLUME = f"{DATA}/volume"
JOIN_TOKEN = f"{DATA}/join-token"

#: A node has a thread a connection, and `CONNECTIONS_MAX` is 1,024.
PIDS_MAX = 2_048
MEMORY_BYTES_MAX = 1024 * 1024 * 1024
TMP_OPTIONS = "rw,noexec,nosuid,nodev,size=64m,mode=1777"
LOG_OPTIONS = {"max-size": "10m", "max-file": "5"}
#: A polite end takes a moment; Docker kills after this.
STOP_SECONDS = 10

LABEL_CLUSTER = "dfs.cluster"
LABEL_ROLE = "dfs.role"
#: Which `DFS_HOME` the cluster belongs to: two of them may not share a name on one engine.
LABEL_HOME = "dfs.home"
#: A container whose label differs from what is wanted is made anew over the same volume.
LABEL_CONFIG = "dfs.config"
HELPER = "helper"


@dataclass(frozen=True, slots=True)
class Publish:
    """A port of the host that leads to the role's port inside."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container. `volume` is mounted at `DATA`; without a network it reaches nothing."""

    name: str
    image: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    hostname: str
    volume: str
    network: str | None = None
    publish: Publish | None = None

    @property
    def config(self) -> str:
        """A digest of all that an engine is told of it."""
        return hashlib.sha256(msgspec.json.encode(asdict(self))).hexdigest()[:32]

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels, with the digest."""
        return {**self.labels, LABEL_CONFIG: self.config}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All containers of a cluster and its network."""

    containers: tuple[ContainerSpec, ...]
    network: str
    labels: Mapping[str, str]


# -- names ------------------------------------------------------------------------------------------------------


def network_name(cluster: str) -> str:
    """The cluster's own network."""
    return f"dfs-{cluster}"


def container_name(cluster: str, role: str) -> str:
    """A role's container, which is also its name on the network."""
    return f"dfs-{cluster}-{role}"


def set_aside_name(cluster: str, role: str) -> str:
    """What a role's container of the version before is called while an upgrade may still go back to it."""
    return f"{container_name(cluster, role)}-before"


def volume_name(cluster: str, role: str) -> str:
    """A role's named volume."""
    return f"dfs-{cluster}-{role}"


def inside_address(cluster: str, role: str) -> str:
    """How containers on the cluster's network reach a role."""
    return f"{container_name(cluster, role)}:{INSIDE_PORT}"


def cluster_labels(cluster: str, home: str) -> dict[str, str]:
    """On everything that is made for a cluster: by these it is found again, and removed."""
    return {LABEL_CLUSTER: cluster, LABEL_HOME: home}


# -- roles ------------------------------------------------------------------------------------------------------


def master_container(spec: ClusterSpec, *, image: str, home: str) -> ContainerSpec:
    """The master. A line of this host's loopback seems to it to come from its network's gateway."""
    command = [MASTER_PROGRAM, "--data", MASTER_DATA, "--listen", _INSIDE_LISTEN]
    if not spec.line_protocol:
        command.append("--no-line-protocol")
    elif spec.is_loopback:
        # Published on a loopback address only, the gateway stands for nobody but this host.
        command += ["--allow-line-from", "gateway"]
    return _role(spec, MASTER, spec.master_port, command, image, home)


def node_container(spec: ClusterSpec, node: NodeSpec, *, image: str, home: str) -> ContainerSpec:
    """A node. One that is known must find its volume again, never an empty one."""
    command = [NODE_PROGRAM, "--volume", NODE_VOLUME, "--name", node.name]
    command += ["--master", inside_address(spec.name, MASTER), "--listen", _INSIDE_LISTEN]
    command += ["--cluster-address", inside_address(spec.name, node.name)]
    command += ["--public-address", join_address(spec.shared_host, node.port)]
    if node.id is None:
        command += ["--join-token-file", JOIN_TOKEN]
    else:
        command += ["--expect-node", str(node.id)]
    return _role(spec, node.name, node.port, command, image, home)


def _role(spec: ClusterSpec, role: str, port: int, command: list[str], image: str, home: str) -> ContainerSpec:
    return ContainerSpec(
        name=container_name(spec.name, role),
        image=image,
        command=tuple(command),
        labels={**cluster_labels(spec.name, home), LABEL_ROLE: role},
        hostname=role,
        volume=volume_name(spec.name, role),
        network=network_name(spec.name),
        publish=Publish(_published_host(spec.listen), port),
    )


def helper_container(spec: ClusterSpec, role: str, *, image: str, home: str, mark: str) -> ContainerSpec:
    """A container that waits over a role's volume until something is run in it; it ends by itself after an hour."""
    return ContainerSpec(
        name=container_name(spec.name, f"{HELPER}-{mark}"),
        image=image,
        command=("python", "-c", "import time; time.sleep(3600)"),
        labels={**cluster_labels(spec.name, home), LABEL_ROLE: HELPER},
        hostname=HELPER,
        volume=volume_name(spec.name, role),
    )


def _published_host(listen: str) -> str:
    """Docker publishes on addresses, not on names."""
    return "127.0.0.1" if listen == "localhost" else listen
