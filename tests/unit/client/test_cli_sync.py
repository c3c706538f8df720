"""`dfs-client sync`, both directions."""

import os
from pathlib import Path

import pytest
from tests.support.client_cli import Ran, dfs_client
from tests.support.fake_dfs import FakeDfs

from dfs_client.sync_sides import LocalSide
from dfs_wire.errors import SourceChangedError
from dfs_wire.messages import Entry, EntryKind

TIME_NS = 1_600_000_000_123_456_000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a tree `src`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src/sub/empty").mkdir(parents=True)
    (tmp_path / "src/one").write_bytes(b"1")
    (tmp_path / "src/sub/two").write_bytes(b"22")
    os.utime(tmp_path / "src/sub", ns=(1, TIME_NS))
    return tmp_path


def _steps(ran: Ran) -> list[tuple[str, str]]:
    return [(record["action"], record["path"]) for record in ran.records]


@pytest.mark.usefixtures("here")
def test_up_and_again_does_nothing_the_second_time() -> None:
    """What is inside goes into the target itself."""
    fake = FakeDfs()
    first = dfs_client(fake, "sync", "src", "dfs:/backup", "--json")
    assert first.code == 0
    assert _steps(first) == [("make", "sub"), ("make", "sub/empty"), ("copy", "one"), ("copy", "sub/two")]
    assert fake.contents == {"/backup/one": b"1", "/backup/sub/two": b"22"}
    assert fake.entries["/backup/sub"].mtime_ns == TIME_NS
    again = dfs_client(fake, "sync", "src", "dfs:backup", "--json")
    assert (again.code, again.out) == (0, "")


def test_down_and_again_does_nothing_the_second_time(here: Path) -> None:
    """Directory times are set after their files."""
    fake = FakeDfs()
    dfs_client(fake, "sync", "src", "dfs:/backup")
    assert dfs_client(fake, "sync", "dfs:/backup", "back").code == 0
    assert (here / "back/sub/two").read_bytes() == b"22"
    assert (here / "back/sub").stat().st_mtime_ns == TIME_NS
    again = dfs_client(fake, "sync", "dfs:/backup", "back", "--json")
    assert (again.code, again.out) == (0, "")


def test_only_what_changed_is_copied(here: Path) -> None:
    """And with --delete, what is gone goes."""
    fake = FakeDfs()
    dfs_client(fake, "sync", "src", "dfs:/backup")
    (here / "src/one").write_bytes(b"changed")
    (here / "src/sub/two").unlink()
    assert _steps(dfs_client(fake, "sync", "src", "dfs:/backup", "--json"))[0] == ("copy", "one")
    assert "/backup/sub/two" in fake.contents
    assert ("delete", "sub/two") in _steps(dfs_client(fake, "sync", "--delete", "src", "dfs:/backup", "--json"))
    assert fake.contents == {"/backup/one": b"changed"}


def test_down_with_delete_removes_local_files_but_no_links(here: Path) -> None:
    """A link is nothing that sync made."""
    fake = FakeDfs()
    fake.put("/tree/kept", b"k")
    (here / "old/deep").mkdir(parents=True)
    (here / "old/deep/file").touch()
    (here / "old/link").symlink_to("nowhere")
    (here / "old/file").touch()
    assert dfs_client(fake, "sync", "--delete", "dfs:/tree", "old").code == 0
    assert sorted(path.name for path in (here / "old").iterdir()) == ["kept", "link"]


def test_checksum_finds_what_size_and_time_hide(here: Path) -> None:
    """And copies nothing that only has another time."""
    fake = FakeDfs()
    dfs_client(fake, "sync", "src", "dfs:/backup")
    fake.contents["/backup/one"] = b"X"
    fake.put("/backup/one", b"X", (here / "src/one").stat().st_mtime_ns)
    os.utime(here / "src/sub/two", ns=(1, 1))
    assert dfs_client(fake, "sync", "src", "dfs:/backup", "-n", "--json").records == [
        {"action": "copy", "path": "sub/two", "status": "planned"}
    ]
    assert _steps(dfs_client(fake, "sync", "--checksum", "src", "dfs:/backup", "--json")) == [("copy", "one")]


@pytest.mark.usefixtures("here")
def test_a_dry_run_changes_nothing() -> None:
    """It names each step."""
    fake = FakeDfs()
    fake.put("/backup/old")
    ran = dfs_client(fake, "sync", "--delete", "--dry-run", "src", "dfs:/backup")
    assert (ran.code, list(fake.contents)) == (0, ["/backup/old"])
    assert ran.out.splitlines() == [
        "make     sub",
        "make     sub/empty",
        "copy     one",
        "copy     sub/two",
        "delete   old",
    ]


def test_nothing_is_removed_when_the_source_cannot_be_read_whole(here: Path) -> None:
    """What was not seen may not be gone."""
    fake = FakeDfs()
    fake.put("/backup/old")
    (here / "src" / os.fsdecode(b"bad\xff")).touch()
    ran = dfs_client(fake, "sync", "--delete", "src", "dfs:/backup")
    assert (ran.code, "/backup/old" in fake.contents) == (1, True)
    assert "nothing is removed" in ran.err


@pytest.mark.usefixtures("here")
def test_a_failed_file_is_listed_and_the_rest_is_done() -> None:
    """Exit code 1."""
    fake = FakeDfs()
    fake.failures["/backup/one"] = SourceChangedError("src/one changed while it was read; sync again")
    ran = dfs_client(fake, "sync", "src", "dfs:/backup")
    assert (ran.code, list(fake.contents)) == (1, ["/backup/sub/two"])
    assert "one: src/one changed" in ran.err


def test_a_file_in_place_of_a_directory_needs_delete(here: Path) -> None:
    """Without it the conflict is listed."""
    fake = FakeDfs()
    fake.put("/backup/sub", b"file")
    assert dfs_client(fake, "sync", "src", "dfs:/backup").code == 1
    assert dfs_client(fake, "sync", "--delete", "src", "dfs:/backup").code == 0
    assert fake.contents["/backup/sub/two"] == b"22"
    (here / "back").mkdir()
    (here / "back/one").mkdir()
    assert dfs_client(fake, "sync", "--delete", "dfs:/backup", "back").code == 0
    assert (here / "back/one").read_bytes() == b"1"


def test_links_are_skipped_with_a_warning(here: Path) -> None:
    """That alone still exits 0."""
    (here / "src/link").symlink_to("one")
    ran = dfs_client(FakeDfs(), "sync", "src", "dfs:/backup")
    assert (ran.code, ran.err) == (0, "dfs-client: warning: skipped 1 symbolic link\n")


def test_a_directory_that_became_a_link_keeps_what_is_stored_below_it(here: Path) -> None:
    """Also with --delete; the rest is carried out, and the directory itself is not touched."""
    fake = FakeDfs()
    fake.put("/backup/sub/empty/a", b"a")
    fake.put("/backup/one", b"1", (here / "src/one").stat().st_mtime_ns)
    (here / "src/sub/empty").rmdir()
    (here / "src/sub/empty").symlink_to(here)
    (here / "src/one").unlink()
    assert dfs_client(fake, "sync", "--delete", "src", "dfs:/backup").code == 0
    assert fake.contents == {"/backup/sub/empty/a": b"a", "/backup/sub/two": b"22"}


def test_links_and_pipes_below_a_local_directory_keep_it_from_being_replaced(here: Path) -> None:
    """They are never removed, so the file that wants its name is a listed failure."""
    fake = FakeDfs()
    fake.put("/tree/x", b"file")
    (here / "old/x").mkdir(parents=True)
    (here / "old/x/keep").write_bytes(b"k")
    (here / "old/x/link").symlink_to("nowhere")
    os.mkfifo(here / "old/x/pipe")
    ran = dfs_client(fake, "sync", "--delete", "dfs:/tree", "old")
    assert (ran.code, "x: the target's directory holds something" in ran.err) == (1, True)
    assert sorted(path.name for path in (here / "old/x").iterdir()) == ["keep", "link", "pipe"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["src", "back"], 2),
        (["dfs:/a", "dfs:/b"], 2),
        (["absent", "dfs:/a"], 3),
        (["dfs:/absent", "back"], 3),
        (["src/one", "dfs:/a"], 4),
        (["dfs:/file", "back"], 4),
        (["dfs:/", "src/one"], 4),
        (["src", "dfs:/file"], 4),
        (["--delete", "src", "dfs:"], 2),
        (["--delete", "dfs:", "src"], 2),
        (["--delete", "dfs:/", ""], 2),
        (["--delete", "", "dfs:/"], 2),
    ],
)
@pytest.mark.usefixtures("here")
def test_sides_that_make_no_sense_are_refused(arguments: list[str], code: int) -> None:
    """Before anything is changed."""
    fake = FakeDfs()
    fake.put("/file")
    assert dfs_client(fake, "sync", *arguments).code == code
    assert list(fake.contents) == ["/file"]


def test_up_looks_only_at_its_own_names(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else the target holds costs nothing, however much that is; with --delete it has to be known."""
    fake = FakeDfs()
    dfs_client(fake, "sync", "src", "dfs:/backup")
    fake.put("/backup/sub/of another", b"kept")
    walks: list[str] = []
    walk = fake.walk
    monkeypatch.setattr(fake, "walk", lambda path: walks.append(path) or walk(path))
    (here / "src/one").write_bytes(b"changed")
    assert _steps(dfs_client(fake, "sync", "src", "dfs:/backup", "--json")) == [("copy", "one")]
    assert (walks, fake.contents["/backup/sub/of another"]) == ([], b"kept")
    gone = dfs_client(fake, "sync", "--delete", "src", "dfs:/backup", "--json")
    assert (_steps(gone), walks) == ([("delete", "sub/of another")], ["/backup"])


@pytest.mark.parametrize("prefix", ["", "/tree"])
def test_a_path_that_would_leave_the_target_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """Below `/tree`, a master's `/tree//etc` leaves `/etc`; nothing is made there, nor in the target."""
    fake = FakeDfs()
    fake.put("/tree/file")
    outside = here / "outside"
    hostile = Entry(f"{prefix}/{outside}", EntryKind.DIRECTORY, 0, 1, 0o777, 0, b"")
    monkeypatch.setattr(fake, "walk", lambda _path: iter([hostile]))
    ran = dfs_client(fake, "sync", f"dfs:{prefix or '/'}", "back")
    assert (ran.code, "has an empty name" in ran.err) == (2, True)
    assert not outside.exists()
    assert not (here / "back").exists()


def test_a_local_path_stays_below_its_root(here: Path) -> None:
    """Whatever is joined to it."""
    assert str(LocalSide(here, must_exist=True).path("/etc")).startswith(f"{here}/")
