"""`ListSettings` and `SetSetting` at a whole master."""

from pathlib import Path

import pytest
from tests.support.masters import running_master

from dfs_wire import messages as m
from dfs_wire.errors import BusyError, UsageError
from dfs_wire.service import Session

ADMIN = Session("127.0.0.1:40009", role=m.Role.ADMIN)


def test_a_setting_holds_at_once_and_after_a_restart(tmp_path: Path) -> None:
    """The reply comes after it is on record; an event tells of it."""
    with running_master(tmp_path) as master:
        master.ask(ADMIN, m.SetSetting(request_id=b"s" * 16, name="scrub_seconds", value="60"))
        assert master.cluster.settings.current.scrub_seconds == 60
        items = master.ask(ADMIN, m.ListSettings()).items(list[m.SettingItem])
        found = next(item for item in items if item.name == "scrub_seconds")
        assert (found.value, found.default) == (60, 30 * 86_400)
        assert master.cluster.reader.settings()["set.scrub_seconds"] == "60.0"


def test_what_makes_no_sense_changes_nothing(tmp_path: Path) -> None:
    """Neither in memory nor on record."""
    with running_master(tmp_path) as master:
        before = master.cluster.settings.current
        for name, value in (("scrub_seconds", "soon"), ("epoch", "1"), ("suspect_seconds", "100000")):
            with pytest.raises(UsageError):
                master.ask(ADMIN, m.SetSetting(request_id=b"s" * 16, name=name, value=value))
        assert master.cluster.settings.current == before
        assert not [name for name in master.cluster.reader.settings() if name.startswith("set.")]


def test_changes_under_way_are_judged_together(tmp_path: Path) -> None:
    """Two that contradict each other only together: the second is refused, though the first is not on record yet."""
    with running_master(tmp_path) as master:
        submitted: list[object] = []
        committer = master.cluster.committer
        real = committer.submit
        committer.submit = lambda mutation, deliver: submitted.append((mutation, deliver))  # type: ignore[method-assign]
        replies: list[object] = []
        first = m.SetSetting(request_id=b"1" * 16, name="suspect_seconds", value="100")
        second = m.SetSetting(request_id=b"2" * 16, name="dead_seconds", value="50")
        master.service.serve(ADMIN, first, b"", replies.append)
        with pytest.raises(UsageError):
            master.service.serve(ADMIN, second, b"", replies.append)
        committer.submit = real  # type: ignore[method-assign]
        ((_, deliver),) = submitted  # type: ignore[misc]
        deliver(BusyError("the disk is busy"))
        assert isinstance(replies[0], BusyError)
        # What failed to be written holds nobody up.
        master.ask(ADMIN, second)
        assert master.cluster.settings.current.dead_seconds == 50
