"""Which cluster a command means."""

import pytest

from dfs_deploy.naming import meant_cluster, needed_cluster
from dfs_wire.errors import NotFoundError


@pytest.mark.parametrize(
    ("flag", "environ", "deployed_last", "existing", "meant"),
    [
        ("a", {"DFS_PROFILE": "b"}, "c", ["d"], "a"),
        (None, {"DFS_PROFILE": "b"}, "c", ["d"], "b"),
        (None, {"DFS_PROFILE": ""}, "c", ["d", "e"], "c"),
        (None, {}, None, ["d"], "d"),
        (None, {}, None, ["d", "e"], None),
        (None, {}, None, [], None),
    ],
)
def test_flag_then_environment_then_last_deployed(
    flag: str | None, environ: dict[str, str], deployed_last: str | None, existing: list[str], meant: str | None
) -> None:
    """The order of the design; a guess only where there is but one."""
    assert meant_cluster(flag, environ, deployed_last, existing) == meant


def test_a_command_without_a_cluster_says_what_to_do() -> None:
    """Either name one, or deploy the first."""
    assert needed_cluster("a", []) == "a"
    with pytest.raises(NotFoundError, match="--name: a, b"):
        needed_cluster(None, ["a", "b"])
    with pytest.raises(NotFoundError, match="dfs deploy"):
        needed_cluster(None, [])
