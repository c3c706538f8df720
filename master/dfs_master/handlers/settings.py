"""`ListSettings` and `SetSetting`: what an operator may change while the cluster runs."""

import threading

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

    def list(self, _session: Session, _request: m.ListSettings, _body: bytes) -> Answer[m.ListSettingsReply]:
        """All of them, with bounds and defaults."""
        items = [
            m.SettingItem(info.name, info.value, info.default, info.low, info.high, info.text)
            for info in described(self._cluster.settings.current)
        ]
        return Answer(m.ListSettingsReply(), encode_list(items))

    def set(self, _session: Session, request: m.SetSetting, _body: bytes, respond: Respond) -> None:
        """Check it against what holds now, write it down, then let it hold."""
        holder = self._cluster.settings
        number = getattr(changed(holder.current, request.name, request.value), request.name)

        def deliver(result: object) -> None:
            if isinstance(result, DfsError):
                respond(result)
                return
            with self._lock:
                # On top of what holds by now: two changes may be on their way.
                holder.current = changed(holder.current, request.name, request.value)
            respond(Answer(m.Done()))

        record = f"{SETTING_PREFIX}{request.name}"
        self._cluster.committer.submit(ChangeSetting(record, repr(number), request.name), deliver)
