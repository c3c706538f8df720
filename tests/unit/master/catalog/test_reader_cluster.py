"""Counts over everything, nodes, keys, settings."""

import pytest
from tests.support.catalog import CatalogBuilder, digest_of

from dfs_master.catalog.models import REMOVED_ENTRY_ID
from dfs_master.catalog.reader import Reader
from dfs_master.catalog.reader_cluster import Counts


def test_an_empty_catalog_counts_nothing(reader: Reader) -> None:
    """Sums over nothing are zero."""
    assert reader.counts() == Counts(0, 0, 0, 0)


def test_only_current_versions_of_reachable_files_count(reader: Reader, build: CatalogBuilder) -> None:
    """Neither replaced versions nor removed trees, at any depth."""
    build.node(1)
    build.node(2)
    chunk = build.chunk("x", 10, [1, 2])
    build.file("kept", build.directory("d"), chunks=[(chunk, 10)])
    build.file("gone", build.directory("inner", build.directory("99", REMOVED_ENTRY_ID)), chunks=[(chunk, 10)])
    old = build.file("old", chunks=[(chunk, 10)])
    build.execute("UPDATE versions SET removed_at = 1 WHERE id = ?", old)
    assert reader.counts() == Counts(1, 10, 0, 0)


@pytest.mark.parametrize(
    ("states", "under_replicated", "unreadable"),
    [
        (("live", "live"), 0, 0),
        (("live", "draining"), 0, 0),
        (("live", "maintenance"), 0, 0),
        (("dead", "maintenance"), 1, 0),
        (("live", "suspect"), 1, 0),
        (("live", "dead"), 1, 0),
        (("suspect", "suspect"), 1, 0),
        (("dead", "suspect"), 1, 0),
        (("dead", "failed"), 1, 1),
    ],
)
def test_counts_follow_the_states_of_nodes(
    reader: Reader, build: CatalogBuilder, states: tuple[str, str], under_replicated: int, unreadable: int
) -> None:
    """Copies count on live and draining nodes; a file is unreadable when no node that may answer has a chunk of it."""
    for number, state in enumerate(states, 1):
        build.node(number, state)
    build.node(3)
    build.file("f", chunks=[(build.chunk("x", 10, [1, 2]), 10)])
    build.file("safe", chunks=[(build.chunk("y", 10, [1, 2, 3], wanted=1), 10)])
    counts = reader.counts()
    assert (counts.under_replicated, counts.unreadable) == (under_replicated, unreadable)


def test_lost_copies_count_whatever_their_nodes_do(reader: Reader, build: CatalogBuilder) -> None:
    """A chunk short of rows is short once, and one without rows makes its files unreadable, each once."""
    build.node(1)
    build.node(2, "dead")
    lost = build.chunk("lost", 10)
    build.file("f", chunks=[(lost, 10), (lost, 10)])
    build.file("g", chunks=[(lost, 10)])
    build.file("h", chunks=[(build.chunk("one", 10, [2]), 10)])
    build.file("gone", build.directory("99", REMOVED_ENTRY_ID), chunks=[(lost, 10)])
    assert reader.counts() == Counts(3, 40, 2, 3)


def test_nodes_come_by_id(reader: Reader, build: CatalogBuilder) -> None:
    """A restarted master knows every node."""
    build.node(2, "dead")
    build.node(1)
    assert [(node.id, node.name, node.state) for node in reader.nodes()] == [
        (1, "node-1", "live"),
        (2, "node-2", "dead"),
    ]
    assert reader.node_names() == {1: "node-1", 2: "node-2"}


def test_credentials_and_settings(reader: Reader, build: CatalogBuilder) -> None:
    """Hashes only; a setting that nobody wrote is None."""
    build.execute("INSERT INTO credentials VALUES (7, 'admin', ?, 'first', 5)", digest_of("key"))
    build.setting("epoch", "3")
    assert reader.credentials() == [(7, "admin", digest_of("key"), "first", 5)]
    assert (reader.setting("epoch"), reader.setting("nothing")) == ("3", None)
