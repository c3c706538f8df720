"""`dfs-client download`."""

import os
import stat
import threading
from pathlib import Path

import pytest
from tests.support.client_cli import dfs_client
from tests.support.fake_dfs import FakeDfs

from dfs_wire.errors import CorruptError
from dfs_wire.messages import DirectorySpec, Entry, EntryKind

TIME_NS = 1_600_000_000_123_456_000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake() -> FakeDfs:
    """A store with a tree and a file."""
    store = FakeDfs()
    store.put("/tree/one", b"1", TIME_NS, 0o600)
    store.put("/tree/sub/two", b"22")
    store.put("/tree/sub/zero", b"")
    store.make_directories([DirectorySpec("/tree/sub/empty", 0o700, 7_000_000_000)])
    store.make_directories([DirectorySpec("/tree/sub", 0o550, 9_000_000_000)])
    store.put("/file", b"content")
    return store


def _names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


TREE = ["one", "sub", "sub/empty", "sub/two", "sub/zero"]


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["/file"], "file"),
        (["file"], "file"),
        (["/file", "new"], "new"),
        (["/file", "dir/"], "dir/file"),
        (["/file", "exists"], "exists/file"),
        (["/file", "."], "file"),
    ],
)
def test_one_file_lands_where_cp_would_put_it(here: Path, fake: FakeDfs, arguments: list[str], target: str) -> None:
    """With one argument in the current directory."""
    (here / "exists").mkdir()
    assert dfs_client(fake, "download", *arguments).code == 0
    assert (here / target).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("arguments", "root"),
    [
        (["/tree"], "tree"),
        (["tree/", "exists"], "exists/tree"),
        (["tree", "new"], "new"),
        (["tree", "new/"], "new/tree"),
        (["tree/.", "exists"], "exists"),
    ],
)
def test_a_tree_comes_back_with_all_it_had(here: Path, fake: FakeDfs, arguments: list[str], root: str) -> None:
    """Times and modes of directories are set after their files, or the files would change them."""
    (here / "exists").mkdir()
    ran = dfs_client(fake, "get", "-r", *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert _names(here / root) == TREE
    one, sub = (here / root / "one").stat(), (here / root / "sub").stat()
    assert (stat.S_IMODE(one.st_mode), one.st_mtime_ns) == (0o600, TIME_NS)
    assert (stat.S_IMODE(sub.st_mode), sub.st_mtime_ns) == (0o550, 9_000_000_000)
    assert (here / root / "sub/empty").stat().st_mtime_ns == 7_000_000_000
    (here / root / "sub").chmod(0o755)


def test_the_root_comes_as_its_contents(here: Path, fake: FakeDfs) -> None:
    """It has no name to take."""
    assert dfs_client(fake, "download", "-r", "/", "all").code == 0
    assert _names(here / "all") == ["file", "tree", *(f"tree/{name}" for name in TREE)]
    (here / "all/tree/sub").chmod(0o755)


def test_an_existing_file_is_refused_without_force(here: Path, fake: FakeDfs) -> None:
    """It stays as it is, with exit code 4."""
    (here / "file").write_bytes(b"mine")
    ran = dfs_client(fake, "download", "/file")
    assert (ran.code, (here / "file").read_bytes()) == (4, b"mine")
    assert "--force" in ran.err
    assert dfs_client(fake, "download", "--force", "/file").code == 0
    assert (here / "file").read_bytes() == b"content"


def test_a_directory_needs_r(here: Path, fake: FakeDfs) -> None:
    """Nothing is written."""
    ran = dfs_client(fake, "download", "/tree")
    assert (ran.code, _names(here)) == (2, [])
    assert ran.err == "dfs-client: /tree is a directory; add -r to download it with all it holds\n"


@pytest.mark.usefixtures("here")
def test_a_missing_file_is_exit_code_3(fake: FakeDfs) -> None:
    """The sentence names it."""
    ran = dfs_client(fake, "download", "/absent", "--json")
    assert (ran.code, ran.out, ran.error["code"]) == (3, "", "not_found")


def test_a_failed_file_of_a_tree_is_listed(here: Path, fake: FakeDfs) -> None:
    """The others come, and the exit code is 1."""
    fake.failures["/tree/one"] = CorruptError("every copy of /tree/one is bad; see 'dfs fsck'")
    ran = dfs_client(fake, "download", "-r", "/tree", "new")
    assert ran.code == 1
    assert _names(here / "new") == TREE[1:]
    assert "dfs-client: /tree/one: every copy" in ran.err
    (here / "new/sub").chmod(0o755)


def test_a_local_file_in_the_way_of_a_directory_is_listed(here: Path, fake: FakeDfs) -> None:
    """What does not go below it still comes."""
    (here / "new").mkdir()
    (here / "new/tree").mkdir()
    (here / "new/tree/sub").write_bytes(b"mine")
    ran = dfs_client(fake, "download", "-r", "/tree", "new")
    assert (ran.code, (here / "new/tree/one").read_bytes()) == (1, b"1")
    assert (here / "new/tree/sub").read_bytes() == b"mine"


def test_several_sources_need_a_directory(here: Path, fake: FakeDfs) -> None:
    """A trailing slash makes one."""
    assert dfs_client(fake, "download", "/file", "/tree/one", "new").code == 2
    assert dfs_client(fake, "download", "/file", "/tree/one", "new/").code == 0
    assert _names(here / "new") == ["file", "one"]


@pytest.mark.usefixtures("here")
def test_a_dash_is_standard_output(fake: FakeDfs) -> None:
    """The bytes and nothing else."""
    fake.put("/raw", bytes(range(256)))
    assert dfs_client(fake, "download", "/raw", "-").out_bytes == bytes(range(256))
    assert dfs_client(fake, "download", "/raw", "/file", "-").code == 2
    assert dfs_client(fake, "download", "-").code == 2


def test_a_pipe_is_written_into_and_never_replaced(here: Path, fake: FakeDfs) -> None:
    """The same goes for devices: `/dev/null` stays what it is."""
    os.mkfifo(here / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((here / "pipe").read_bytes()))
    reader.start()
    code = dfs_client(fake, "download", "/file", "pipe").code
    reader.join(10)
    assert (code, got) == (0, [b"content"])
    assert stat.S_ISFIFO((here / "pipe").stat().st_mode)


def test_json_has_an_object_a_file(here: Path, fake: FakeDfs) -> None:
    """With where it went."""
    records = dfs_client(fake, "download", "/file", "/tree/one", str(here), "--json").records
    assert [(record["path"], record["target"], record["status"], record["size"]) for record in records] == [
        ("/file", str(here / "file"), "downloaded", 7),
        ("/tree/one", str(here / "one"), "downloaded", 1),
    ]


def test_a_path_that_leads_out_of_the_target_is_refused(here: Path, fake: FakeDfs) -> None:
    """Whatever a master answers, nothing is written beside the destination."""
    fake.entries["/tree/../../out"] = Entry("/tree/../../out", EntryKind.FILE, 1, 0, 0o644, 9, b"")
    assert dfs_client(fake, "download", "-r", "/tree", "new").code == 2
    assert _names(here) == []
