"""What a cluster is: the part that is decided once and kept in its `cluster.toml`."""

import re
import tomllib
from dataclasses import dataclass, replace
from typing import Self

import msgspec
import tomli_w

from dfs_wire.errors import SchemaError, UsageError

#: The version of `cluster.toml`; a file that says more was written by a newer dfs.
FORMAT = 1

MASTER = "master"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - recognised, not listened on


def check_name(name: str) -> str:
    """Give a cluster's name back when it is one.

    Raises:
        UsageError: it has other characters, or too many.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is no cluster name: use 1 to 40 of a-z, 0-9 and '-', and begin with no '-'.")
    return name


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_wildcard(listen: str) -> bool:
    """Whether an address to listen on means all addresses of the machine."""
    return listen in _WILDCARDS


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node of a cluster. `id` is what the master gave it when it joined; None before."""

    number: int
    port: int
    id: int | None = None

    @property
    def name(self) -> str:
        """The node's name and its role in logs, pid files and directories."""
        return f"node-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """A cluster as it was deployed. Immutable; a change makes a new one.

    `listen` is the address that all roles listen on. `public_host` is the name under which other machines reach
    them when `listen` is a wildcard. `line_protocol`: whether the master answers it. `destroyed`: the processes and
    the profile are gone, the data is kept. `context`: the Docker context that names its engine, on whatever machine;
    empty for the one that this machine's environment names. `gone`: nodes that the master forgot, and whose volumes are
    still to be deleted.
    """

    name: str
    engine: str
    copies: int
    listen: str
    master_port: int
    nodes: tuple[NodeSpec, ...]
    public_host: str = ""
    line_protocol: bool = True
    destroyed: bool = False
    context: str = ""
    gone: tuple[NodeSpec, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """The master first, then the nodes by number."""
        return (MASTER, *(node.name for node in self.nodes))

    @property
    def ports(self) -> frozenset[int]:
        """Every port that belongs to the cluster for life; a node that is gone may still run on its own."""
        return frozenset({self.master_port, *(node.port for node in self.with_gone.nodes)})

    @property
    def engine_key(self) -> str:
        """Which engine it is: `docker`, `process`, or `docker@CONTEXT`."""
        return f"{self.engine}@{self.context}" if self.context else self.engine

    @property
    def local_host(self) -> str:
        """The address by which this machine itself reaches the cluster."""
        if self.context and self.public_host:
            return self.public_host
        if self.is_wildcard:
            return "::1" if self.listen == "::" else "127.0.0.1"
        return self.listen

    @property
    def shared_host(self) -> str:
        """The address by which other machines reach the cluster (a loopback address stays one)."""
        return self.public_host or self.local_host

    @property
    def master_address(self) -> str:
        """`host:port` of the master, for this machine."""
        return join_address(self.local_host, self.master_port)

    @property
    def is_wildcard(self) -> bool:
        """Whether the roles listen on all addresses of the machine."""
        return is_wildcard(self.listen)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the cluster."""
        return self.listen == "localhost" or self.listen.startswith("127.") or self.listen == "::1"

    @property
    def with_gone(self) -> Self:
        """With the nodes that are gone, too: an engine finds the roles of what it is told."""
        return replace(self, nodes=(*self.nodes, *self.gone), gone=())

    def node(self, name: str) -> NodeSpec:
        """The node of that name.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def with_ids(self, ids: dict[str, int]) -> Self:
        """The same cluster with the ids that the master gave, by node name."""
        return replace(self, nodes=tuple(replace(node, id=ids.get(node.name, node.id)) for node in self.nodes))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of `cluster.toml`."""

    format: int
    cluster: ClusterSpec


def spec_to_toml(spec: ClusterSpec) -> str:
    """The text of `cluster.toml`. What is None is left out, and so is that nothing is gone."""
    cluster = msgspec.to_builtins(spec)
    for nodes in ("nodes", "gone"):
        cluster[nodes] = [{key: value for key, value in node.items() if value is not None} for node in cluster[nodes]]
    if not spec.gone:
        del cluster["gone"]
    return tomli_w.dumps({"format": FORMAT, "cluster": cluster}, multiline_strings=False)


def spec_from_toml(text: str, source: str) -> ClusterSpec:
    """Read `cluster.toml`; `source` names the file in errors.

    Raises:
        SchemaError: the file is damaged, or written by a newer dfs.
    """
    try:
        raw = tomllib.loads(text)
        if isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
            raise SchemaError(f"{source} was written by a newer dfs; install that version to work on this cluster.")
        return msgspec.convert(raw, _File).cluster
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SchemaError(f"{source} is damaged ({error}); put a good copy back.") from error
