"""The first project's line protocol, for `nc` and ten lines of any language.

The master relays, through the same client library that everybody uses, so the same promises hold. The grammar is
in docs/protocol.md; one request a connection.
"""

import ipaddress
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import RawIOBase
from typing import BinaryIO, Literal, Protocol, cast

from dfs_master.credentials import Credentials
from dfs_runtime.gateway import default_gateway
from dfs_wire.channel import Dialer
from dfs_wire.errors import (
    BadCredentialError,
    DfsError,
    InternalError,
    NotAllowedError,
    TooLargeError,
    UnavailableError,
    UsageError,
)
from dfs_wire.messages import AddressSet, Entry, EntryKind, Hello, ProveJoin, ProveJoinReply, Role
from dfs_wire.tickets import NONCE_BYTES, join_proof_of_digest
from dfs_wire.transport import Transport, format_address, parse_address

log = logging.getLogger(__name__)

LINE_BYTES_MAX = 8 * 1024
LINE_SECONDS = 10.0
BODY_SECONDS = 30.0
#: After a refusal, what still comes is read and thrown away this long.
LINGER_SECONDS = 2.0
_COPY_BYTES = 1024 * 1024
#: Among the addresses that are allowed: whoever comes over the gateway, as a container's host does.
GATEWAY = "gateway"
#: The master stands where the nodes stand; in a container the public addresses lead nowhere.
_RELAYING = AddressSet.CLUSTER


class LineStore(Protocol):
    """The part of the client library that is used here. Safe to use from several threads."""

    def upload(self, source: BinaryIO, path: str) -> object:
        """Store a stream under a path."""
        ...

    def open(self, path: str, mode: Literal["rb"]) -> BinaryIO:
        """A verified, seekable reader of one version."""
        ...

    def walk(self, path: str, *, copies: bool) -> Iterator[Entry]:
        """All entries below a directory."""
        ...


class LineProtocol:
    """Serves one connection at a time on the thread that calls. Safe to use from several threads."""

    def __init__(
        self,
        store: Callable[[AddressSet], LineStore],
        dialer: Dialer,
        credentials: Credentials,
        *,
        allowed: Iterable[str] = (),
        gateway: Callable[[], str | None] = default_gateway,
    ) -> None:
        self._store = store
        self._dialer = dialer
        self._credentials = credentials
        self._allowed = [_network(each) for each in ("127.0.0.0/8", "::1", *_resolved(allowed, gateway))]

    def refusal(self, peer: str) -> bytes | None:
        """What a peer is told that may not use lines; None where it may."""
        try:
            self._require_allowed(peer)
        except NotAllowedError as error:
            return _error_line(error)
        return None

    def serve_lines(self, transport: Transport, beginning: bytes) -> None:
        """Read one request, answer it."""
        # In all: a place is not kept by a byte now and then.
        transport.set_deadline(LINE_SECONDS, in_all=True)
        try:
            self._require_allowed(transport.peer)
            line, rest = _read_line(transport, beginning)
            transport.set_deadline(BODY_SECONDS)
            self._serve(transport, line, rest)
        except DfsError as error:
            _refuse(transport, error)
        except Exception:
            log.exception("a line request failed", extra={"peer": transport.peer})
            _refuse(transport, InternalError("the master failed on this request; its log has the details"))

    def _serve(self, transport: Transport, line: str, rest: bytes) -> None:
        verb, _, argument = line.partition(" ")
        if verb == "UPLOAD":
            self._upload(transport, argument, rest)
        elif verb == "DOWNLOAD" and argument:
            self._download(transport, argument)
        elif verb == "LIST" and not argument:
            self._list(transport)
        elif verb == "STORAGE_NODE":
            self._storage_node(transport, argument)
        else:
            raise UsageError("write UPLOAD name size, LIST, DOWNLOAD name or STORAGE_NODE port")

    def _upload(self, transport: Transport, argument: str, rest: bytes) -> None:
        name, _, size = argument.rpartition(" ")
        if not name or not size.isascii() or not size.isdigit() or len(size) > 18:
            raise UsageError("write UPLOAD, the name, the size in bytes, then the bytes")
        self._store(_RELAYING).upload(cast("BinaryIO", _Body(transport, rest, int(size))), "/" + name.lstrip("/"))
        transport.send(b"OK 0\n")

    def _download(self, transport: Transport, name: str) -> None:
        with self._store(_RELAYING).open("/" + name.lstrip("/"), "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            transport.send(f"OK {size}\n".encode())
            try:
                while data := file.read(_COPY_BYTES):
                    transport.send(data)
            except Exception:
                # The size is promised already, and a sentence would pass for content: a connection that ends early is
                # the only honest answer left.
                log.exception("a download broke off", extra={"peer": transport.peer})

    def _list(self, transport: Transport) -> None:
        store = self._store(_addresses_for(transport.peer))
        lines = [_list_line(entry) for entry in store.walk("/", copies=True) if entry.kind is EntryKind.FILE]
        data = "".join(lines).encode()
        transport.send(f"OK {len(data)}\n".encode(), data)

    def _storage_node(self, transport: Transport, argument: str) -> None:
        """Dial back to the sender: whoever holds the join token there may go on to register."""
        if not argument.isascii() or not argument.isdigit() or not 0 < int(argument) < 65_536:
            raise UsageError("write STORAGE_NODE and the port that the node listens on")
        address = format_address(parse_address(transport.peer)[0], int(argument))
        nonce = secrets.token_bytes(NONCE_BYTES)
        channel = self._dialer.dial(address, Hello(role=Role.TICKET))
        try:
            proof = channel.call(ProveJoin(nonce=nonce), ProveJoinReply).header.mac
        finally:
            channel.close()
        known = self._credentials.digests_of(Role.JOIN)
        if not any(secrets.compare_digest(join_proof_of_digest(each, nonce), proof) for each in known):
            raise BadCredentialError(f"the node at {address} does not hold this cluster's join token")
        transport.send(b"OK 0\n")

    def _require_allowed(self, peer: str) -> None:
        host = _host_of(peer)
        if not any(host in network for network in self._allowed):
            raise NotAllowedError("the line protocol is served to this machine only; use dfs-client with a key")


class _Body(RawIOBase):
    """The bytes behind an UPLOAD line: exactly `size` of them, or an error. Used by one thread."""

    def __init__(self, transport: Transport, ahead: bytes, size: int) -> None:
        super().__init__()
        self._transport = transport
        self._ahead = memoryview(ahead[:size])
        self._left = size

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Some bytes; 0 only after all of them came.

        Raises:
            UnavailableError: the sender ended before.
        """
        view = memoryview(buffer)[: self._left]
        if not view:
            return 0
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
        else:
            count = self._transport.recv_into(view)
            if count == 0:
                raise UnavailableError(f"the upload ended {self._left} bytes early; nothing was stored")
        self._left -= count
        return count


def _host_of(peer: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address":
    """The address of a peer without port and zone; one of IPv4 as such, however it came."""
    host = ipaddress.ip_address(parse_address(peer)[0].split("%")[0])
    return getattr(host, "ipv4_mapped", None) or host


def _addresses_for(peer: str) -> AddressSet:
    """The addresses of nodes that a caller can reach: who is not on this host, or in this container, is outside."""
    return AddressSet.CLUSTER if _host_of(peer).is_loopback else AddressSet.PUBLIC


def _resolved(allowed: Iterable[str], gateway: Callable[[], str | None]) -> Iterator[str]:
    """The addresses and networks, with the gateway's own address for its name; without a gateway it is nobody."""
    for each in allowed:
        address = gateway() if each == GATEWAY else each
        if address is None:
            log.warning("there is no gateway: the line protocol is served to this container only")
        else:
            yield address


def _network(text: str) -> "ipaddress.IPv4Network | ipaddress.IPv6Network":
    """An address or network that an operator wrote.

    Raises:
        UsageError: it is none.
    """
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"{text!r} is no address and no network; write for example 10.0.0.0/8") from error


def _read_line(transport: Transport, beginning: bytes) -> tuple[str, bytes]:
    """The first line without its end, and what came behind it."""
    data = bytearray(beginning)
    scratch = memoryview(bytearray(LINE_BYTES_MAX))
    while (end := data.find(b"\n")) < 0:
        if len(data) > LINE_BYTES_MAX:
            raise TooLargeError(f"a request line has at most {LINE_BYTES_MAX} bytes")
        count = transport.recv_into(scratch)
        if count == 0:
            break
        data += scratch[:count]
    line = bytes(data if end < 0 else data[:end]).removesuffix(b"\r")
    try:
        return line.decode(), b"" if end < 0 else bytes(data[end + 1 :])
    except UnicodeDecodeError as error:
        raise UsageError("the request line is not UTF-8") from error


def _list_line(entry: Entry) -> str:
    """`path host:port …`; what would break the line is written as an escape."""
    name = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in entry.path[1:])
    return " ".join([name, *(copy.address for copy in entry.copies)]) + "\n"


def _error_line(error: DfsError) -> bytes:
    sentence = " ".join(error.message.split())
    return f"ERROR {error.code} {sentence}\n".encode()


def _refuse(transport: Transport, error: DfsError) -> None:
    """Answer with an error, and read for a moment what is still under way so that the peer sees the answer."""
    transport.set_deadline(LINGER_SECONDS)
    transport.send(_error_line(error))
    transport.finish_sending()
    transport.set_deadline(LINGER_SECONDS, in_all=True)
    scratch = memoryview(bytearray(64 * 1024))
    with suppress(UnavailableError):
        while transport.recv_into(scratch):
            pass
