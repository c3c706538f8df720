"""Which cluster a command means. Pure."""

from collections.abc import Mapping, Sequence

from dfs_wire.errors import NotFoundError, UsageError

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


def check_not_gone(deployed_last: str | None, existing: Sequence[str], profiles: Sequence[str]) -> str | None:
    """The cluster deployed last, or None where it and all others are gone: then there is nothing to be mixed up.

    Raises:
        NotFoundError: it is gone and others are there. None of those is meant by somebody who still means that one.
    """
    if deployed_last is None or deployed_last in existing or deployed_last in profiles:
        return deployed_last
    if existing:
        raise NotFoundError(
            f"Cluster {deployed_last!r}, the one deployed last, is gone; say which one you mean with --name: "
            f"{', '.join(existing)}."
        )
    return None


def check_named(flag: str | None, environ: Mapping[str, str], existing: Sequence[str]) -> None:
    """For what deletes data without asking: where there are several clusters, it wants to be told which one.

    Raises:
        UsageError: it was not.
    """
    if len(existing) > 1 and not flag and not environ.get("DFS_PROFILE"):
        raise UsageError(f"There are several clusters; say with --name whose data is to go: {', '.join(existing)}.")


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
