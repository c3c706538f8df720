"""`ListSettings` and `SetSetting`: what an operator may change while the cluster runs."""

import threading
from dataclasses import replace

from dfs_master.catalog.mutations.records import ChangeSetting
from dfs_master.cluster import Cluster
from dfs_master.settings import SETTING_PREFIX, changed, described
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.errors import DfsError
from dfs_wire.event_listener import Respond
from dfs_wire.service import Session


class SettingHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        #: What will hold when all changes under way are on record: the next one is judged by it.
        self._wanted = cluster.settings.current

    def list(self, _session: Session, _request: m.ListSettings, _body: bytes) -> Answer[m.ListSettingsReply]:
        """All of them, with bounds and defaults."""
        items = [
            m.SettingItem(info.name, info.value, info.default, info.low, info.high, info.text)
            for info in described(self._cluster.settings.current)
        ]
        return Answer(m.ListSettingsReply(), encode_list(items))

    def set(self, _session: Session, request: m.SetSetting, _body: bytes, respond: Respond) -> None:
        """Check it against what holds and what is under way, write it down, then let it hold."""
        holder, name = self._cluster.settings, request.name

        def deliver(result: object) -> None:
            with self._lock:
                if isinstance(result, DfsError):
                    self._wanted = holder.current
                else:
                    holder.current = replace(holder.current, **{name: number})
            respond(result if isinstance(result, DfsError) else Answer(m.Done()))

        with self._lock:
            wanted = changed(self._wanted, name, request.value)
            number = getattr(wanted, name)
            # Queued under the lock, so that changes are written in the order in which they were judged.
            self._cluster.committer.submit(ChangeSetting(f"{SETTING_PREFIX}{name}", repr(number), name), deliver)
            self._wanted = wanted
