"""Remote paths as people write them."""

import pytest

from dfs_client.remote_paths import (
    join,
    last_name,
    means_contents,
    means_directory,
    relative_to,
    remote_path,
)
from dfs_wire.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/", "/"),
        ("a", "/a"),
        ("/a", "/a"),
        ("a/b/", "/a/b"),
        ("//a///b", "/a/b"),
        ("./a/./b", "/a/b"),
        ("...", "/..."),
        (" a ", "/ a "),
        ("ä\u0308", "/ä\u0308"),
    ],
)
def test_a_path_is_brought_to_its_one_form(text: str, expected: str) -> None:
    """The leading slash may be missing; names are never changed."""
    assert remote_path(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("x", "/dir/x"), (".", "/dir"), ("/x", "/x"), ("./x/y", "/dir/x/y"), ("/", "/")]
)
def test_a_relative_path_starts_from_the_base(text: str, expected: str) -> None:
    """In the terminal `cd` moves the base."""
    assert remote_path(text, "/dir") == expected


@pytest.mark.parametrize("text", ["", "a/../b", "..", "a\0b", "\udcff", "x" * 256, "a/" * 2_100])
def test_what_the_store_refuses_is_a_usage_error(text: str) -> None:
    """Refused here, before anything is sent."""
    with pytest.raises(UsageError):
        remote_path(text)


def test_spelling_says_whether_a_directory_or_contents_are_meant() -> None:
    """As for `cp`."""
    assert [means_directory(text) for text in ("a/", "a/.", ".", "/", "a", "a.")] == [True] * 4 + [False] * 2
    assert [means_contents(text) for text in ("/", ".", "a/.", "..", "a/..", "a/", "a")] == [True] * 5 + [False] * 2


def test_joining_and_splitting_are_inverse() -> None:
    """Also at the root, which ends with its slash."""
    assert join("/", "a") == "/a"
    assert join("/a", "b/c") == "/a/b/c"
    assert join("/a", "") == "/a"
    assert relative_to("/a/b/c", "/a") == "b/c"
    assert relative_to("/a", "/") == "a"
    assert relative_to("/a", "/a") == ""
    assert last_name("a/b/") == "b"
    with pytest.raises(ValueError, match="not below"):
        relative_to("/ab", "/a")
