"""The rules of `cp` for a destination."""

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from dfs_client.destinations import Source, destination, place, source, split_arguments, standard_input, unusable
from dfs_wire.errors import DfsError, UsageError, WrongKindError
from dfs_wire.messages import EntryKind

FILE, DIRECTORY = EntryKind.FILE, EntryKind.DIRECTORY


@pytest.mark.parametrize(
    ("text", "source_kind", "dest", "dest_kind", "expected"),
    [
        ("big.bin", FILE, "/", DIRECTORY, "/big.bin"),
        ("big.bin", FILE, "/big.bin", None, "/big.bin"),
        ("big.bin", FILE, "/big.bin", FILE, "/big.bin"),
        ("dir/big.bin", FILE, "/x", DIRECTORY, "/x/big.bin"),
        ("dir/big.bin", FILE, "/x/", None, "/x/big.bin"),
        ("src", DIRECTORY, "/tree/", None, "/tree/src"),
        ("src/", DIRECTORY, "/tree/", DIRECTORY, "/tree/src"),
        ("src", DIRECTORY, "/tree", DIRECTORY, "/tree/src"),
        ("src", DIRECTORY, "/tree", None, "/tree"),
        ("src/.", DIRECTORY, "/tree", DIRECTORY, "/tree"),
        (".", DIRECTORY, "/tree", DIRECTORY, "/tree"),
        ("..", DIRECTORY, "/tree/", None, "/tree"),
        ("/", DIRECTORY, "/tree", DIRECTORY, "/tree"),
        ("src", DIRECTORY, "/", DIRECTORY, "/src"),
        ("src", DIRECTORY, "/x/.", DIRECTORY, "/x/src"),
    ],
)
def test_one_source_gets_the_path_that_cp_would_give_it(
    text: str, source_kind: EntryKind, dest: str, dest_kind: EntryKind | None, expected: str
) -> None:
    """A directory or a trailing slash takes the name inside; anything else is the new name."""
    path = "/" + dest.strip("/").removesuffix(".").strip("/")
    assert place([source(text, source_kind)], destination(dest, path, dest_kind)) == [expected]


@pytest.mark.parametrize("spelling", ["f", "./f", "d", "d/", "d/.", "d/sub", "d/sub/.."])
@pytest.mark.parametrize("dest", ["absent", "file", "dir", "dir/", "dir/.", "file/"])
def test_single_sources_agree_with_cp_itself(tmp_path: Path, spelling: str, dest: str) -> None:
    """Whatever `cp -r` makes of a source and a destination, `place` says the same."""
    _make_scene(tmp_path)
    _compare_with_cp(tmp_path, [spelling], dest)


@pytest.mark.parametrize("pair", list(itertools.permutations(["f", "d", "g"], 2)))
@pytest.mark.parametrize("dest", ["absent", "file", "dir", "dir/"])
def test_several_sources_agree_with_cp_itself(tmp_path: Path, pair: tuple[str, str], dest: str) -> None:
    """Several sources need a directory."""
    _make_scene(tmp_path)
    _compare_with_cp(tmp_path, list(pair), dest)


def _make_scene(root: Path) -> None:
    for name in ("f", "g", "file"):
        (root / name).write_text(name)
    (root / "d/sub").mkdir(parents=True)
    (root / "d/inner").write_text("inner")
    (root / "dir").mkdir()


def _compare_with_cp(root: Path, sources: list[str], dest: str) -> None:
    path = root / dest
    kind = DIRECTORY if path.is_dir() else FILE if (root / dest.rstrip("/")).exists() else None
    before = _everything(root)
    try:
        kinds = [DIRECTORY if (root / each).is_dir() else FILE for each in sources]
        found = [source(each, each_kind) for each, each_kind in zip(sources, kinds, strict=True)]
        placed: list[str] | None = place(found, destination(dest, dest.rstrip("/").removesuffix("/."), kind))
    except DfsError:
        placed = None
    copied = subprocess.run(["cp", "-r", *sources, dest], cwd=root, capture_output=True, check=False)
    assert (placed is not None) == (copied.returncode == 0), copied.stderr
    if placed is None:
        return
    for each, new in zip(sources, placed, strict=True):
        assert (root / new).exists()
        if (root / each).is_dir():
            assert {child.name for child in (root / each).iterdir()} <= {child.name for child in (root / new).iterdir()}
    made = {path for path in _everything(root) - before if not any(str(path).startswith(new + "/") for new in placed)}
    assert made <= {Path(new) for new in placed}


def _everything(root: Path) -> set[Path]:
    return {
        Path(folder, name).relative_to(root) for folder, *names in os.walk(root) for name in itertools.chain(*names)
    }


def test_a_trailing_slash_on_a_file_is_refused() -> None:
    """`file/` can only be meant as a directory."""
    with pytest.raises(WrongKindError, match="leave out the /"):
        place([source("a", FILE)], destination("/file/", "/file", FILE))


def test_a_directory_cannot_replace_a_file() -> None:
    """The refusal names both."""
    with pytest.raises(WrongKindError, match="/file is a file and cannot take the directory src"):
        place([source("src", DIRECTORY)], destination("/file", "/file", FILE))


def test_several_sources_need_a_directory() -> None:
    """The sentence says how to make one."""
    several = [source("a", FILE), source("b", FILE)]
    with pytest.raises(UsageError, match="write /new/ to make one"):
        place(several, destination("/new", "/new", None))
    with pytest.raises(WrongKindError, match="several sources"):
        place(several, destination("/file", "/file", FILE))
    assert place(several, destination("/new/", "/new", None)) == ["/new/a", "/new/b"]


def test_two_sources_never_share_a_new_path() -> None:
    """The second would silently replace the first."""
    with pytest.raises(UsageError, match="x/a and y/a would both become /dir/a"):
        place([source("x/a", FILE), source("y/a", FILE)], destination("/dir/", "/dir", None))


def test_contents_of_several_directories_may_merge() -> None:
    """`a/. b/.` go into one directory on purpose."""
    both = [source("a/.", DIRECTORY), source("b/.", DIRECTORY)]
    assert place(both, destination("/dir", "/dir", DIRECTORY)) == ["/dir", "/dir"]


def test_standard_input_needs_a_whole_name() -> None:
    """There is no name to put inside a directory."""
    assert place([standard_input()], destination("/x", "/x", None)) == ["/x"]
    with pytest.raises(UsageError, match="such as /dir/NAME"):
        place([standard_input()], destination("/dir", "/dir", DIRECTORY))


def test_a_source_that_failed_still_counts() -> None:
    """One of two sources cannot be read: the destination must be a directory all the same."""
    with pytest.raises(UsageError, match="several sources"):
        place([source("a", FILE), unusable("gone")], destination("/new", "/new", None))


def test_a_source_takes_its_name_from_the_normal_path() -> None:
    """In the terminal `./x` and `x` are the same file."""
    assert source("./a/x", FILE, "/a/x") == Source("./a/x", FILE, "x")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["a"], (["a"], "/")), (["a", "b"], (["a"], "b")), (["a", "b", "c"], (["a", "b"], "c"))],
)
def test_the_last_of_several_arguments_is_the_destination(
    arguments: list[str], expected: tuple[list[str], str]
) -> None:
    """With one argument it is the default."""
    assert split_arguments(arguments, "/") == expected


def test_no_argument_is_a_usage_error() -> None:
    """There must be a source."""
    with pytest.raises(UsageError):
        split_arguments([], "/")
