"""Which ports a cluster gets: 5000 or the next free ones, and the same ones for life."""

from collections.abc import Callable
from itertools import islice

from dfs_deploy.spec import ClusterSpec, join_address
from dfs_wire.errors import ConflictError, UnavailableError, UsageError

PORT_DEFAULT = 5_000
#: Unprivileged, and 65535 is the last one there is.
PORT_MIN = 1_024
PORT_MAX = 65_535
#: From here on Linux lends ports to outgoing connections: one of those would be taken now and then.
PORT_SEARCH_MAX = 32_000

#: `(host, port) -> free`, normally `dfs_wire.port_probe.port_is_free`.
Probe = Callable[[str, int], bool]


def choose_ports(
    *, count: int, first: int | None, host: str, reserved: dict[int, str], probe: Probe, after: int = PORT_DEFAULT
) -> list[int]:
    """`count` ports in ascending order that are free at `host` and belong to no other cluster.

    Args:
        count: how many.
        first: the first port, insisted on; None takes the first free one from `after` on.
        host: the address that will be listened on.
        reserved: ports of other clusters, running or not, with the cluster's name.
        probe: tells whether a port is free.
        after: where the search begins.

    Raises:
        UsageError: `first` is no port.
        ConflictError: `first` is taken.
        UnavailableError: too few ports are free.
    """
    if first is not None:
        _insist(first, host, reserved, probe)
    start = after if first is None else first + 1
    search = range(start, min(max(PORT_SEARCH_MAX, start + 1_000), PORT_MAX + 1))
    free = (port for port in search if port not in reserved and probe(host, port))
    chosen = [] if first is None else [first]
    chosen += islice(free, count - len(chosen))
    if len(chosen) < count:
        raise UnavailableError(f"No {count} free ports from {start} on; free some, or choose another --port.")
    return chosen


def _insist(port: int, host: str, reserved: dict[int, str], probe: Probe) -> None:
    if not PORT_MIN <= port <= PORT_MAX:
        raise UsageError(f"--port takes {PORT_MIN} to {PORT_MAX}; {port} is none of them.")
    if port in reserved:
        raise ConflictError(
            f"Port {port} belongs to cluster {reserved[port]!r}; choose another --port, or leave it out."
        )
    if not probe(host, port):
        raise ConflictError(
            f"Port {port} is taken: something listens on {join_address(host, port)}; "
            "choose another --port, or leave it out."
        )


def reserved_ports(clusters: list[ClusterSpec], besides: str) -> dict[int, str]:
    """Ports of all clusters but one, with the cluster's name; stopped clusters keep theirs."""
    return {port: spec.name for spec in clusters if spec.name != besides for port in spec.ports}
