"""Addresses, and what a blocking connection says when its peer does not do its part."""

import socket
import tempfile
import threading
from collections.abc import Iterator

import pytest

from dfs_wire.errors import ConnectFailedError, ProtocolError, TimedOutError, UnavailableError
from dfs_wire.transport import Transport, connect, format_address, listen, parse_address


@pytest.fixture
def pair() -> Iterator[tuple[Transport, socket.socket]]:
    """A transport and the plain socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        transport = connect(format_address(*listening.getsockname()))
        other, _ = listening.accept()
    other.settimeout(10)
    yield transport, other
    transport.close()
    other.close()


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("localhost:5000", ("localhost", 5000)),
        ("10.0.0.1:0", ("10.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("::1:5000", ("::1", 5000)),
    ],
)
def test_good_addresses(text: str, parsed: tuple[str, int]) -> None:
    """Host and port, brackets around an IPv6 address."""
    assert parse_address(text) == parsed
    assert parse_address(format_address(*parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", ":5000", "host:", "host:-1", "host:65536", "host:５０", "host:1e3", "host:" + "9" * 5_000),
        *("two words:1", "line\nbreak:1", "\x1b[0m:1"),
    ],
)
def test_bad_addresses(text: str) -> None:
    """What nobody could dial, or would print with care, is refused with a hint."""
    with pytest.raises(ProtocolError, match="write host:port"):
        parse_address(text)


def test_a_taken_port_is_said_once_and_in_plain_words() -> None:
    """The address and the system's reason, without the address again in Python's way."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = format_address(*taken.getsockname())
        with pytest.raises(UnavailableError, match="already in use") as caught:
            listen(address)
    assert str(caught.value).count("127.0.0.1") == 1


def test_a_byte_now_and_then_does_not_move_a_deadline_for_all(pair: tuple[Transport, socket.socket]) -> None:
    """Each byte is progress, but together they have one time; the next deadline is an ordinary one again."""
    transport, other = pair
    transport.set_deadline(0.2, in_all=True)

    def drip() -> None:
        pause = threading.Event()
        for _ in range(20):
            other.sendall(b"x")
            pause.wait(0.04)

    dripping = threading.Thread(target=drip)
    dripping.start()
    with pytest.raises(TimedOutError):
        transport.recv_exactly(memoryview(bytearray(20)))
    transport.set_deadline(10)
    transport.recv_exactly(memoryview(bytearray(10)))
    dripping.join()


def test_a_silent_peer_costs_the_deadline(pair: tuple[Transport, socket.socket]) -> None:
    """No byte within the deadline is `timed_out`, for reading and for sending."""
    transport, _ = pair
    transport.set_deadline(0.05)
    with pytest.raises(TimedOutError):
        transport.recv_into(memoryview(bytearray(1)))
    with pytest.raises(TimedOutError):
        transport.send(bytes(64 * 1024 * 1024))


def test_a_file_that_nobody_takes(pair: tuple[Transport, socket.socket]) -> None:
    """`send_file` waits for room no longer than the deadline."""
    transport, _ = pair
    transport.set_deadline(0.05)
    with tempfile.TemporaryFile() as file:
        file.truncate(64 * 1024 * 1024)
        with pytest.raises(TimedOutError):
            transport.send_file(file.fileno(), 0, 64 * 1024 * 1024)


def test_a_slice_of_a_file(pair: tuple[Transport, socket.socket]) -> None:
    """Exactly the slice arrives, also where the receiver is slow; a file that is too short ends the stream."""
    transport, other = pair
    transport.set_deadline(10)
    data = bytes(range(256)) * 20_000
    received = bytearray()

    def receive() -> None:
        while len(received) < len(data) - 1_000:
            received.extend(other.recv(10_000))

    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        receiver = threading.Thread(target=receive)
        receiver.start()
        transport.send_file(file.fileno(), 1_000, len(data) - 1_000)
        receiver.join()
        assert received == data[1_000:]
        with pytest.raises(ProtocolError, match="a file ended"):
            transport.send_file(file.fileno(), len(data) - 10, 20)


def test_a_peer_that_is_gone(pair: tuple[Transport, socket.socket]) -> None:
    """The end of the stream is 0 bytes; too early it is an error; `hung_up` sees it without reading."""
    transport, other = pair
    assert not transport.hung_up()
    other.sendall(b"ab")
    other.close()
    buffer = memoryview(bytearray(4))
    with pytest.raises(ConnectFailedError):
        transport.recv_exactly(buffer)
    assert bytes(buffer[:2]) == b"ab"
    assert transport.recv_into(buffer) == 0
    assert transport.hung_up()


def test_close_wakes_a_thread_that_waits(pair: tuple[Transport, socket.socket]) -> None:
    """A listener that stops does not wait for its peers; closing twice is fine."""
    transport, _ = pair
    transport.set_deadline(30)
    ends: list[object] = []

    def wait() -> None:
        try:
            ends.append(transport.recv_into(memoryview(bytearray(1))))
        except UnavailableError as error:
            ends.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    transport.close()
    transport.close()
    waiting.join(10)
    assert len(ends) == 1
    assert transport.hung_up()
    transport.finish_sending()


def test_nobody_listens() -> None:
    """The sentence says what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = format_address(*listening.getsockname())
    with pytest.raises(ConnectFailedError, match="is it running"):
        connect(address)
    with pytest.raises(ConnectFailedError):
        connect("no-such-host.invalid:1")


def test_a_taken_port_is_refused() -> None:
    """The sentence says what to do."""
    first = listen("127.0.0.1:0")
    address = format_address(*first.getsockname())
    with first, pytest.raises(UnavailableError, match="choose another"):
        listen(address)
