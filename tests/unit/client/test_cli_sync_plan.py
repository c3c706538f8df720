"""What `sync` decides to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs_client.sync import SyncItem, Tree, plan_sync, same_size_and_time
from dfs_wire.messages import EntryKind

FILE, DIRECTORY = EntryKind.FILE, EntryKind.DIRECTORY


def tree(*items: SyncItem) -> Tree:
    """A tree by relative path."""
    return {item.relative: item for item in items}


def file(relative: str, size: int = 1, mtime_ns: int = 1_000) -> SyncItem:
    """A file."""
    return SyncItem(relative, FILE, size, mtime_ns, 0o644)


def directory(relative: str, mtime_ns: int = 0) -> SyncItem:
    """A directory."""
    return SyncItem(relative, DIRECTORY, 0, mtime_ns, 0o755)


def other(relative: str) -> SyncItem:
    """A symbolic link or socket."""
    return SyncItem(relative, None, 0, 0, 0)


def test_equal_trees_need_nothing() -> None:
    """Times are compared to the microsecond."""
    source = tree(directory("d"), file("d/f", mtime_ns=5_000_999))
    target = tree(directory("d"), file("d/f", mtime_ns=5_000_001))
    plan = plan_sync(source, target, same=same_size_and_time, delete=True)
    assert (plan.make, plan.copy, plan.delete, plan.touch, plan.replace) == ([], [], [], [], [])


@pytest.mark.parametrize("changed", [file("f", size=2), file("f", mtime_ns=9_000)])
def test_another_size_or_time_is_copied(changed: SyncItem) -> None:
    """Either alone is enough."""
    assert plan_sync(tree(changed), tree(file("f")), same=same_size_and_time, delete=False).copy == ["f"]


def test_with_checksum_only_content_counts() -> None:
    """The comparison is asked for files that both sides have, and for no others."""
    asked: list[str] = []

    def same(source: SyncItem, _target: SyncItem) -> bool:
        asked.append(source.relative)
        return source.relative == "equal"

    source = tree(file("equal", mtime_ns=1), file("changed"), file("new"), directory("d"))
    target = tree(file("equal", mtime_ns=2), file("changed"), directory("d"))
    assert plan_sync(source, target, same=same, delete=False).copy == ["changed", "new"]
    assert asked == ["changed", "equal"]


def test_directories_are_made_parents_first() -> None:
    """Names sort by component: `a-b` is not below `a`."""
    source = tree(directory("a/b"), directory("a-b"), directory("a"))
    assert plan_sync(source, {}, same=same_size_and_time, delete=False).make == ["a", "a/b", "a-b"]


def test_delete_names_the_top_of_what_goes() -> None:
    """And nothing without --delete."""
    target = tree(directory("old"), file("old/x"), directory("kept"), file("kept/y"), file("z"))
    source = tree(directory("kept"))
    assert plan_sync(source, target, same=same_size_and_time, delete=True).delete == ["kept/y", "old", "z"]
    assert plan_sync(source, target, same=same_size_and_time, delete=False).delete == []


def test_what_cannot_be_stored_is_neither_copied_nor_deleted() -> None:
    """On either side; a directory that holds such a thing stays with it."""
    plan = plan_sync(
        tree(other("link"), file("f")),
        tree(file("link"), directory("d"), other("d/socket"), file("d/x"), file("f")),
        same=same_size_and_time,
        delete=True,
    )
    assert (plan.copy, plan.delete) == ([], ["d/x"])


def test_a_file_over_something_special_is_a_conflict() -> None:
    """Even with --delete."""
    plan = plan_sync(tree(file("f")), tree(other("f")), same=same_size_and_time, delete=True)
    assert [relative for relative, _ in plan.conflicts] == ["f"]


def test_what_stood_where_the_source_has_a_link_now_stays() -> None:
    """What the link means is not looked at, so nothing is known to be gone."""
    source = tree(directory("photos"), other("photos/2020"))
    target = tree(directory("photos"), directory("photos/2020"), file("photos/2020/a"), file("photos/old"))
    assert plan_sync(source, target, same=same_size_and_time, delete=True).delete == ["photos/old"]


def test_a_directory_that_holds_something_special_is_not_replaced() -> None:
    """Nor is anything removed from it."""
    source = tree(file("d"), file("e"))
    target = tree(directory("d"), directory("d/deep"), other("d/deep/pipe"), file("d/keep"), directory("e"))
    plan = plan_sync(source, target, same=same_size_and_time, delete=True)
    assert [relative for relative, _ in plan.conflicts] == ["d"]
    assert (plan.replace, plan.copy, plan.delete) == (["e"], ["e"], [])


def test_nothing_is_copied_through_a_link_of_the_target() -> None:
    """Also where the source does not name the directory itself, as no honest one does."""
    plan = plan_sync(tree(file("out/f")), tree(other("out")), same=same_size_and_time, delete=False)
    assert ([relative for relative, _ in plan.conflicts], plan.copy) == (["out/f"], [])


def test_a_file_over_a_directory_needs_delete() -> None:
    """And the other way round; below a conflict nothing is tried."""
    source = tree(directory("a"), file("a/x"), file("b"))
    target = tree(file("a"), directory("b"), file("b/y"))
    plan = plan_sync(source, target, same=same_size_and_time, delete=False)
    assert ([relative for relative, _ in plan.conflicts], plan.make, plan.copy) == (["a", "b"], [], [])
    plan = plan_sync(source, target, same=same_size_and_time, delete=True)
    assert (plan.replace, plan.make, plan.copy, plan.delete) == (["a", "b"], ["a"], ["a/x", "b"], [])


def test_a_directory_with_another_time_is_touched() -> None:
    """Nothing is transferred."""
    plan = plan_sync(tree(directory("d", 5_000)), tree(directory("d")), same=same_size_and_time, delete=False)
    assert (plan.touch, plan.make) == (["d"], [])


_names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
_trees = st.dictionaries(_names, st.sampled_from([FILE, DIRECTORY]), max_size=8)


def _grown(kinds: dict[str, EntryKind]) -> Tree:
    """A tree that can exist: what has something below it is a directory."""
    found: dict[str, SyncItem] = {}
    for relative, kind in kinds.items():
        names = relative.split("/")
        for count in range(1, len(names)):
            parent = "/".join(names[:count])
            found[parent] = directory(parent)
        if relative not in found:
            found[relative] = file(relative, size=len(relative)) if kind is FILE else directory(relative)
    return {
        relative: directory(relative) if any(each.startswith(relative + "/") for each in found) else item
        for relative, item in found.items()
    }


@given(_trees, _trees)
def test_carrying_a_plan_out_makes_the_trees_equal(left: dict[str, EntryKind], right: dict[str, EntryKind]) -> None:
    """With --delete, whatever the two trees were."""
    source, target = _grown(left), dict(_grown(right))
    plan = plan_sync(source, target, same=same_size_and_time, delete=True)
    for top in (*plan.replace, *plan.delete):
        target = {name: item for name, item in target.items() if name != top and not name.startswith(top + "/")}
    for name in (*plan.make, *plan.copy, *plan.touch):
        parent = name.rpartition("/")[0]
        assert not parent or target[parent].kind is DIRECTORY
        target[name] = source[name]
    assert target == source
    assert plan.conflicts == []
