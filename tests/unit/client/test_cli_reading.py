"""`dfs-client list`, `stat` and `cat`."""

import pytest
from tests.support.client_cli import dfs_client
from tests.support.fake_dfs import FakeDfs

TIME_NS = 1_600_000_000_123_456_789
TIME = "2020-09-13T12:26:40.123456Z"


@pytest.fixture
def fake() -> FakeDfs:
    """A store with a name that would break a line."""
    store = FakeDfs()
    store.put("/dir/file", b"12345", TIME_NS)
    store.put("/dir/line\nbreak", b"", TIME_NS)
    store.put("/top", b"0123456789", TIME_NS, 0o600)
    return store


def test_list_shows_a_header_and_the_name_first(fake: FakeDfs) -> None:
    """Off a terminal: tabs, exact sizes, UTC."""
    ran = dfs_client(fake, "list")
    assert ran.out == f"NAME\tSIZE\tMODIFIED\ndir\t-\t-\ntop\t10\t{TIME}\n"


def test_list_escapes_names_and_json_keeps_them(fake: FakeDfs) -> None:
    """One entry is always one line."""
    assert dfs_client(fake, "list", "dir").out.splitlines()[2].startswith("line\\nbreak\t")
    assert dfs_client(fake, "list", "dir", "--json").records[1]["path"] == "/dir/line\nbreak"


def test_list_json_has_an_object_an_entry(fake: FakeDfs) -> None:
    """A directory has no time."""
    directory, file = dfs_client(fake, "list", "--json").records
    assert directory == {"path": "/dir", "kind": "directory", "size": 0, "modified_at": None, "mode": "0755"}
    assert file == {"path": "/top", "kind": "file", "size": 10, "modified_at": TIME, "mode": "0600"}


def test_list_l_adds_mode_and_copies(fake: FakeDfs) -> None:
    """In JSON with the address of each node."""
    ran = dfs_client(fake, "ls", "-l", "/top")
    assert ran.out.splitlines() == [
        "NAME\tMODE\tSIZE\tMODIFIED\tCOPIES",
        f"top\t-rw-------\t10\t{TIME}\tnode-1,node-2",
    ]
    (record,) = dfs_client(fake, "list", "-l", "--json", "/top").records
    assert record["copies"] == [
        {"node": "node-1", "address": "127.0.0.1:5001"},
        {"node": "node-2", "address": "127.0.0.1:5002"},
    ]


def test_list_r_shows_whole_paths(fake: FakeDfs) -> None:
    """They can be given to other commands."""
    lines = dfs_client(fake, "list", "-r").out.splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == ["/dir", "/dir/file", "/dir/line\\nbreak", "/top"]


def test_list_of_what_is_not_there_is_exit_code_3(fake: FakeDfs) -> None:
    """No header is printed."""
    ran = dfs_client(fake, "list", "/absent")
    assert (ran.code, ran.out, ran.err) == (3, "", "dfs-client: /absent does not exist; check the path\n")


@pytest.mark.parametrize("options", [[], ["-l"], ["-r"]])
def test_list_shows_what_is_there_and_says_what_is_not(fake: FakeDfs, options: list[str]) -> None:
    """As `ls` does: the exit code is that of the first error."""
    ran = dfs_client(fake, "list", *options, "/absent", "/dir", "/gone", "/top")
    assert [line.split("\t")[0] for line in ran.out.splitlines()] == ["NAME", "/dir/file", "/dir/line\\nbreak", "/top"]
    assert ran.err.splitlines() == [
        "dfs-client: /absent does not exist; check the path",
        "dfs-client: /gone does not exist; check the path",
    ]
    assert ran.code == 3


def test_list_of_several_that_are_not_there_prints_no_header(fake: FakeDfs) -> None:
    """There is nothing to list."""
    ran = dfs_client(fake, "list", "/absent", "/gone")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 2)


def test_each_path_that_cannot_be_listed_is_an_object_with_json(fake: FakeDfs) -> None:
    """Behind its sentence, on standard error."""
    ran = dfs_client(fake, "list", "--json", "/top", "/absent", "/gone")
    assert [record["path"] for record in ran.records] == ["/top"]
    assert [line.startswith('{"error": {"code": "not_found"') for line in ran.err.splitlines()] == [False, True] * 2


@pytest.mark.parametrize("command", [["stat"], ["du"], ["cat"], ["cat", "--length", "20"]])
def test_what_only_reads_goes_on_after_a_path_that_fails(fake: FakeDfs, command: list[str]) -> None:
    """What comes behind it is shown as without it."""
    ran = dfs_client(fake, *command, "/top", "/absent", "/dir/file")
    assert ran.out == dfs_client(fake, *command, "/top", "/dir/file").out
    assert (ran.code, ran.err) == (3, "dfs-client: /absent does not exist; check the path\n")


def test_stat_json_has_digest_version_and_chunks(fake: FakeDfs) -> None:
    """The digest is that of b3sum."""
    (record,) = dfs_client(fake, "stat", "--json", "/top").records
    assert record["digest"] == fake.entries["/top"].digest.hex()
    assert (record["version"], record["mtime_ns"], record["copies_wanted"]) == (3, TIME_NS, 2)
    (chunk,) = record["chunks"]
    assert (chunk["ordinal"], chunk["offset"], chunk["length"]) == (0, 0, 10)
    assert chunk["replicas"][0] == {"node": "node-1", "address": "127.0.0.1:5001", "state": "good"}
    assert [copy["node"] for copy in record["copies"]] == ["node-1", "node-2"]


def test_stat_json_of_a_directory_has_nulls(fake: FakeDfs) -> None:
    """It has no content."""
    (record,) = dfs_client(fake, "stat", "--json", "/dir").records
    assert [record[key] for key in ("digest", "version", "modified_at")] == [None] * 3
    assert (record["kind"], record["chunks"]) == ("directory", [])


def test_stat_shows_facts_a_line_each(fake: FakeDfs) -> None:
    """Several paths with an empty line between."""
    out = dfs_client(fake, "stat", "/top", "/dir").out
    assert "digest:        " + fake.entries["/top"].digest.hex() in out
    assert "nodes:         node-1 (127.0.0.1:5001), node-2 (127.0.0.1:5002)" in out
    assert "\n\npath:          /dir\n" in out


def test_cat_writes_files_one_behind_the_other(fake: FakeDfs) -> None:
    """With nothing between."""
    assert dfs_client(fake, "cat", "top", "/dir/file").out == "012345678912345"


@pytest.mark.parametrize(
    ("options", "content"),
    [
        (["--offset", "3"], "3456789"),
        (["--length", "2"], "01"),
        (["--offset", "8", "--length", "5"], "89"),
        (["--offset", "50"], ""),
        (["--length", "0"], ""),
    ],
)
def test_cat_reads_a_range(fake: FakeDfs, options: list[str], content: str) -> None:
    """Clipped at the end of the file."""
    ran = dfs_client(fake, "cat", "/top", *options)
    assert (ran.code, ran.out) == (0, content)
    assert ("open", "rb") in fake.calls


def test_cat_of_a_directory_is_exit_code_4(fake: FakeDfs) -> None:
    """It has no content."""
    assert dfs_client(fake, "cat", "/dir").code == 4
