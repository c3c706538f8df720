"""Many names or versions at once say what one at a time would; pages of whole trees leave nothing out."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.catalog import CatalogBuilder, digest_of, new_database

from dfs_master.catalog.engine import open_engine
from dfs_master.catalog.reader import Reader
from dfs_master.catalog.reader_batches import ReadableVersion
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import DfsError, NotFoundError, TooLargeError, UsageError, VersionGoneError, WrongKindError
from dfs_wire.limits import BATCH_EXTENTS_MAX
from dfs_wire.messages import AddressSet, Copy, Entry


def walk(reader: Reader, path: str) -> list[Entry]:
    """A whole tree by pages of single directories."""
    page, more = reader.list_page(path, "", 1_000)
    assert not more
    return [each for entry in page for each in (entry, *(walk(reader, entry.path) if not entry.version else ()))]


def pages(reader: Reader, path: str, limit: int) -> list[Entry]:
    """A whole tree by pages of it."""
    found: list[Entry] = []
    after, more = "", True
    while more:
        page, more = reader.list_page(path, after, limit, recursive=True)
        assert len(page) <= limit
        assert page or not more
        found += page
        after = found[-1].path.removeprefix(path).lstrip("/") if found else ""
    return found


# -- stat_many -------------------------------------------------------------------------------------------------


def test_many_stats_equal_single_ones(reader: Reader, build: CatalogBuilder) -> None:
    """Files, directories, the root, twice the same, at any depth; each in its place."""
    inner = build.directory("b", build.directory("a"))
    for number in range(300):
        build.file(f"f{number}", inner)
    paths = ["/a", "/", "/a/b/f7", "/a/b/f7", "a//b/", *(f"/a/b/f{number}" for number in range(300))]
    assert reader.stat_many(paths) == [reader.stat(path)[0] for path in paths]


def test_a_name_that_is_not_there_spoils_no_other(reader: Reader, build: CatalogBuilder) -> None:
    """Each path has its own error."""
    build.file("f")
    found = reader.stat_many(["/f", "/g", "/f/below", "/x/y/z", "/a/../b", ""])
    kinds = [type(each) for each in found]
    assert kinds == [Entry, NotFoundError, NotFoundError, NotFoundError, UsageError, UsageError]


# -- open_many -------------------------------------------------------------------------------------------------


def test_many_files_of_one_chunk_name_it_once(reader: Reader, build: CatalogBuilder) -> None:
    """By path or by version, with where each lies; the chunk comes once with its good copies."""
    for node in (1, 2, 3):
        build.node(node)
    chunk = build.chunk("pack", 900, nodes=(1, 3))
    versions = [build.file(f"f{number}", chunks=[(chunk, 3)]) for number in range(300)]
    wanted = [(f"/f{number}", 0) if number % 2 else ("", versions[number]) for number in range(300)]
    batch = reader.open_many(wanted)
    assert [each.id for each in batch.files if isinstance(each, ReadableVersion)] == versions
    expected = ReadableVersion(versions[9], 3, digest_of("f9"), 9_000_000_001, 0o640, [(chunk, 0, 3)])
    assert batch.files[9] == expected
    assert {key: tuple(value) for key, value in batch.chunks.items()} == {chunk: (digest_of("pack"), 900, (1, 3))}


def test_what_cannot_be_opened_has_its_own_error(reader: Reader, build: CatalogBuilder) -> None:
    """Directories, missing names and versions, and files with more extents than a batch gives."""
    build.directory("d")
    chunk = build.chunk("x", 5)
    empty = build.file("empty")
    build.file("most", chunks=[(chunk, 5)] * BATCH_EXTENTS_MAX)
    build.file("more", chunks=[(chunk, 5)] * (BATCH_EXTENTS_MAX + 1))
    batch = reader.open_many(
        [("/d", 0), ("/none", 0), ("", 999), ("/more", 0), ("a/..", 0), ("/empty", 0), ("/most", 0)]
    )
    errors = [type(each) for each in batch.files if isinstance(each, DfsError)]
    assert errors == [WrongKindError, NotFoundError, VersionGoneError, TooLargeError, UsageError]
    opened = [each for each in batch.files if isinstance(each, ReadableVersion)]
    assert [(each.id == empty, len(each.extents)) for each in opened] == [(True, 0), (False, BATCH_EXTENTS_MAX)]


def test_a_chunk_without_good_copies_is_named_all_the_same(reader: Reader, build: CatalogBuilder) -> None:
    """The reader is told that nobody has it; the file is not left out."""
    chunk = build.chunk("lost", 5)
    build.file("f", chunks=[(chunk, 5)])
    assert reader.open_many([("/f", 0)]).chunks[chunk].node_ids == ()


# -- pages of a tree -------------------------------------------------------------------------------------------


def test_a_tree_comes_in_the_order_of_a_walk(reader: Reader, build: CatalogBuilder) -> None:
    """Whatever the size of a page: each directory, then what is in it, then its next sibling."""
    top = build.directory("top")
    for name in ("b", "a", "a.b", "c"):
        middle = build.directory(name, top)
        for number in range(3):
            build.file(f"{name}{number}", build.directory(f"d{number}", middle))
    build.file("a0", top)
    build.directory("elsewhere")
    expected = walk(reader, "/top")
    assert [entry.path for entry in expected][:3] == ["/top/a", "/top/a/d0", "/top/a/d0/a0"]
    for limit in (1, 2, 3, 7, 1_000):
        assert pages(reader, "/top", limit) == expected
    assert pages(reader, "/", 5) == walk(reader, "/")


def test_a_directory_of_many_names_is_read_on(reader: Reader, build: CatalogBuilder) -> None:
    """More names than are read ahead, with directories between them."""
    for number in range(600):
        if number % 100 == 50:
            build.file("inside", build.directory(f"n{number:03}"))
        else:
            build.file(f"n{number:03}")
    assert pages(reader, "/", 1_000) == walk(reader, "/")
    assert pages(reader, "/", 251) == walk(reader, "/")


def test_a_page_goes_on_where_the_last_one_ended_though_that_is_gone(reader: Reader, build: CatalogBuilder) -> None:
    """Names that were removed between two pages cost nothing but themselves."""
    inner = build.directory("b", build.directory("a"))
    build.file("x", inner)
    build.file("c")
    for after in ("a/b/w", "a/b/wholly/gone", "a/az/gone"):
        expected = ["/a/b/x", "/c"] if after.startswith("a/b") else ["/a/b", "/a/b/x", "/c"]
        assert [entry.path for entry in reader.list_page("/", after, 9, recursive=True)[0]] == expected


def test_a_file_lists_itself_and_copies_are_given(reader: Reader, build: CatalogBuilder) -> None:
    """As pages of one directory do."""
    build.node(1)
    build.file("f", build.directory("d"), chunks=[(build.chunk("x", 5, nodes=[1]), 5)])
    assert reader.list_page("/d/f", "", 9, recursive=True) == ([reader.stat("/d/f")[0]], False)
    page, _ = reader.list_page("/", "", 9, copies=True, recursive=True, address_set=AddressSet.CLUSTER)
    assert page[1].copies == [Copy("node-1", "node-1:5001")]
    with pytest.raises(NotFoundError):
        reader.list_page("/none", "", 9, recursive=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(1, 9))
def test_any_tree_is_listed_whole(tmp_path_factory: pytest.TempPathFactory, seed: int, limit: int) -> None:
    """Pages of any size hold every name once, in one order."""
    randomness = random.Random(seed)
    database = new_database(tmp_path_factory.mktemp("tree"))
    with CatalogBuilder(database) as build:
        directories = [1]
        for number in range(randomness.randrange(25)):
            parent, name = randomness.choice(directories), randomness.choice("aZ~é.") + str(number)
            if randomness.random() < 0.5:
                directories.append(build.directory(name, parent))
            else:
                build.file(name, parent)
    reader = Reader(open_engine(database), ManualClock())
    try:
        assert pages(reader, "/", limit) == walk(reader, "/")
    finally:
        reader.close()
