"""Settings: times and limits that hold for the whole cluster and that an operator may change."""

from dfs_wire.messages.base import Header, Item


class ListSettings(Header, frozen=True, kw_only=True):
    """Every setting. Reply body: list of `SettingItem`."""


class ListSettingsReply(Header, frozen=True, kw_only=True):
    """Header of the reply to `ListSettings`."""


class SettingItem(Item, frozen=True):
    """One setting; the unit comes last in its name."""

    name: str
    value: float
    default: float
    low: float
    high: float
    text: str


class SetSetting(Header, frozen=True, kw_only=True):
    """Change one setting; it holds at once, and for good."""

    request_id: bytes
    name: str
    value: str
