"""Which roles an upgrade replaces, in which order, and which of them go back when one fails. Pure."""

from collections.abc import Iterable

from dfs_deploy.plan import Found
from dfs_deploy.spec import MASTER, ClusterSpec
from dfs_wire.errors import NotFoundError, UnavailableError


def roles_to_upgrade(spec: ClusterSpec, found: Found, outdated: Iterable[str], *, everything: bool) -> tuple[str, ...]:
    """The roles to replace, one at a time. The master comes first: it understands nodes of the version before.

    Raises:
        NotFoundError: the cluster was destroyed.
        UnavailableError: a role does not run, so the others cannot be spared.
    """
    if spec.destroyed:
        raise NotFoundError(f"Cluster {spec.name!r} was destroyed; `dfs deploy --name {spec.name}` brings it back.")
    dead = [role for role in spec.roles if role not in found.running]
    if dead:
        raise UnavailableError(
            f"{dead[0]} of cluster {spec.name!r} does not run; `dfs start --name {spec.name}` first: "
            "an upgrade takes one role at a time from a cluster that is whole."
        )
    behind = set(spec.roles if everything else outdated)
    return tuple(role for role in spec.roles if role in behind)


def roles_to_bring_back(replaced: Iterable[str]) -> tuple[str, ...]:
    """Those that were replaced, the last one first, the master at the end: no node meets a master older than it is."""
    nodes_and_master = list(replaced)
    nodes = [role for role in reversed(nodes_and_master) if role != MASTER]
    return (*nodes, MASTER) if MASTER in nodes_and_master else tuple(nodes)
