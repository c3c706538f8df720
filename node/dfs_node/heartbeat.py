"""The thread that keeps the link to the master alive."""

import logging
import threading
from collections.abc import Callable

from dfs_node.master_link import MasterLink
from dfs_wire.errors import DfsError

_JOIN_SECONDS = 5.0

log = logging.getLogger(__name__)


class HeartbeatThread:
    """Runs a `MasterLink` until stopped or refused. `wake` from any thread; `start` and `stop` from the owner's."""

    def __init__(self, link: MasterLink, on_end: Callable[[BaseException], None], wake: threading.Event) -> None:
        self._link = link
        self._on_end = on_end
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, with a registration."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the master that this node leaves, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                seconds = self._link.step()
                # News for the master go at once; a back-off is waited out whatever happens.
                (self._wake if self._link.connected else self._stopping).wait(seconds)
            self._link.leave()
        except DfsError as error:
            log.warning("the master refuses this node: %s", error)
            self._on_end(error)
        except Exception as error:
            # A node without heartbeats is a dead one: better to end, and be seen.
            log.exception("the heartbeat failed")
            self._on_end(error)
