"""Paths are stored exactly or refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs_wire.errors import UsageError
from dfs_wire.limits import PATH_BYTES_MAX
from dfs_wire.paths import join_path, split_path

_NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(_NAMES, max_size=8).map(tuple))
def test_names_come_back_exactly(names: tuple[str, ...]) -> None:
    """What is split is what was joined, Unicode twins and control characters included."""
    assert split_path(join_path(names)) == names


@pytest.mark.parametrize("path", ["/", "//", "///"])
def test_the_root_has_no_names(path: str) -> None:
    """`/` is the root, however often it is written."""
    assert split_path(path) == ()


@pytest.mark.parametrize("path", ["/a/b", "a/b", "/a/b/", "//a///b//", "a//b"])
def test_slashes_only_separate(path: str) -> None:
    """A missing leading, a trailing and repeated slashes change nothing."""
    assert split_path(path) == ("a", "b")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "\U0001f600" * 63, "a\\b", "*", " ", "a\nb", "\x9b", "..."])
def test_names_up_to_the_limit_are_taken(name: str) -> None:
    """255 bytes of UTF-8 fit; odd characters are data."""
    assert split_path(f"/d/{name}") == ("d", name)


def test_unicode_twins_are_two_names() -> None:
    """The composed and the decomposed form of a letter stay apart."""
    assert split_path("/\u00e9") != split_path("/e\u0301")


def test_the_longest_path_is_taken() -> None:
    """4,095 bytes fit, the leading slash counted."""
    names = split_path("/x" * 2_047 + "y")
    assert len(join_path(names)) == PATH_BYTES_MAX


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "is empty"),
        ("/./a", "holds the name"),
        ("/a/..", "holds the name"),
        ("..", "holds the name"),
        ("/a\0", "NUL"),
        ("/\udcff", "UTF-8"),
        ("/" + "x" * 256, "over 255 bytes"),
        ("/" + "é" * 128, "over 255 bytes"),
        ("/x" * 2_048, "over the limit of 4095"),
    ],
)
def test_bad_paths_are_refused_with_the_reason(path: str, reason: str) -> None:
    """Each fault has its own sentence."""
    with pytest.raises(UsageError, match=reason):
        split_path(path)
