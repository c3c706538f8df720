"""What an operator may set, and what is refused."""

import pytest

from dfs_master.settings import SETTING_PREFIX, Settings, changed, described, from_records
from dfs_wire.errors import UsageError


def test_every_setting_says_what_it_does_and_its_default_is_within_bounds() -> None:
    """A setting without a text, or with a wild default, is no use."""
    infos = described(Settings())
    assert infos
    for info in infos:
        assert info.text
        assert info.low <= info.default <= info.high
        assert info.value == info.default


def test_a_change_leaves_the_others_alone() -> None:
    """One value changes."""
    before = Settings()
    after = changed(before, "scrub_seconds", "60")
    assert after.scrub_seconds == 60
    assert changed(after, "scrub_seconds", str(before.scrub_seconds)) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no_such_thing", "1"),
        ("dead_seconds", "soon"),
        ("dead_seconds", "nan"),
        ("dead_seconds", "-1"),
        ("repair_streams", "1000"),
        ("suspect_seconds", "500"),
        ("left_seconds", "3"),
    ],
)
def test_nonsense_is_refused(name: str, value: str) -> None:
    """Wrong names, texts, bounds and contradictions."""
    with pytest.raises(UsageError):
        changed(Settings(), name, value)


def test_the_bounds_are_said_in_digits() -> None:
    """They are there to be copied."""
    with pytest.raises(UsageError, match="dead_seconds is a number from 2 to 31622400, not 1"):
        changed(Settings(), "dead_seconds", "1")


def test_records_of_the_database_become_settings() -> None:
    """What cannot be read has its default."""
    records = {
        "epoch": "7",
        f"{SETTING_PREFIX}dead_seconds": "30.0",
        f"{SETTING_PREFIX}scrub_seconds": "what?",
        f"{SETTING_PREFIX}from_the_future": "1",
        "left_seconds": "1",
    }
    assert from_records(records) == changed(Settings(), "dead_seconds", "30")
