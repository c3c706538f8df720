"""A node is removed over the wire, step by step; while it goes, nothing that it signed counts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.masters import Master, running_master

from dfs_master.membership import LIVE, KnownNode
from dfs_wire import messages as m
from dfs_wire.errors import ConflictError
from dfs_wire.service import Session

ADMIN = Session("127.0.0.1:40002", role=m.Role.ADMIN)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """Without nodes."""
    with running_master(tmp_path / "master") as running:
        yield running


def test_a_node_on_its_way_out_signs_nothing_that_counts() -> None:
    """Its receipts may be of before a deletion that is forgotten with it."""
    node = KnownNode(7, "n", "n:1", "n:1", state=LIVE, registration=1, heard=True)
    assert node.receipts_count
    assert not replace(node, removing=True).receipts_count


def test_it_is_too_late_to_keep_a_node_that_goes(master: Master) -> None:
    """Its deletions are being forgotten; one that is refused stays what it was."""
    registry = master.cluster.registry
    node_id = master.join("a")[1].node_id
    with pytest.raises(ConflictError, match="drain it first"):
        master.ask(ADMIN, m.RemoveNode(node_id=node_id))
    assert not registry.nodes[node_id].removing
    master.ask(ADMIN, m.DrainNode(node_id=node_id))
    registry.change(node_id, lambda node: replace(node, removing=True))
    with pytest.raises(ConflictError, match="too late"):
        master.ask(ADMIN, m.DrainNode(node_id=node_id, cancel=True))
    master.ask(ADMIN, m.RemoveNode(node_id=node_id))
    assert node_id not in registry.nodes
