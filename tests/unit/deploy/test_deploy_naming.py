"""Which cluster a command means."""

import pytest

from dfs_deploy.naming import check_named, check_not_gone, meant_cluster, needed_cluster
from dfs_wire.errors import NotFoundError, UsageError


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


def test_nobody_takes_the_place_of_a_cluster_that_is_gone() -> None:
    """The one deployed last may have no profile, be somebody else's, or be the only one there was; else ask."""
    assert check_not_gone(None, ["a"], ["a"]) is None
    assert check_not_gone("a", ["a", "b"], []) == "a"
    assert check_not_gone("theirs", ["a"], ["a", "theirs"]) == "theirs"
    assert check_not_gone("a", [], []) is None
    with pytest.raises(NotFoundError, match=r"'b'.*is gone.*--name: a"):
        check_not_gone("b", ["a"], ["a"])


def test_what_deletes_without_asking_wants_a_name_where_there_are_several() -> None:
    """With one cluster, nothing can be mixed up."""
    check_named(None, {}, ["a"])
    check_named("a", {}, ["a", "b"])
    check_named(None, {"DFS_PROFILE": "b"}, ["a", "b"])
    with pytest.raises(UsageError, match="whose data is to go: a, b"):
        check_named(None, {"DFS_PROFILE": ""}, ["a", "b"])
