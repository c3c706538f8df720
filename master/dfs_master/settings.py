"""What an operator may set for the whole cluster: names, units, bounds, defaults. Pure; the values are in the table
`settings`, and `dfs settings list|set` is how people reach them.

The name of a setting is its field below, and in the database the same behind `SETTING_PREFIX`, so that it never
meets the master's own records (cluster_id, epoch, ...).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from dfs_wire.errors import UsageError
from dfs_wire.limits import (
    DEAD_SECONDS,
    LEFT_SECONDS,
    MIB,
    ORPHAN_SECONDS,
    SUSPECT_SECONDS,
    TICKET_SECONDS,
    VERSION_GRACE_SECONDS,
)

SETTING_PREFIX = "set."
_DAY_SECONDS = 86_400
_YEAR_SECONDS = 366 * _DAY_SECONDS


def _number(default: float, low: float, high: float, text: str) -> float:
    """A setting's field: its default, the bounds it must keep, what it does."""
    made: float = field(default=default, metadata={"default": default, "low": low, "high": high, "text": text})
    return made


@dataclass(frozen=True, slots=True)
class Settings:
    """One consistent set of values. All are numbers; the unit comes last in the name."""

    suspect_seconds: float = _number(SUSPECT_SECONDS, 1, _YEAR_SECONDS, "silence after which a node gets no new data")
    dead_seconds: float = _number(DEAD_SECONDS, 2, _YEAR_SECONDS, "silence after which a node's copies are repaired")
    left_seconds: float = _number(LEFT_SECONDS, 2, _YEAR_SECONDS, "the same after an announced stop")
    safe_mode_seconds: float = _number(600, 0, _YEAR_SECONDS, "longest wait for nodes after a start before healing")
    repair_streams: float = _number(2, 1, 64, "copies that a node makes at once")
    repair_bytes_per_second: float = _number(0, 0, 1 << 40, "all repair together; 0 sets no limit")
    version_grace_seconds: float = _number(
        VERSION_GRACE_SECONDS, 0, _YEAR_SECONDS, "how long deleted and replaced versions stay readable"
    )
    chunk_grace_seconds: float = _number(
        TICKET_SECONDS + 60, 0, _YEAR_SECONDS, "how long a chunk stays after the last version that refers to it"
    )
    orphan_seconds: float = _number(
        ORPHAN_SECONDS, 0, _YEAR_SECONDS, "how long a stored chunk waits for a commit before it is collected"
    )
    compact_percent: float = _number(50, 0, 99, "a pack with less than this in use is written anew; 0 never does")
    inventory_seconds: float = _number(_DAY_SECONDS, 1, _YEAR_SECONDS, "how often a node lists all its chunks")
    scrub_seconds: float = _number(30 * _DAY_SECONDS, 1, _YEAR_SECONDS, "time in which a node reads all its chunks")
    scrub_bytes_per_second: float = _number(32 * MIB, 4096, 1 << 40, "the most that scrubbing reads on one node")
    rebalance_percent: float = _number(5, 0, 100, "nodes may differ from even fullness by this; 0 never rebalances")


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting as people see it."""

    name: str
    value: float
    default: float
    low: float
    high: float
    text: str


def described(settings: Settings) -> list[SettingInfo]:
    """Every setting with its value, in a fixed order."""
    return [
        SettingInfo(
            each.name,
            getattr(settings, each.name),
            each.metadata["default"],
            each.metadata["low"],
            each.metadata["high"],
            each.metadata["text"],
        )
        for each in fields(Settings)
    ]


def changed(settings: Settings, name: str, value: str) -> Settings:
    """The settings with one value changed.

    Raises:
        UsageError: there is no such setting, or the value is not a number within its bounds, or contradicts another.
    """
    known = {info.name: info for info in described(settings)}
    info = known.get(name)
    if info is None:
        raise UsageError(f"there is no setting {name!r}; see `dfs settings list`")
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"{name} is a number, not {value!r}") from None
    if not info.low <= number <= info.high:
        raise UsageError(f"{name} is a number from {info.low:.15g} to {info.high:.15g}, not {value}")
    return _consistent(replace(settings, **{name: number}))


def _consistent(settings: Settings) -> Settings:
    if not settings.suspect_seconds < settings.dead_seconds <= settings.left_seconds:
        raise UsageError("suspect_seconds must be below dead_seconds, and that not above left_seconds")
    return settings


def from_records(records: Mapping[str, str]) -> Settings:
    """The settings that a database holds. What this program does not know, or cannot read, has its default."""
    known = {each.name for each in fields(Settings)}
    values: dict[str, float] = {}
    for record, text in records.items():
        name = record.removeprefix(SETTING_PREFIX)
        if record.startswith(SETTING_PREFIX) and name in known:
            try:
                values[name] = float(text)
            except ValueError:
                continue
    return replace(Settings(), **values)


class SettingsHolder:
    """The settings that hold now. `current` may be read by any thread; only the handler of a change replaces it."""

    def __init__(self, current: Settings | None = None) -> None:
        self.current = current or Settings()
