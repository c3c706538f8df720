"""The line protocol over real sockets, before a store made of a dictionary."""

import contextlib
import socket
import threading
import time

import pytest
from tests.support.lines import TOKEN, DictionaryStore, FakeNodeDialer, line_master
from tests.support.raw_peer import RawPeer

from dfs_master import line_protocol
from dfs_master.credentials import Credentials
from dfs_master.line_protocol import LINE_BYTES_MAX, LineProtocol
from dfs_wire.errors import DfsError
from dfs_wire.messages import AddressSet


def ask(address: str, request: bytes, *, half_close: bool = False) -> bytes:
    """All of the answer to one request."""
    with RawPeer(address) as peer:
        peer.send(request)
        if half_close:
            peer.socket.shutdown(socket.SHUT_WR)
        return peer.rest()


def test_upload_list_download() -> None:
    """What went in comes out, whether the sender closes its side or waits for the answer."""
    with line_master() as (address, store, _):
        content = bytes(range(256)) * 2_000
        assert ask(address, b"UPLOAD dir/a file %d\n" % len(content) + content) == b"OK 0\n"
        assert ask(address, b"UPLOAD empty 0\n", half_close=True) == b"OK 0\n"
        assert ask(address, b"UPLOAD /absolute 2\r\nhi") == b"OK 0\n"
        assert store.files == {"/dir/a file": content, "/empty": b"", "/absolute": b"hi"}
        listed = (
            b"absolute 10.0.0.1:5001 10.0.0.2:5001\n"
            b"dir/a file 10.0.0.1:5001 10.0.0.2:5001\n"
            b"empty 10.0.0.1:5001 10.0.0.2:5001\n"
        )
        assert ask(address, b"LIST\n") == b"OK %d\n" % len(listed) + listed
        assert ask(address, b"LIST", half_close=True) == b"OK %d\n" % len(listed) + listed
        assert ask(address, b"DOWNLOAD dir/a file\n", half_close=True) == b"OK %d\n" % len(content) + content
        assert ask(address, b"DOWNLOAD empty\n") == b"OK 0\n"


def test_a_request_in_single_bytes() -> None:
    """However slowly it is typed."""
    with line_master() as (address, store, _), RawPeer(address) as peer:
        for byte in b"UPLOAD x 3\nabc":
            peer.send(bytes([byte]))
        assert peer.rest() == b"OK 0\n"
        assert store.files == {"/x": b"abc"}


def test_bytes_behind_the_body_are_not_part_of_it() -> None:
    """Exactly as many as announced are stored."""
    with line_master() as (address, store, _):
        assert ask(address, b"UPLOAD x 3\nabcdef") == b"OK 0\n"
        assert store.files == {"/x": b"abc"}


def test_an_upload_that_ends_early_stores_nothing() -> None:
    """Not one byte short is a file."""
    with line_master() as (address, store, _):
        assert ask(address, b"UPLOAD x 4\nabc", half_close=True).startswith(b"ERROR unavailable the upload ended 1 ")
        assert store.files == {}


@pytest.mark.parametrize(
    "line",
    [
        b"HELO x",
        b"list",
        b"LIST all",
        b"DOWNLOAD",
        b"DOWNLOAD ",
        b"UPLOAD",
        b"UPLOAD name",
        b"UPLOAD 5",
        b"UPLOAD name -1",
        b"UPLOAD name 1e3",
        b"UPLOAD name " + b"9" * 19,
        b"UPLOAD name \xd9\xa5",
        b"UPLOAD \xff 5",
        b"STORAGE_NODE",
        b"STORAGE_NODE 0",
        b"STORAGE_NODE 65536",
        b"STORAGE_NODE 5001 5002",
        b"GET / HTTP/1.1",
        b"UPLOAD / 0",
    ],
)
def test_what_makes_no_sense_is_a_sentence(line: bytes) -> None:
    """One line: ERROR, a code, what to write instead; then the end."""
    with line_master() as (address, _, _):
        answer = ask(address, line + b"\n")
        assert answer.startswith(b"ERROR usage ")
        assert answer.endswith(b"\n")
        assert answer.count(b"\n") == 1


def test_a_line_without_an_end() -> None:
    """It is refused as soon as it is too long."""
    with line_master() as (address, _, _):
        assert ask(address, b"UPLOAD " + b"x" * (LINE_BYTES_MAX + 10)).startswith(b"ERROR too_large ")


def test_what_is_not_there() -> None:
    """The code is the error's own."""
    with line_master() as (address, _, _):
        assert ask(address, b"DOWNLOAD nothing\n") == b"ERROR not_found /nothing does not exist\n"


def test_a_download_that_breaks_never_looks_whole() -> None:
    """After the size was promised, no sentence of ours passes for content: the connection ends early."""
    with line_master() as (address, _, _):
        answer = ask(address, b"DOWNLOAD broken\n")
        assert answer == b"OK 100000\n" + bytes(50_000)


def test_odd_names_stay_on_their_line() -> None:
    """Control characters and line breaks in a name are written as escapes."""
    with line_master() as (address, store, _):
        store.files = {"/a\nERROR b": b"", "/\x1b[2J": b"", "/é\u2028": b""}
        size, _, listed = ask(address, b"LIST\n").partition(b"\n")
        assert size == b"OK %d" % len(listed)
        names = [line.removesuffix(" 10.0.0.1:5001 10.0.0.2:5001") for line in listed.decode().splitlines()]
        assert sorted(names) == sorted(["a\\nERROR b", "\\x1b[2J", "é\\u2028"])


def test_many_at_once() -> None:
    """Each connection has a thread of its own."""
    with line_master() as (address, store, _):
        answers: list[bytes] = []

        def upload(number: int) -> None:
            answers.append(ask(address, b"UPLOAD %d 100000\n" % number + bytes(100_000)))

        threads = [threading.Thread(target=upload, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [b"OK 0\n"] * 20
        assert len(store.files) == 20


def test_a_node_that_holds_the_token_is_welcome() -> None:
    """The master dials the sender's own address back, and nobody else's."""
    with line_master() as (address, _, dialer):
        assert ask(address, b"STORAGE_NODE 5001\n") == b"OK 0\n"
        assert dialer.dialled == ["127.0.0.1:5001"]
    with line_master(token=b"u" * 32) as (address, _, _):
        assert ask(address, b"STORAGE_NODE 5001\n").startswith(b"ERROR bad_credential ")
    with line_master(token=None) as (address, _, _):
        assert ask(address, b"STORAGE_NODE 5001\n").startswith(b"ERROR connect_failed ")


class FarTransport:
    """A connection from somewhere else."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.sent = b""

    def set_deadline(self, seconds: float, *, in_all: bool = False) -> None:
        return None

    def send(self, *parts: bytes) -> None:
        self.sent += b"".join(parts)

    def finish_sending(self) -> None:
        return None

    def recv_into(self, buffer: memoryview) -> int:
        return 0


@pytest.mark.parametrize(
    ("peer", "allowed", "served"),
    [
        ("127.0.0.1:40000", (), True),
        ("127.9.9.9:40000", (), True),
        ("[::1]:40000", (), True),
        ("[::ffff:127.0.0.1]:40000", (), True),
        ("10.0.0.5:40000", (), False),
        ("[::ffff:10.0.0.5]:40000", (), False),
        ("[fe80::1%eth0]:40000", (), False),
        ("10.0.0.5:40000", ("10.0.0.0/8",), True),
        ("10.0.0.5:40000", ("10.0.0.5",), True),
        ("10.0.0.6:40000", ("10.0.0.5",), False),
        ("[fe80::1%eth0]:40000", ("fe80::/10",), True),
    ],
)
def test_loopback_only_unless_configured(peer: str, allowed: tuple[str, ...], served: bool) -> None:
    """Lines carry no credential, so strangers are refused before a line is read."""
    transport = FarTransport(peer)
    lines = LineProtocol(DictionaryStore, FakeNodeDialer(TOKEN), Credentials([]), allowed=allowed)
    refusal = lines.refusal(peer)
    lines.serve_lines(transport, b"LIST\n")  # type: ignore[arg-type]
    if served:
        assert refusal is None
        assert transport.sent.startswith(b"OK 0\n")
    else:
        assert refusal == transport.sent
        assert refusal.startswith(b"ERROR not_allowed ")


@pytest.mark.parametrize(
    ("beginning", "answer"), [(b"LI", b"ERROR timed_out "), (b"HELO\n", b"ERROR usage ")], ids=["a line", "a refusal"]
)
def test_a_byte_now_and_then_keeps_no_place(monkeypatch: pytest.MonkeyPatch, beginning: bytes, answer: bytes) -> None:
    """Neither in the line nor after a refusal: each has its time in all."""
    monkeypatch.setattr(line_protocol, "LINE_SECONDS", 0.3)
    monkeypatch.setattr(line_protocol, "LINGER_SECONDS", 0.3)
    with line_master() as (address, _, _), RawPeer(address) as peer:
        peer.send(beginning)
        begun = time.perf_counter()
        with contextlib.suppress(OSError):
            while time.perf_counter() - begun < 5:
                peer.send(b"x")
                time.sleep(0.05)
        assert time.perf_counter() - begun < 4
    with line_master() as (address, _, _), RawPeer(address) as peer:
        peer.send(beginning)
        assert peer.rest().startswith(answer)


def test_a_network_that_is_none_is_refused_at_start() -> None:
    """An operator's slip is a sentence, not a trace."""
    with pytest.raises(DfsError, match=r"write for example 10\.0\.0\.0/8"):
        LineProtocol(DictionaryStore, FakeNodeDialer(TOKEN), Credentials([]), allowed=("ten",))


@pytest.mark.parametrize(
    ("peer", "address_set"),
    [
        ("127.0.0.1:40000", AddressSet.CLUSTER),
        ("[::ffff:127.0.0.1]:40000", AddressSet.CLUSTER),
        ("172.17.0.1:40000", AddressSet.PUBLIC),
        ("[fe80::1%eth0]:40000", AddressSet.PUBLIC),
    ],
)
def test_a_list_shows_addresses_that_the_caller_can_reach(peer: str, address_set: AddressSet) -> None:
    """Whoever comes from another host, or from outside of the container, sees public ones."""
    asked: list[AddressSet] = []

    def store(addresses: AddressSet) -> DictionaryStore:
        asked.append(addresses)
        return DictionaryStore(addresses)

    lines = LineProtocol(store, FakeNodeDialer(TOKEN), Credentials([]), allowed=("172.17.0.1", "fe80::/10"))
    lines.serve_lines(FarTransport(peer), b"LIST\n")  # type: ignore[arg-type]
    assert asked == [address_set]


@pytest.mark.parametrize(("gateway", "served"), [("172.18.0.1", True), ("172.19.0.1", False), (None, False)])
def test_the_gateway_may_be_allowed_by_that_word(gateway: str | None, served: bool) -> None:
    """Its own address and no other; without a gateway nobody is let in, and the master serves all the same."""
    lines = LineProtocol(
        DictionaryStore, FakeNodeDialer(TOKEN), Credentials([]), allowed=("gateway",), gateway=lambda: gateway
    )
    transport = FarTransport("172.18.0.1:40000")
    lines.serve_lines(transport, b"LIST\n")  # type: ignore[arg-type]
    assert transport.sent.startswith(b"OK 0\n" if served else b"ERROR not_allowed ")
