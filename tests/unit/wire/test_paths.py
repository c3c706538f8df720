"""Paths are stored exactly or refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs_wire.errors import UsageError
from dfs_wire.paths import join_path, split_path

_NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))


@given(st.lists(_NAMES, max_size=8).map(tuple))
def test_names_come_back_exactly(names: tuple[str, ...]) -> None:
    """What is split is what was joined, Unicode twins included."""
    assert split_path(join_path(names)) == names


def test_the_root_has_no_names() -> None:
    """`/` is the root."""
    assert split_path("/") == ()


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "\U0001f600" * 63, "a\\b", "*", " "])
def test_names_up_to_the_limit_are_taken(name: str) -> None:
    """255 bytes of UTF-8 fit; odd characters are data."""
    assert split_path(f"/d/{name}") == ("d", name)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "not an absolute"),
        ("a/b", "not an absolute"),
        ("//", "leave out"),
        ("/a//b", "leave out"),
        ("/a/", "leave out"),
        ("/./a", "leave out"),
        ("/a/..", "leave out"),
        ("/a\0", "control"),
        ("/a\nb", "control"),
        ("/a\x9b", "control"),
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
