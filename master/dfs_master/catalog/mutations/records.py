"""Mutations of what the cluster keeps about itself: settings, credentials, events."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfs_master.catalog.mutations.base import Context, Mutation
from dfs_master.catalog.rows import CredentialRow
from dfs_wire.errors import UsageError

#: The committer counts these itself.
_COUNTERS = frozenset({"epoch", "commit_seq", "next_id"})


@dataclass(frozen=True, slots=True)
class AddEvent(Mutation[None]):
    """Note that something happened to `subject`, and why."""

    kind: str
    subject: str
    detail: Mapping[str, object] = field(default_factory=dict)

    def apply(self, context: Context) -> None:
        """Note it."""
        context.add_event(self.kind, self.subject, self.detail)


@dataclass(frozen=True, slots=True)
class ChangeSetting(Mutation[None]):
    """An operator changed a setting: the value and the event that tells of it. `name` is the one people know."""

    record: str
    value: str
    name: str

    def apply(self, context: Context) -> None:
        """Set it, and note who held before."""
        before = context.staging.setting(self.record)
        context.staging.put_setting(self.record, self.value)
        context.add_event("setting_changed", self.name, {"value": self.value, "before": before})


@dataclass(frozen=True, slots=True)
class AddCredential(Mutation[int]):
    """Let a key in, by the BLAKE3 of it; the reply is the credential's id. `role`: client, admin or join."""

    role: str
    digest: bytes
    name: str

    def apply(self, context: Context) -> int:
        """Add it."""
        row = CredentialRow(context.staging.new_id(), self.role, self.digest, self.name, context.now_ms)
        context.staging.add_credential(row)
        return row.id


@dataclass(frozen=True, slots=True)
class SetSetting(Mutation[None]):
    """Set a named value."""

    name: str
    value: str

    def apply(self, context: Context) -> None:
        """Set it.

        Raises:
            UsageError: the committer counts this one itself.
        """
        if self.name in _COUNTERS:
            raise UsageError(f"{self.name} is counted by the master; it cannot be set")
        context.staging.put_setting(self.name, self.value)
