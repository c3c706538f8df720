"""What peers without any ticket can take of a node: little memory, and no place that somebody else needs."""

import contextlib
import os
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from tests.support.raw_peer import RawPeer, greeted_peer, request_bytes
from tests.support.wire import dictionary_node, hello_for, ticket_for

from dfs_wire import connection
from dfs_wire import messages as m
from dfs_wire.codec import encode
from dfs_wire.errors import ConnectFailedError
from dfs_wire.frame import Kind, body_checksum, encode_head
from dfs_wire.limits import LIST_BODY_BYTES_MAX, RENEW_BODY_BYTES_MAX
from dfs_wire.sockets import SocketDialer
from dfs_wire.stream import FrameStream
from dfs_wire.verbs import BY_REQUEST

WRONG_HELLO = request_bytes(m.Hello(role=m.Role.CLIENT, credential=b"guess"))


def head_of(request: m.Header, body_bytes: int, checksum: int = 0) -> bytes:
    """The frame of a request up to its body."""
    header = encode(request)
    return encode_head(Kind.REQUEST, BY_REQUEST[type(request)].number, 1, header, body_bytes, checksum) + header


class PiecesOnly:
    """The receiving half of a transport: gives some bytes at a time, then the connection breaks."""

    peer = "somewhere"

    def __init__(self, data: bytes, piece: int = 40_000) -> None:
        self._data = memoryview(data)
        self._piece = piece

    def recv_into(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._piece, len(self._data))
        if count == 0:
            raise ConnectFailedError("gone")
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count


def test_a_promised_list_takes_no_memory() -> None:
    """A head that announces 8 MiB, and nothing behind it."""
    stream = FrameStream(PiecesOnly(head_of(m.RenewReceipts(), LIST_BODY_BYTES_MAX)))  # type: ignore[arg-type]
    found = stream.read_head()
    assert found is not None
    tracemalloc.start()
    try:
        with pytest.raises(ConnectFailedError):
            stream.read_list(found[0])
        assert tracemalloc.get_traced_memory()[1] < 256 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 5_000_000, LIST_BODY_BYTES_MAX])
def test_a_list_of_any_size_comes_whole(size: int) -> None:
    """However it is cut on its way; what follows it is the next frame."""
    body = os.urandom(size)
    frame = head_of(m.RenewReceipts(), size, body_checksum(body)) + body
    stream = FrameStream(PiecesOnly(frame + request_bytes(m.Ping())))  # type: ignore[arg-type]
    found = stream.read_head()
    assert found is not None
    assert stream.read_list(found[0]) == body
    following = stream.read_head()
    assert following is not None
    assert following[0].verb == BY_REQUEST[m.Ping].number


def test_a_list_longer_than_its_verb_takes() -> None:
    """Refused by its head."""
    with dictionary_node() as (address, _), greeted_peer(address, hello_for(address)) as peer:
        peer.send(head_of(m.RenewReceipts(), RENEW_BODY_BYTES_MAX + 1))
        assert peer.error().code == "too_large"
        assert peer.at_end()


def require_service(address: str) -> None:
    """An honest peer is served."""
    channel = SocketDialer().dial(address, hello_for(address))
    channel.call(m.Ping(), m.Done)
    channel.close()


def test_requests_that_do_not_come_give_way() -> None:
    """Lists and bodies that were announced, and peers that were refused: none of them holds the last place."""
    put = m.PutChunk(ticket=ticket_for(b"x" * 100_000, generation=666))
    with dictionary_node(connections_max=3) as (address, _), contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(greeted_peer(address, hello_for(address))) for _ in range(2)]
        waiting[0].send(head_of(m.RenewReceipts(), RENEW_BODY_BYTES_MAX))
        waiting[1].send(head_of(put, 100_000))
        refused = stack.enter_context(RawPeer(address))
        refused.send(WRONG_HELLO)
        assert refused.error().code == "bad_credential"
        for _ in range(3):
            require_service(address)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that waits a fraction of a second."""
    monkeypatch.setattr(connection, "_LINGER_SECONDS", 0.3)
    monkeypatch.setattr(connection, "_BODY_SECONDS", 0.3)


@contextlib.contextmanager
def refused_by_hello(address: str) -> Iterator[RawPeer]:
    """A peer with a wrong credential."""
    with RawPeer(address) as peer:
        peer.send(WRONG_HELLO)
        assert peer.error().code == "bad_credential"
        yield peer


def seconds_of_dripping(peer: RawPeer) -> float:
    """How long the node takes a byte now and then."""
    begun = time.perf_counter()
    with contextlib.suppress(OSError):
        while time.perf_counter() - begun < 5:
            peer.send(b"x")
            time.sleep(0.05)
    return time.perf_counter() - begun


@pytest.mark.usefixtures("hurried")
def test_a_byte_now_and_then_keeps_no_connection() -> None:
    """Neither in a list, nor in the body of a refused put, nor after a refusal."""
    put = m.PutChunk(ticket=ticket_for(b"x" * 100_000, generation=666))
    with dictionary_node() as (address, _):
        for head in (head_of(m.RenewReceipts(), 100_000), head_of(put, 100_000)):
            with greeted_peer(address, hello_for(address)) as peer:
                peer.send(head)
                assert seconds_of_dripping(peer) < 4
        with refused_by_hello(address) as peer:
            assert seconds_of_dripping(peer) < 4
