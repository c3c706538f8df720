"""A listener with one thread a connection: for nodes, whose work runs outside the interpreter lock."""

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from dfs_runtime.clock import Deadline, SystemClock
from dfs_wire.connection import Connection, Services
from dfs_wire.errors import DfsError, UnavailableError
from dfs_wire.limits import CONNECTIONS_MAX
from dfs_wire.messages import Header, Hello, HelloReply
from dfs_wire.service import ChunkService, Handler, Session, check_handlers
from dfs_wire.transport import Transport, format_address, listen
from dfs_wire.verbs import Server

log = logging.getLogger(__name__)

#: Requests under way when the listener stops are given this long; then their connections are closed.
DRAIN_SECONDS = 5.0
_STOP_SECONDS = 2.0


class ThreadListener:
    """Accepts connections and serves each on a thread of its own. `start` and `stop` from the owning thread."""

    def __init__(
        self,
        address: str,
        *,
        handlers: Mapping[type[Header], Handler],
        chunks: ChunkService,
        hello: Callable[[Session, Hello], HelloReply],
        server: Server = Server.NODE,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        check_handlers(set(handlers), server, chunk_verbs=True)
        self._services = Services(server, handlers, chunks, hello)
        self._connections_max = connections_max
        self._lock = threading.Lock()
        self._connections: dict[Transport, tuple[Connection, threading.Thread]] = {}
        self._stopping = threading.Event()
        self._listening = listen(address)
        self._acceptor = threading.Thread(target=self._accept, name="accept", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens, with the real port."""
        host, port = self._listening.getsockname()[:2]
        return format_address(host, port)

    def start(self) -> None:
        """Begin to accept."""
        self._acceptor.start()

    def stop(self) -> None:
        """Accept no more, let requests under way end, close all connections, wait for their threads."""
        self._stopping.set()
        with suppress(OSError):  # not accepting any more
            # A shutdown wakes the thread in accept; a close alone would not.
            self._listening.shutdown(socket.SHUT_RDWR)
        if self._acceptor.is_alive():
            self._acceptor.join(_STOP_SECONDS)
        self._listening.close()
        with self._lock:
            open_now = dict(self._connections)
        for transport, (connection, _) in open_now.items():
            if not connection.busy:
                transport.close()
        for seconds in (DRAIN_SECONDS, _STOP_SECONDS):
            deadline = Deadline(SystemClock(), seconds)
            for _, thread in open_now.values():
                thread.join(deadline.remaining())
            for transport in open_now:
                transport.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            connected: socket.socket | None = None
            try:
                connected, peer = self._listening.accept()
                self._admit(Transport(connected, format_address(*peer[:2])))
            except Exception:
                if connected is not None:
                    connected.close()
                if self._stopping.is_set():
                    return
                # Out of descriptors, threads or memory, or the peer was gone at once: this thread serves all others, so
                # nothing may end it.
                log.warning("accept failed", exc_info=True)
                self._stopping.wait(0.1)

    def _admit(self, transport: Transport) -> None:
        """Serve a connection on a thread of its own.

        Raises:
            RuntimeError: no thread can be started now.
        """
        session = Session(transport.peer)
        connection = Connection(transport, session, self._services)
        thread = threading.Thread(
            target=self._serve, args=(transport, session, connection), name=f"serve-{transport.peer}", daemon=True
        )
        with self._lock:
            full = len(self._connections) >= self._connections_max
            spare = self._spare() if full else None
            if not full or spare is not None:
                self._connections[transport] = connection, thread
        if spare is not None:
            log.warning("too many connections: an idle one gives way", extra={"peer": spare.peer})
            spare.close()
        elif full:
            log.warning("too many connections", extra={"peer": transport.peer})
            transport.close()
            return
        try:
            thread.start()
        except BaseException:
            with self._lock:
                self._connections.pop(transport, None)
            raise

    def _spare(self) -> Transport | None:
        """The oldest idle connection of the host that has most of them: who holds many keeps nobody out. Called under
        the lock.
        """
        idle: dict[str, list[Transport]] = {}
        for transport, (connection, _) in self._connections.items():
            if not connection.busy and not transport.closed:
                idle.setdefault(transport.peer.rpartition(":")[0], []).append(transport)
        return max(idle.values(), key=len)[0] if idle else None

    def _serve(self, transport: Transport, session: Session, connection: Connection) -> None:
        try:
            connection.run(self._stopping.is_set)
        except UnavailableError as error:
            log.debug("connection lost", extra={"peer": transport.peer, "reason": error.message})
        except DfsError as error:
            log.warning("connection closed", extra={"peer": transport.peer, "reason": error.message})
        except Exception:  # the process serves on, whatever one connection brought up
            log.exception("a connection failed", extra={"peer": transport.peer})
        finally:
            transport.close()
            with self._lock:
                self._connections.pop(transport, None)
            for callback in session.on_close:
                callback()
