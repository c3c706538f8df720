"""Names: walking a path, pages of a directory, policies, sums over trees."""

import pytest
from tests.support.catalog import CatalogBuilder, digest_of

from dfs_master.catalog.models import REMOVED_ENTRY_ID, ROOT_ENTRY_ID
from dfs_master.catalog.reader import Reader
from dfs_master.catalog.reader_tree import Policy
from dfs_wire.errors import NotFoundError, UsageError
from dfs_wire.messages import AddressSet, Copy, Entry, EntryKind, UsageRow


def test_the_root_is_there_from_the_start(reader: Reader) -> None:
    """A fresh catalog has one directory that a name leads to."""
    root = reader.resolve("/")
    assert root is not None
    assert (root.id, root.kind) == (ROOT_ENTRY_ID, "directory")
    assert reader.list_page("/", "", 10) == ([], False)


def test_a_path_resolves_name_by_name(reader: Reader, build: CatalogBuilder) -> None:
    """The whole path must exist; a file has nothing below it."""
    inner = build.directory("b", build.directory("a"))
    version = build.file("c", inner)
    found = reader.resolve("/a/b/c")
    assert found is not None
    assert (found.version_id, found.parent_id) == (version, inner)
    assert reader.resolve("a//b/") == reader.resolve("/a/b")
    assert reader.resolve("/a/x") is None
    assert reader.resolve("/a/b/c/d") is None


def test_unicode_twins_and_control_characters_are_names_of_their_own(reader: Reader, build: CatalogBuilder) -> None:
    """Names compare by their bytes."""
    versions = {name: build.file(name) for name in ("\u00e9", "e\u0301", "A", "a", "line\nbreak", "\U0001f600")}
    for name, version in versions.items():
        found = reader.resolve("/" + name)
        assert found is not None
        assert (found.name, found.version_id) == (name, version)
    names = [entry.path[1:] for entry in reader.list_page("/", "", 10)[0]]
    assert names == sorted(versions)


def test_stat_tells_the_entry_and_its_policy(reader: Reader, build: CatalogBuilder) -> None:
    """The nearest directory with copies decides, else the cluster's setting."""
    build.setting("copies", "4")
    safe = build.directory("safe", copies=3)
    build.directory("deep", safe)
    version = build.file("f", safe, chunks=[(build.chunk("x", 5), 5)])
    build.file("g")
    entry = Entry("/safe/f", EntryKind.FILE, 5, 9_000_000_001, 0o640, version, digest_of("f"))
    assert reader.stat("/safe/f") == (entry, 3, "/safe")
    assert reader.stat("/g")[1:] == (4, "")
    directory = Entry("/safe", EntryKind.DIRECTORY, 0, 7_000_000_000, 0o750, 0, b"")
    assert reader.stat("/safe/") == (directory, 3, "/safe")
    assert reader.policy("/safe/deep/not/yet") == Policy(3, "/safe")
    assert reader.policy("/not/yet") == Policy(4, "")


def test_the_default_is_two_copies(reader: Reader) -> None:
    """A database that says nothing asks for two."""
    assert reader.policy("/") == Policy(2, "")


@pytest.mark.parametrize("path", ["/nothing", "/nothing/below", "/f/below"])
def test_what_is_not_there_is_named(reader: Reader, build: CatalogBuilder, path: str) -> None:
    """Every read says which path it did not find."""
    build.file("f")
    for read in (reader.stat, reader.disk_usage, reader.open_version, lambda path: reader.list_page(path, "", 1)):
        with pytest.raises(NotFoundError, match=path):
            read(path)


def test_pages_join_without_gap_or_repeat(reader: Reader, build: CatalogBuilder) -> None:
    """Pages by name: the next begins behind the last name, `more` is true exactly while there is one."""
    directory = build.directory("d")
    for number in range(7):
        build.file(f"f{number}", directory)
    names: list[str] = []
    more, after = True, ""
    while more:
        page, more = reader.list_page("/d", after, 3)
        names += [entry.path for entry in page]
        after = page[-1].path.rpartition("/")[2]
    assert names == [f"/d/f{number}" for number in range(7)]
    assert reader.list_page("/d", "f3", 3) == (reader.list_page("/d", "", 7)[0][4:], False)


def test_a_file_lists_itself(reader: Reader, build: CatalogBuilder) -> None:
    """`list FILE` is one line."""
    build.file("f")
    assert reader.list_page("/f", "", 10) == ([reader.stat("/f")[0]], False)


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_page_has_a_limit(reader: Reader, limit: int) -> None:
    """Nobody asks for everything at once."""
    with pytest.raises(UsageError, match="page"):
        reader.list_page("/", "", limit)


def test_a_list_names_every_holder_of_good_copies(reader: Reader, build: CatalogBuilder) -> None:
    """With `copies` each file has the nodes of all its chunks, by name, at the address the caller can reach."""
    for node in (1, 2, 3):
        build.node(node)
    first, second = build.chunk("a", 8, [2, 1]), build.chunk("b", 8, [3, 2])
    build.file("f", chunks=[(first, 8), (second, 8)])
    build.file("empty")
    build.execute("UPDATE replicas SET state = 'bad' WHERE node_id = 3")
    (empty, full), _ = reader.list_page("/", "", 10, copies=True)
    assert empty.copies == []
    assert full.copies == [Copy("node-1", "127.0.0.1:5001"), Copy("node-2", "127.0.0.1:5002")]
    inside = reader.list_page("/f", "", 10, copies=True, address_set=AddressSet.CLUSTER)[0][0].copies
    assert inside == [Copy("node-1", "node-1:5001"), Copy("node-2", "node-2:5001")]


def test_disk_usage_sums_each_child(reader: Reader, build: CatalogBuilder) -> None:
    """The tree first, then its direct children by name; removed trees do not count."""
    chunk = build.chunk("x", 10)
    top = build.directory("top")
    build.file("one", build.directory("inner", top), chunks=[(chunk, 10)])
    build.file("two", build.directory("deeper", build.directory("a", top)), chunks=[(chunk, 4)])
    build.file("three", top)
    build.file("gone", build.directory("99", REMOVED_ENTRY_ID), chunks=[(chunk, 10)])
    assert reader.disk_usage("/top") == [
        UsageRow("/top", 3, 4, 14),
        UsageRow("/top/a", 1, 2, 4),
        UsageRow("/top/inner", 1, 1, 10),
        UsageRow("/top/three", 1, 0, 0),
    ]
    assert reader.disk_usage("/") == [UsageRow("/", 3, 5, 14), UsageRow("/top", 3, 4, 14)]
    assert reader.disk_usage("/top/inner/one") == [UsageRow("/top/inner/one", 1, 0, 10)]


def test_a_snapshot_sees_one_moment(reader: Reader, build: CatalogBuilder) -> None:
    """Reads inside a snapshot do not see a commit that came between them; the next one does."""
    with reader.snapshot():
        assert reader.resolve("/new") is None
        build.file("new")
        assert reader.resolve("/new") is None
    assert reader.resolve("/new") is not None


def test_an_error_ends_the_snapshot(reader: Reader, build: CatalogBuilder) -> None:
    """A refused read leaves no transaction open."""
    with pytest.raises(NotFoundError):
        reader.stat("/new")
    build.file("new")
    assert reader.stat("/new")[0].path == "/new"
