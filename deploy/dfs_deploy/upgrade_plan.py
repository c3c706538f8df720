"""Which roles an upgrade replaces, in which order, and which of them go back when one fails. Pure."""

from collections.abc import Iterable, Mapping

from dfs_deploy.plan import Found
from dfs_deploy.spec import MASTER, ClusterSpec
from dfs_wire.errors import ConflictError, NotFoundError, UnavailableError


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


#: States that no waiting changes, and what does.
_OUT_OF_SERVICE = {
    "draining": "is being drained; say `dfs node cancel {node}`, or let it go with `dfs node remove {node}`",
    "maintenance": "is in maintenance; say `dfs node maintenance {node} --off`",
    "failed": "had an error of its disk; mend that and start it again, or say `dfs node replace {node}`",
}


def check_in_service(spec: ClusterSpec, states: Mapping[str, str]) -> None:
    """Refuse an upgrade that would wait in vain. `states`: how the master sees the nodes, by name.

    Raises:
        ConflictError: says which nodes are out of service by somebody's word or for good, and what to do.
    """
    words = [
        f"{node.name} {_OUT_OF_SERVICE[states[node.name]].format(node=node.name)}"
        for node in spec.nodes
        if states.get(node.name) in _OUT_OF_SERVICE
    ]
    if words:
        raise ConflictError(
            f"{'. '.join(words)}. An upgrade takes one role at a time from a cluster whose nodes all serve."
        )


def roles_to_bring_back(replaced: Iterable[str]) -> tuple[str, ...]:
    """Those that were replaced, the last one first, the master at the end: no node meets a master older than it is."""
    nodes_and_master = list(replaced)
    nodes = [role for role in reversed(nodes_and_master) if role != MASTER]
    return (*nodes, MASTER) if MASTER in nodes_and_master else tuple(nodes)
