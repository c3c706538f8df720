"""Connections that began with text: each has a thread of its own, apart from the event listener's."""

import logging
import threading
from typing import Protocol

from dfs_wire.errors import DfsError
from dfs_wire.transport import Transport

log = logging.getLogger(__name__)


class LineService(Protocol):
    """Takes over a connection that began with text."""

    def refusal(self, peer: str) -> bytes | None:
        """What is answered to a peer that may not use lines; None where it may. On the I/O thread: must not wait."""
        ...

    def serve_lines(self, transport: Transport, beginning: bytes) -> None:
        """Serve, then return; the listener closes. Runs on a thread of its own."""
        ...


class LineConnections:
    """The threads of a `LineService`. `serve` and `stop` from the thread that owns the listener's sockets."""

    def __init__(self, service: LineService, places: int, stop_seconds: float) -> None:
        self._service = service
        self._places = places
        self._stop_seconds = stop_seconds
        self._threads: dict[Transport, threading.Thread] = {}

    def refusal(self, peer: str) -> bytes | None:
        """See `LineService.refusal`."""
        return self._service.refusal(peer)

    def full(self) -> bool:
        """Whether all places are taken."""
        return len(self._threads) >= self._places

    def serve(self, transport: Transport, beginning: bytes) -> None:
        """Serve on a new thread, which closes. Without a thread the connection is closed at once."""
        thread = threading.Thread(target=self._serve, args=(transport, beginning), name="lines", daemon=True)
        self._threads[transport] = thread
        try:
            thread.start()
        except RuntimeError:  # out of threads or memory
            log.warning("no thread for a line connection", exc_info=True)
            self._end(transport)

    def stop(self) -> None:
        """Close all connections and wait for their threads."""
        open_now = dict(self._threads)
        for transport in open_now:
            transport.close()
        for thread in open_now.values():
            thread.join(self._stop_seconds)

    def _serve(self, transport: Transport, beginning: bytes) -> None:
        try:
            self._service.serve_lines(transport, beginning)
        except DfsError as error:
            log.info("line connection ended", extra={"peer": transport.peer, "reason": error.message})
        except Exception:  # the process serves on
            log.exception("a line connection failed", extra={"peer": transport.peer})
        finally:
            self._end(transport)

    def _end(self, transport: Transport) -> None:
        transport.close()
        self._threads.pop(transport, None)
