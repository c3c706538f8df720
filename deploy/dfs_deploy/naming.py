"""Which cluster a command means. Pure."""

from collections.abc import Mapping, Sequence

from dfs_wire.errors import NotFoundError

#: What `deploy` calls a cluster when nobody names one and there is none yet.
NAME_DEFAULT = "default"


def meant_cluster(
    flag: str | None, environ: Mapping[str, str], deployed_last: str | None, existing: Sequence[str]
) -> str | None:
    """`--name`, else `DFS_PROFILE` (which may name one that does not exist yet), else the one deployed last.

    A single cluster that exists was deployed last, whatever became of its profile. None: nothing is named.
    """
    if flag:
        return flag
    if environ.get("DFS_PROFILE"):
        return environ["DFS_PROFILE"]
    if deployed_last is not None:
        return deployed_last
    return existing[0] if len(existing) == 1 else None


def needed_cluster(name: str | None, existing: Sequence[str]) -> str:
    """The name, for a command that works on a cluster that exists.

    Raises:
        NotFoundError: nothing was named.
    """
    if name is not None:
        return name
    if existing:
        raise NotFoundError(f"Say which cluster with --name: {', '.join(existing)}.")
    raise NotFoundError("There is no cluster yet; `dfs deploy` starts one.")
