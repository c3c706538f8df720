"""All socket I/O of blocking connections goes through one class, so that TLS will have one place to enter.

Deadlines are about progress: each call waits at most `seconds` for the peer to take or give at least one byte. Before
a Hello they are about time: a stranger that gives a byte now and then must not keep a place.
"""

import os
import select
import socket
import struct
from contextlib import suppress
from typing import Any

from dfs_runtime import forks
from dfs_runtime.clock import Deadline, SystemClock
from dfs_wire.errors import ConnectFailedError, ProtocolError, TimedOutError, UnavailableError
from dfs_wire.limits import CONNECT_SECONDS

#: `struct timeval`, as SO_RCVTIMEO and SO_SNDTIMEO take it.
_TIMEVAL = struct.Struct("ll")


def parse_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` as host and port.

    Raises:
        ProtocolError: it is neither.
    """
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    is_host = host.isprintable() and " " not in host
    if not separator or not host or not is_host or not is_number or int(port) > 65_535:
        raise ProtocolError(f"'{address}' is not an address; write host:port")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Transport:
    """One connected stream socket in blocking use. Used by one thread at a time; `close` from any."""

    can_sendfile = True

    def __init__(self, connected: socket.socket, peer: str) -> None:
        self._socket = connected
        self.peer = peer
        self._all_by: Deadline | None = None
        self._seconds = 0.0
        #: What the kernel was told, for receiving and for sending; 0 is for ever.
        self._told = [0.0, 0.0]
        self._hang_up_poll: select.poll | None = None
        # The kernel keeps the time: with Python's own time-outs each call would cost a `poll` of its own.
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def set_deadline(self, seconds: float, *, in_all: bool = False) -> None:
        """No-progress time of the calls that follow; with `in_all`, the time of all that they receive together."""
        self._all_by = Deadline(SystemClock(), seconds) if in_all else None
        self._seconds = seconds

    def _tell(self, direction: int, option: int) -> None:
        """Give the kernel the deadline of a call; only where it has another."""
        microseconds = max(1, int(self._seconds * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(*divmod(microseconds, 1_000_000)))
        self._told[direction] = self._seconds

    def recv_into(self, buffer: memoryview) -> int:
        """Up to `len(buffer)` bytes; 0 at the end of the peer's stream.

        Raises:
            TimedOutError, ConnectFailedError: the peer stalled or went away.
        """
        try:
            if self._all_by is not None:
                self._shorten(self._all_by)
            if self._told[0] != self._seconds:
                self._tell(0, socket.SO_RCVTIMEO)
            return self._socket.recv_into(buffer)
        except OSError as error:
            raise self._translated(error, "receiving from") from error

    def recv_exactly(self, buffer: memoryview) -> None:
        """Fill the whole buffer.

        Raises:
            TimedOutError, ConnectFailedError: the peer stalled, went away or ended too early.
        """
        filled = 0
        while filled < len(buffer):
            count = self.recv_into(buffer[filled:])
            if count == 0:
                raise ConnectFailedError(f"{self.peer} closed the connection; try again")
            filled += count

    def send(self, *parts: bytes | bytearray | memoryview) -> None:
        """Send all parts, as one packet where they are small.

        Raises:
            TimedOutError, ConnectFailedError: the peer stalled or went away.
        """
        try:
            if self._told[1] != self._seconds:
                self._tell(1, socket.SO_SNDTIMEO)
            if len(parts) == 1:
                self._socket.sendall(parts[0])
            elif sum(map(len, parts)) <= 64 * 1024:
                self._socket.sendall(b"".join(parts))
            else:
                for part in parts:
                    self._socket.sendall(part)
        except OSError as error:
            raise self._translated(error, "sending to") from error

    def send_file(self, descriptor: int, offset: int, length: int) -> None:
        """Send a slice of an open file without copying it through this process.

        Raises:
            TimedOutError, ConnectFailedError: the peer stalled or went away.
            ProtocolError: the file ended too early; the stream cannot be continued.
        """
        end = offset + length
        try:
            if self._told[1] != self._seconds:
                self._tell(1, socket.SO_SNDTIMEO)
            while offset < end:
                sent = os.sendfile(self._socket.fileno(), descriptor, offset, end - offset)
                if sent == 0:
                    raise ProtocolError("a file ended before the bytes that were promised")
                offset += sent
        except OSError as error:
            raise self._translated(error, "sending to") from error

    def hung_up(self) -> bool:
        """Whether the peer closed, or sent what nobody asked for: then the connection is of no more use."""
        if self._socket.fileno() < 0:
            return True  # closed on our side
        if self._hang_up_poll is None:
            self._hang_up_poll = select.poll()
            self._hang_up_poll.register(self._socket, select.POLLIN)
        return bool(self._hang_up_poll.poll(0))

    def finish_sending(self) -> None:
        """Tell the peer that nothing more comes, so that it can read our last words before the close."""
        with suppress(OSError):  # the peer is gone already
            self._socket.shutdown(socket.SHUT_WR)

    @property
    def closed(self) -> bool:
        """Whether it was closed here."""
        return self._socket.fileno() < 0

    def close(self) -> None:
        """Close for good, waking a thread that waits in this transport. May be called twice."""
        with suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def after_fork(self) -> None:
        """In a child: the connection is the parent's. This copy of its descriptor goes, without a word to the peer."""
        self._socket.close()

    def _shorten(self, all_by: Deadline) -> None:
        """Let the next call wait no longer than all together may.

        Raises:
            TimeoutError: their time is over.
        """
        left = all_by.remaining()
        if left == 0.0:
            raise TimeoutError("no time left")
        self._seconds = left

    def _translated(self, error: OSError, doing: str) -> ConnectFailedError | TimedOutError:
        # The kernel says "try again" where the time is over.
        if isinstance(error, TimeoutError | BlockingIOError):
            return TimedOutError(f"{doing} {self.peer} made no progress in time; try again")
        return ConnectFailedError(f"{doing} {self.peer} failed ({error.strerror or error}); try again")


def listen(address: str) -> socket.socket:
    """A listening socket on `host:port`; port 0 takes a free one.

    Raises:
        UnavailableError: the port is taken, or the address is not one of this machine's.
    """
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {address} ({_reason(error)}); stop what uses the port, or choose another"
        ) from error


def _reason(error: OSError) -> str:
    """The system's own words: `socket.create_server` puts the address into `strerror`, in its way."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)


def connect(address: str, seconds: float = CONNECT_SECONDS) -> Transport:
    """Open a connection.

    Raises:
        ConnectFailedError: nobody listens there, or the name does not resolve.
        TimedOutError: no answer within `seconds`.
    """
    host, port = parse_address(address)
    try:
        # A name in bytes: for one in text Python loads the tables of international names.
        name: Any = host.encode("ascii") if host.isascii() else host
        connected = socket.create_connection((name, port), timeout=seconds)
    except TimeoutError as error:
        raise TimedOutError(f"{address} does not answer; is it running, and is the address right?") from error
    except OSError as error:
        raise ConnectFailedError(
            f"cannot connect to {address} ({error.strerror or error}); is it running, and is the address right?"
        ) from error
    transport = Transport(connected, address)
    forks.register(transport)
    return transport
