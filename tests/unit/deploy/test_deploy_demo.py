"""How the demo compares what came back."""

import hashlib
from pathlib import Path

import pytest

from dfs_deploy.demo import checksum, same_tree


def make_tree(root: Path) -> Path:
    """Two files and an empty directory."""
    (root / "a" / "empty").mkdir(parents=True)
    (root / "a" / "file").write_bytes(b"one")
    (root / "other").write_bytes(b"two")
    return root


def test_equal_trees_are_equal(tmp_path: Path) -> None:
    """Names and bytes."""
    assert same_tree(make_tree(tmp_path / "x"), make_tree(tmp_path / "y"))


@pytest.mark.parametrize("difference", ["bytes", "more", "less"])
def test_any_difference_is_seen(tmp_path: Path, difference: str) -> None:
    """Other bytes of the same length, a name too many, a name too few."""
    one, other = make_tree(tmp_path / "x"), make_tree(tmp_path / "y")
    if difference == "bytes":
        (other / "a" / "file").write_bytes(b"ONE")
    elif difference == "more":
        (other / "more").mkdir()
    else:
        (other / "other").unlink()
    assert not same_tree(one, other)


def test_the_checksum_is_sha256(tmp_path: Path) -> None:
    """What `sha256sum` prints."""
    (tmp_path / "file").write_bytes(b"content")
    assert checksum(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
