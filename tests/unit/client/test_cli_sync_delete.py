"""`dfs-client sync --delete`: whatever goes wrong, nothing is lost that was not brought over."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.client_cli import Ran, dfs_client
from tests.support.fake_dfs import FakeDfs

from dfs_client.sync_run import TEMPORARY_PREFIX
from dfs_wire.errors import NotAllowedError, TooFewNodesError, UnavailableError

OLD = {"/bk/report.txt": b"report", "/bk/dir/a": b"a", "/bk/dir/b": b"b"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `src`: `report.txt` has another name now, and `dir` is a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/report-final.txt").write_bytes(b"report, final")
    (tmp_path / "src/dir").write_bytes(b"a file")
    return tmp_path


@pytest.fixture
def fake() -> FakeDfs:
    """A store with the tree as it was before."""
    store = FakeDfs()
    for path, content in OLD.items():
        store.put(path, content)
    return store


def up(fake: FakeDfs, *more: str) -> Ran:
    """Sync up, removing."""
    return dfs_client(fake, "sync", "--delete", *more, "src", "dfs:/bk")


def down(fake: FakeDfs, *more: str) -> Ran:
    """Sync down, removing."""
    return dfs_client(fake, "sync", "--delete", *more, "dfs:/bk", "back")


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {str(each.relative_to(directory)): each.read_bytes() for each in directory.rglob("*") if each.is_file()}


def before(monkeypatch: pytest.MonkeyPatch, fake: FakeDfs, method: str, action: Callable[..., object]) -> None:
    """Do something before each call of a method, with its arguments."""
    real = getattr(fake, method)

    def called(*arguments: Any, **named: Any) -> Any:
        action(*arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(fake, method, called)


def refusing(error: BaseException, *texts: str) -> Callable[..., None]:
    """Raise the error where the first argument ends with one of these texts."""

    def judge(first: object, *_: object) -> None:
        if str(first).endswith(texts):
            raise error

    return judge


@pytest.mark.usefixtures("here")
def test_a_file_and_a_directory_change_places(fake: FakeDfs) -> None:
    """The removals come after what is copied, and nothing is left under a temporary name."""
    ran = up(fake, "--json")
    assert [(each["action"], each["path"]) for each in ran.records] == [
        ("copy", "report-final.txt"),
        ("replace", "dir"),
        ("copy", "dir"),
        ("delete", "report.txt"),
    ]
    assert (ran.code, fake.contents) == (0, {"/bk/report-final.txt": b"report, final", "/bk/dir": b"a file"})
    assert up(fake, "--json").out == ""


def test_a_directory_takes_the_place_of_a_file_with_all_it_holds(here: Path) -> None:
    """In both directions, with times and modes, also of what is deep below."""
    fake = FakeDfs()
    fake.put("/bk/sub/x", b"file")
    (here / "src/sub/x/deep/empty").mkdir(parents=True)
    (here / "src/sub/x/deep/f").write_bytes(b"f")
    (here / "src/sub/x/deep").chmod(0o750)
    (here / "back/sub").mkdir(parents=True)
    (here / "back/sub/x").write_bytes(b"file")
    assert up(fake).code == 0
    assert fake.entries["/bk/sub/x/deep"].mode == 0o750
    assert down(fake).code == 0
    assert contents(here / "back") == contents(here / "src")
    assert (here / "back/sub/x/deep").stat().st_mode & 0o777 == 0o750
    assert (here / "back/sub/x/deep/empty").is_dir()
    assert (up(fake, "--json").out, down(fake, "--json").out) == ("", "")


@pytest.mark.usefixtures("here")
def test_nothing_is_removed_where_nothing_could_be_copied(fake: FakeDfs, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too few nodes the store keeps what it has."""
    before(monkeypatch, fake, "upload", refusing(TooFewNodesError("too few nodes"), ""))
    ran = up(fake)
    assert (ran.code, fake.contents) == (1, OLD)
    assert "nothing is removed" in ran.err
    assert "0 deleted" in ran.out


@pytest.mark.parametrize("lost", ["src/report-final.txt", "src/dir"])
@pytest.mark.usefixtures("here")
def test_nothing_is_removed_where_one_file_failed(fake: FakeDfs, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """It may be what a file that would go is called now; and no temporary name stays."""
    before(monkeypatch, fake, "upload", refusing(NotAllowedError(f"{lost} may not be read"), lost))
    ran = up(fake)
    assert (ran.code, OLD.items() <= fake.contents.items()) == (1, True)
    assert "dir: is not replaced" in ran.err
    assert not [path for path in fake.paths() if TEMPORARY_PREFIX in path]


@pytest.mark.parametrize("lost", ["/bk/new", "/bk/x"])
def test_down_removes_nothing_either(here: Path, lost: str) -> None:
    """Whichever file could not be fetched."""
    fake = FakeDfs()
    fake.put("/bk/new", b"new")
    fake.put("/bk/x", b"file")
    fake.failures[lost] = UnavailableError("no node answers")
    (here / "back/x").mkdir(parents=True)
    (here / "back/x/keep").write_bytes(b"k")
    (here / "back/old").write_bytes(b"o")
    assert down(fake).code == 1
    found = contents(here / "back")
    assert {name: found[name] for name in found if name != "new"} == {"x/keep": b"k", "old": b"o"}


def test_an_end_in_the_middle_leaves_the_old_and_the_next_run_cleans_up(here: Path) -> None:
    """A Ctrl-C while the new comes under its temporary name."""
    fake = FakeDfs()
    fake.put("/bk/x/one", b"1")
    fake.put("/bk/x/two", b"2")
    fake.failures["/bk/x/two"] = KeyboardInterrupt()
    (here / "back").mkdir()
    (here / "back/x").write_bytes(b"old")
    assert down(fake).code == 130
    assert (here / "back/x").read_bytes() == b"old"
    fake.failures.clear()
    assert down(fake).code == 0
    assert contents(here / "back") == {"x/one": b"1", "x/two": b"2"}


@pytest.mark.usefixtures("here")
def test_the_old_comes_back_where_the_new_cannot_take_its_name(fake: FakeDfs, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the new is gone again."""
    before(monkeypatch, fake, "rename", refusing(UnavailableError("the master went away"), ".new"))
    ran = up(fake)
    assert (ran.code, "dir: the master went away" in ran.err) == (1, True)
    assert fake.contents == {**OLD, "/bk/report-final.txt": b"report, final"}


@pytest.mark.usefixtures("here")
def test_both_stay_where_neither_gets_the_name(fake: FakeDfs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old is listed under the name that it has."""
    before(monkeypatch, fake, "rename", refusing(UnavailableError("the master went away"), ".new", ".old"))
    ran = up(fake)
    assert (ran.code, ".old: the master went away" in ran.err) == (1, True)
    assert sorted(fake.contents.values()) == sorted([*OLD.values(), b"report, final", b"a file"])


@pytest.mark.usefixtures("here")
def test_what_came_or_changed_meanwhile_is_not_removed(fake: FakeDfs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else stored it while we copied; it is a failure to be told, and the next run sees it."""
    fake.put("/bk/gone/x", b"x")

    def others(_source: object, path: str) -> None:
        if path.endswith("report-final.txt"):
            fake.put("/bk/gone/of another", b"new")
            fake.put("/bk/dir/a", b"a, edited")

    before(monkeypatch, fake, "upload", others)
    ran = up(fake)
    assert ran.code == 1
    assert (fake.contents["/bk/gone/of another"], fake.contents["/bk/dir/a"]) == (b"new", b"a, edited")
    assert "dir: changed in the target" in ran.err
    assert not [path for path in fake.paths() if TEMPORARY_PREFIX in path]


def test_down_leaves_what_came_meanwhile(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was saved, a link, a name that is not UTF-8; what did not change goes."""
    fake = FakeDfs()
    fake.put("/bk/f", b"f")
    for name in ("saved", "linked", "named", "same"):
        (here / "back" / name).mkdir(parents=True)
        (here / "back" / name / "old").write_bytes(b"o")

    def others(*_: object) -> None:
        (here / "back/saved/old").write_bytes(b"edited")
        (here / "back/linked/link").symlink_to("nowhere")
        (here / "back/named" / os.fsdecode(b"bad\xff")).touch()

    before(monkeypatch, fake, "download", others)
    ran = down(fake)
    assert (ran.code, ran.err.count("changed in the target")) == (1, 3)
    assert sorted(path.name for path in (here / "back").iterdir()) == ["f", "linked", "named", "saved"]


@pytest.mark.usefixtures("here")
def test_what_is_gone_already_is_no_failure(fake: FakeDfs, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what was wanted."""
    before(monkeypatch, fake, "remove_many", lambda paths: [fake.remove(each) for each in paths if "report" in each])
    assert up(fake).code == 0


def test_an_empty_source_removes_nothing(here: Path, fake: FakeDfs) -> None:
    """In either direction: a disk that is not mounted looks like that."""
    (here / "empty").mkdir()
    ran = dfs_client(fake, "sync", "--delete", "empty", "dfs:/bk")
    assert (ran.code, "empty is empty" in ran.err, fake.contents) == (4, True, OLD)
    fake.make_directory("/void")
    assert dfs_client(fake, "sync", "--delete", "dfs:/void", "src").code == 4
    assert sorted(contents(here / "src")) == ["dir", "report-final.txt"]
    assert dfs_client(fake, "sync", "--delete", "empty", "dfs:/void").code == 0


def test_a_dry_run_removes_nothing_where_the_run_would_not(here: Path) -> None:
    """A conflict is a failure that is known before."""
    fake = FakeDfs()
    for name in ("link", "x", "new"):
        fake.put(f"/bk/{name}")
    (here / "back/x").mkdir(parents=True)
    (here / "back/old").touch()
    (here / "back/link").symlink_to("nowhere")
    ran = down(fake, "-n")
    assert (ran.code, ran.out) == (1, "copy     new\n")
    assert "nothing is removed" in ran.err
    assert down(fake).code == 1
    assert sorted(path.name for path in (here / "back").iterdir()) == ["link", "new", "old", "x"]
