"""`dfs-client rm`, `mv`, `mkdir`, `du`, `df` and `policy`."""

import pytest
from tests.support.client_cli import dfs_client
from tests.support.fake_dfs import FakeDfs


@pytest.fixture
def fake() -> FakeDfs:
    """A store with a small tree."""
    store = FakeDfs()
    store.put("/dir/a", b"aaa")
    store.put("/dir/sub/b", b"bb")
    store.put("/top", b"t")
    return store


def test_rm_of_a_full_directory_needs_r(fake: FakeDfs) -> None:
    """An empty one goes without."""
    ran = dfs_client(fake, "rm", "dir")
    assert (ran.code, ran.err) == (4, "dfs-client: /dir is not empty; add -r to remove it with all it holds\n")
    assert dfs_client(fake, "rm", "-r", "dir").code == 0
    assert fake.paths() == ["/top"]
    fake.make_directory("/empty")
    assert dfs_client(fake, "rm", "/empty").code == 0


def test_rm_goes_on_past_a_missing_path(fake: FakeDfs) -> None:
    """Alone it is exit code 3, with -f it is none."""
    ran = dfs_client(fake, "rm", "absent", "top")
    assert (ran.code, "/top" in fake.entries) == (1, False)
    assert ran.err.startswith("dfs-client: /absent does not exist"), "the name is said once"
    assert dfs_client(fake, "rm", "absent").code == 3
    assert dfs_client(fake, "rm", "-f", "absent", "--json").records == [{"path": "/absent", "status": "absent"}]


def test_the_root_is_neither_removed_nor_moved(fake: FakeDfs) -> None:
    """However it is spelled."""
    assert dfs_client(fake, "rm", "-r", "-f", "//").code == 2
    assert dfs_client(fake, "mv", "/", "/x").code == 2
    assert len(fake.paths()) == 5


@pytest.mark.parametrize(
    ("arguments", "moved"),
    [
        (["top", "new"], "/new"),
        (["/top", "/dir"], "/dir/top"),
        (["top", "dir/"], "/dir/top"),
        (["top", "made/here/"], "/made/here/top"),
        (["top", "dir/a"], "/dir/a"),
    ],
)
def test_mv_follows_the_rules_of_cp(fake: FakeDfs, arguments: list[str], moved: str) -> None:
    """A directory that a slash asks for is made."""
    assert dfs_client(fake, "mv", *arguments).code == 0
    assert fake.contents[moved] == b"t"
    assert "/top" not in fake.entries


def test_mv_moves_whole_trees_and_several_sources(fake: FakeDfs) -> None:
    """Each is one rename."""
    assert dfs_client(fake, "mv", "dir", "top", "into/").code == 0
    assert sorted(fake.contents) == ["/into/dir/a", "/into/dir/sub/b", "/into/top"]


def test_mv_no_clobber_exits_4(fake: FakeDfs) -> None:
    """Both stay."""
    assert dfs_client(fake, "mv", "-n", "top", "dir/a").code == 4
    assert fake.contents["/top"] == b"t"
    assert dfs_client(fake, "mv", "top").code == 2


def test_mkdir_makes_parents_only_when_asked(fake: FakeDfs) -> None:
    """With -p an existing directory is no error; a file is."""
    assert dfs_client(fake, "mkdir", "x/y").code == 3
    assert dfs_client(fake, "mkdir", "-p", "x/y").code == 0
    assert dfs_client(fake, "mkdir", "-p", "x/y").code == 0
    assert dfs_client(fake, "mkdir", "x/y").code == 4
    assert dfs_client(fake, "mkdir", "-p", "top").code == 4


def test_du_sums_a_tree_and_its_children(fake: FakeDfs) -> None:
    """Exact off a terminal."""
    ran = dfs_client(fake, "du", "dir")
    assert ran.out == "PATH\tSIZE\tFILES\tDIRECTORIES\n/dir\t5\t2\t2\n/dir/a\t3\t1\t0\n/dir/sub\t2\t1\t1\n"
    assert dfs_client(fake, "du", "-s", "--json").records == [{"path": "/", "size": 6, "files": 3, "directories": 3}]


def test_df_json_is_exact(fake: FakeDfs) -> None:
    """One object."""
    assert dfs_client(fake, "df", "--json").records == [
        {"capacity_bytes": 3_000_000, "used_bytes": 1_048_576, "free_bytes": 1_951_424, "nodes": 3}
    ]
    assert dfs_client(fake, "df").out.splitlines()[1] == "3000000\t1048576\t1951424\t3"


def test_policy_is_set_shown_and_inherited(fake: FakeDfs) -> None:
    """`unset` inherits again."""
    shown = dfs_client(fake, "policy", "set", "/dir", "--copies", "3", "--json").records
    assert shown == [{"path": "/dir", "copies_wanted": 3, "policy_from": "/dir"}]
    assert dfs_client(fake, "policy", "get", "dir/sub", "--json").records[0]["policy_from"] == "/dir"
    assert dfs_client(fake, "policy", "unset", "/dir", "--json").records[0]["policy_from"] is None
    assert dfs_client(fake, "policy", "show").out == "path:          /\ncopies wanted: 2\nset at:        the cluster\n"


@pytest.mark.parametrize("copies", ["0", "17", "x"])
def test_policy_refuses_a_number_out_of_range(fake: FakeDfs, copies: str) -> None:
    """A usage error, before anything is sent."""
    assert dfs_client(fake, "policy", "set", "/", "--copies", copies).code == 2
    assert fake.policies == {}
