"""How results look."""

import pytest
from tests.support.deploy import make_spec

from dfs_deploy.engine import LogLine
from dfs_deploy.plan import Change, Found, StartNode
from dfs_deploy.reports import (
    change_object,
    cluster_object,
    deployed_lines,
    in_time_order,
    log_object,
    log_text,
    state_of,
)

ROLES = frozenset({"master", "node-1", "node-2", "node-3"})


@pytest.mark.parametrize(
    ("running", "destroyed", "state"),
    [
        (ROLES, False, "running"),
        (ROLES - {"node-1"}, False, "partial"),
        (frozenset(), False, "stopped"),
        (frozenset(), True, "destroyed"),
    ],
)
def test_the_state_of_a_cluster(running: frozenset[str], destroyed: bool, state: str) -> None:
    """All, some or none of the roles run."""
    assert state_of(make_spec(destroyed=destroyed), Found(running=running)) == state


def test_a_cluster_in_a_list() -> None:
    """The documented fields."""
    assert cluster_object(make_spec(), Found(running=ROLES)) == {
        "name": "demo",
        "engine": "process",
        "nodes": 3,
        "copies": 2,
        "state": "running",
        "master": "127.0.0.1:5000",
    }


def test_a_change_says_whether_it_changed_anything() -> None:
    """For scripts, and for people in a sentence."""
    same = Change(make_spec(), ())
    assert change_object(same, running=4)["changed"] is False
    assert deployed_lines(same) == ["Cluster demo runs already with 3 nodes; nothing was changed."]
    grown = Change(make_spec(), (StartNode("node-3"),))
    assert change_object(grown, running=4)["changed"] is True
    assert "(1 started now)" in deployed_lines(grown)[0]


def test_a_log_record_becomes_a_line_for_people() -> None:
    """Time, level, logger, message, fields; the traceback below."""
    line = LogLine(
        "node-1",
        '{"at": "2026-01-01T00:00:00", "level": "info", "logger": "dfs_node.app", "thread": "t", '
        '"message": "ready", "port": 5001, "exception": "Traceback"}',
    )
    assert log_text(line, with_role=False) == "2026-01-01T00:00:00 info dfs_node.app ready port=5001\nTraceback"
    assert log_text(line, with_role=True).startswith("node-1   2026")
    assert log_object(line)["role"] == "node-1"
    assert log_object(line)["port"] == 5001


@pytest.mark.parametrize("text", ["Segmentation fault", "[1, 2]", "3"])
def test_raw_output_is_shown_as_it_is(text: str) -> None:
    """A process in trouble writes no JSON."""
    assert log_text(LogLine("master", text), with_role=False) == text
    assert log_object(LogLine("master", text)) == {"role": "master", "message": text}


def test_lines_of_all_roles_come_in_the_order_of_time() -> None:
    """A line without a time stays behind the one it followed."""
    a1 = LogLine("a", '{"at": "1"}')
    a3 = LogLine("a", '{"at": "3"}')
    raw = LogLine("a", "raw")
    b2 = LogLine("b", '{"at": "2"}')
    assert in_time_order([a1, a3, raw, b2]) == [a1, b2, a3, raw]
