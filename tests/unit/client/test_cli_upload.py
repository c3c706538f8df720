"""`dfs-client upload`."""

import os
from pathlib import Path

import pytest
from tests.support.client_cli import dfs_client
from tests.support.fake_dfs import FakeDfs

from dfs_wire.errors import SourceChangedError, TooFewNodesError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a tree `src`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src/sub/empty").mkdir(parents=True)
    (tmp_path / "src/one").write_bytes(b"1")
    (tmp_path / "src/sub/two").write_bytes(b"22")
    (tmp_path / "src/sub/zero").write_bytes(b"")
    (tmp_path / "src/one").chmod(0o600)
    os.utime(tmp_path / "src/one", ns=(5, 1_600_000_000_987_654_321))
    (tmp_path / "src/sub").chmod(0o750)
    os.utime(tmp_path / "src/sub", ns=(5, 1_500_000_000_000_000_001))
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path


TREE = ["/one", "/sub", "/sub/empty", "/sub/two", "/sub/zero"]


@pytest.mark.parametrize(
    ("arguments", "stored"),
    [
        (["file"], "/file"),
        (["file", "/new"], "/new"),
        (["file", "new"], "/new"),
        (["file", "/dir/"], "/dir/file"),
        (["src/one", "/deep/er/name"], "/deep/er/name"),
    ],
)
@pytest.mark.usefixtures("here")
def test_one_file_lands_where_cp_would_put_it(arguments: list[str], stored: str) -> None:
    """With one argument in the root; parents are made."""
    fake = FakeDfs()
    assert dfs_client(fake, "upload", *arguments).code == 0
    assert stored in fake.contents


@pytest.mark.usefixtures("here")
def test_a_file_goes_into_a_directory_that_exists() -> None:
    """No slash is needed then."""
    fake = FakeDfs()
    fake.make_directory("/dir")
    assert dfs_client(fake, "put", "file", "/dir").code == 0
    assert fake.contents == {"/dir/file": b"content"}


@pytest.mark.parametrize(
    ("arguments", "root"),
    [
        (["src"], "/src"),
        (["src", "/tree/"], "/tree/src"),
        (["src/", "/tree/"], "/tree/src"),
        (["src", "/tree"], "/tree"),
        (["src/.", "/tree/"], "/tree"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_tree_keeps_everything_in_it(arguments: list[str], root: str) -> None:
    """Empty files and directories, times and modes, of directories too."""
    fake = FakeDfs()
    ran = dfs_client(fake, "upload", "-r", *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert [path for path in fake.paths() if path.startswith(root + "/")] == [root + name for name in TREE]
    one, sub = fake.entries[f"{root}/one"], fake.entries[f"{root}/sub"]
    assert (one.mode, one.mtime_ns) == (0o600, 1_600_000_000_987_654_321)
    assert (sub.mode, sub.mtime_ns) == (0o750, 1_500_000_000_000_000_001)


@pytest.mark.usefixtures("here")
def test_contents_go_straight_into_the_root() -> None:
    """`src/.` means what is inside; the root itself is left as it is."""
    fake = FakeDfs()
    root = fake.entries["/"]
    assert dfs_client(fake, "upload", "-r", "src/.").code == 0
    assert fake.paths() == TREE
    assert fake.entries["/"] == root


@pytest.mark.usefixtures("here")
def test_a_directory_needs_r() -> None:
    """Nothing is stored."""
    fake = FakeDfs()
    ran = dfs_client(fake, "upload", "file", "src", "/dir/")
    assert (ran.code, fake.contents) == (2, {})
    assert ran.err == "dfs-client: src is a directory; add -r to upload it with all it holds\n"


@pytest.mark.usefixtures("here")
def test_no_clobber_exits_4_and_leaves_the_old_content() -> None:
    """Without it the file is replaced."""
    fake = FakeDfs()
    fake.put("/file", b"old")
    ran = dfs_client(fake, "upload", "--no-clobber", "file")
    assert (ran.code, fake.contents["/file"]) == (4, b"old")
    assert dfs_client(fake, "upload", "-r", "--no-clobber", "file").code == 4
    assert dfs_client(fake, "upload", "file").code == 0
    assert fake.contents["/file"] == b"content"


def test_links_are_skipped_with_a_count_and_that_alone_is_no_failure(here: Path) -> None:
    """Pipes as well."""
    (here / "src/link").symlink_to("one")
    (here / "src/dangling").symlink_to("nowhere")
    os.mkfifo(here / "src/pipe")
    fake = FakeDfs()
    ran = dfs_client(fake, "upload", "-r", "src", "--json")
    assert ran.code == 0
    assert ran.err == "dfs-client: warning: skipped 1 pipe, 2 symbolic links\n"
    assert {record["source"] for record in ran.records if record["status"] == "skipped"} == {
        "src/link",
        "src/dangling",
        "src/pipe",
    }
    assert "/src/link" not in fake.entries


@pytest.mark.usefixtures("here")
def test_a_failed_file_stops_nothing_and_is_listed() -> None:
    """The rest of the tree is stored, and the exit code is 1."""
    fake = FakeDfs()
    fake.failures["/src/one"] = SourceChangedError("src/one changed while it was read; upload it again")
    ran = dfs_client(fake, "upload", "-r", "src")
    assert ran.code == 1
    assert set(fake.contents) == {"/src/sub/two", "/src/sub/zero"}
    assert ran.err.startswith("dfs-client: src/one changed while it was read")
    assert ran.err.splitlines()[-1] == "dfs-client: 1 of 3 files failed and are listed above"


@pytest.mark.usefixtures("here")
def test_a_single_file_fails_with_its_own_code() -> None:
    """Too few nodes is 5, whatever command meets it."""
    fake = FakeDfs()
    fake.failures["/file"] = TooFewNodesError("2 copies are wanted and 1 node is live; start a node")
    assert dfs_client(fake, "upload", "file").code == 5


@pytest.mark.usefixtures("here")
def test_one_source_of_several_may_be_missing() -> None:
    """The others are stored; alone, it is exit code 3."""
    fake = FakeDfs()
    ran = dfs_client(fake, "upload", "file", "absent", "/dir/", "--json")
    assert (ran.code, list(fake.contents)) == (1, ["/dir/file"])
    assert [(record["source"], record["status"]) for record in ran.records] == [
        ("absent", "failed"),
        ("file", "uploaded"),
    ]
    assert dfs_client(fake, "upload", "absent").code == 3


def test_names_that_are_not_utf8_are_refused(here: Path) -> None:
    """In a tree the others are stored; a named one is a usage error."""
    (here / "src" / os.fsdecode(b"bad\xff")).touch()
    fake = FakeDfs()
    ran = dfs_client(fake, "upload", "-r", "src")
    assert (ran.code, len(fake.contents)) == (1, 3)
    assert "src/bad\\xff: the name is not UTF-8; rename it" in ran.err
    assert dfs_client(fake, "upload", os.fsdecode(b"src/bad\xff")).code == 2


@pytest.mark.usefixtures("here")
def test_a_directory_in_the_way_of_a_file_is_listed() -> None:
    """The store has a file where the tree has a directory: all else is stored."""
    fake = FakeDfs()
    fake.put("/src/sub", b"a file")
    ran = dfs_client(fake, "upload", "-r", "src")
    assert (ran.code, sorted(fake.contents)) == (1, ["/src/one", "/src/sub"])
    assert "/src/sub is a file" in ran.err


@pytest.mark.usefixtures("here")
def test_json_has_an_object_a_file() -> None:
    """With what a script needs to check it."""
    (record,) = dfs_client(FakeDfs(), "upload", "file", "--json").records
    assert record["digest"] == "3fba5250be9ac259c56e7250c526bc83bacb4be825f2799d3d59e5b4878dd74e"
    assert {key: record[key] for key in ("source", "path", "status", "size", "version", "bytes_sent")} == {
        "source": "file",
        "path": "/file",
        "status": "uploaded",
        "size": 7,
        "version": 1,
        "bytes_sent": 7,
    }


@pytest.mark.usefixtures("here")
def test_the_summary_says_what_and_where() -> None:
    """One line, names escaped."""
    ran = dfs_client(FakeDfs(), "upload", "-r", "src", "/a\tb")
    assert ran.out == "uploaded 3 files, 3 B, to /a\\tb\n"


def test_standard_input_is_stored_under_the_name_given() -> None:
    """Binary, and only with a whole name."""
    fake = FakeDfs()
    assert dfs_client(fake, "upload", "-", "/name", stdin=b"\x00\xff\n").code == 0
    assert fake.contents == {"/name": b"\x00\xff\n"}
    assert dfs_client(fake, "upload", "-", stdin=b"x").code == 2
    assert dfs_client(fake, "upload", "-", "/dir/", stdin=b"x").code == 2
    assert dfs_client(fake, "upload", "-", "file", "/dir/", stdin=b"x").code == 2


def test_a_pipe_or_device_by_name_is_refused(here: Path) -> None:
    """It is not skipped: somebody asked for it."""
    os.mkfifo(here / "pipe")
    ran = dfs_client(FakeDfs(), "upload", "pipe")
    assert ran.code == 2
    assert "use - to upload from standard input" in ran.err


@pytest.mark.usefixtures("here")
def test_ctrl_c_is_one_line_and_130() -> None:
    """No traceback."""
    fake = FakeDfs()
    fake.failures["/file"] = KeyboardInterrupt()
    ran = dfs_client(fake, "upload", "file")
    assert (ran.code, ran.err) == (130, "dfs-client: interrupted\n")
    assert fake.closed


@pytest.mark.parametrize("arguments", [["-r", ""], ["-r", "", "/dir"], ["file", "", "/dir/"]])
@pytest.mark.usefixtures("here")
def test_an_empty_name_is_not_the_current_directory(arguments: list[str]) -> None:
    """It is what a variable that is not set leaves behind."""
    fake = FakeDfs()
    ran = dfs_client(fake, "upload", *arguments)
    assert (ran.code, fake.contents) == (2, {})
    assert ran.err == "dfs-client: the name of a local file is empty; write . for the current directory\n"
