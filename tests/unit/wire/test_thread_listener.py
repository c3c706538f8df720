"""The blocking side of the wire, over real sockets on loopback."""

import os
import socket
import threading

import pytest
from tests.support.raw_peer import greeted_peer
from tests.support.wire import dictionary_node, hello_for, poll_for, ticket_for

from dfs_wire import messages as m
from dfs_wire.channel import PutStream
from dfs_wire.errors import (
    BadCredentialError,
    BusyError,
    ChunkCorruptError,
    InternalError,
    NotFoundError,
    UnavailableError,
)
from dfs_wire.frame import FIXED_BYTES, Kind, encode_head
from dfs_wire.pool import ChannelPool
from dfs_wire.sockets import SocketDialer

SMALL = b"small chunk"
LARGE = os.urandom(3 * 1024 * 1024 + 17)


def send(stream: PutStream, data: bytes) -> m.PutChunkReply:
    """Write all of it in pieces, then wait for the receipts."""
    for start in range(0, len(data), 1_000_000):
        stream.write(data[start : start + 1_000_000])
    return stream.finish()


@pytest.mark.parametrize("data", [b"", SMALL, LARGE[: 1024 * 1024], LARGE[: 1024 * 1024 + 1], LARGE])
def test_put_and_get(data: bytes) -> None:
    """A chunk of any size comes back as it was stored, over one connection."""
    with dictionary_node() as (address, node):
        channel = SocketDialer().dial(address, hello_for(address))
        reply = send(channel.put(m.PutChunk(ticket=ticket_for(data))), data)
        assert [receipt.size for receipt in reply.receipts] == [len(data)]
        assert list(node.chunks.values()) == [data]
        read = m.GetChunk(ticket=m.ReadTicket(ticket_for(data).digest, 1, 0, b""))
        stream = channel.get(read)
        received = bytearray(len(data) + 10)
        filled = 0
        while count := stream.read_into(memoryview(received)[filled:]):
            filled += count
        stream.close()
        assert received[:filled] == data
        assert channel.usable()
        channel.close()


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_refusal_before_the_body(data: bytes) -> None:
    """A put that is refused before its body leaves the connection usable."""
    with dictionary_node() as (address, _):
        channel = SocketDialer().dial(address, hello_for(address))
        for _ in range(3):
            with pytest.raises(BusyError):
                send(channel.put(m.PutChunk(ticket=ticket_for(data, generation=666))), data)
        assert channel.usable()
        send(channel.put(m.PutChunk(ticket=ticket_for(data))), data)
        channel.close()


def test_refusal_in_the_middle() -> None:
    """A node that fails in mid-body says why before it hangs up."""
    with dictionary_node() as (address, _):
        channel = SocketDialer().dial(address, hello_for(address))
        with pytest.raises((ChunkCorruptError, UnavailableError)):
            send(channel.put(m.PutChunk(ticket=ticket_for(LARGE, generation=667))), LARGE)
        channel.close()


def test_wrong_digest_keeps_the_connection() -> None:
    """A body that was read to its end but is another chunk is refused, and the connection goes on."""
    with dictionary_node() as (address, node):
        channel = SocketDialer().dial(address, hello_for(address))
        with pytest.raises(ChunkCorruptError):
            send(channel.put(m.PutChunk(ticket=ticket_for(SMALL))), b"x" * len(SMALL))
        assert not node.chunks
        assert channel.usable()
        channel.close()


def test_abort_discards() -> None:
    """A client that gives up in the middle stores nothing."""
    with dictionary_node() as (address, node):
        channel = SocketDialer().dial(address, hello_for(address))
        stream = channel.put(m.PutChunk(ticket=ticket_for(LARGE)))
        stream.write(LARGE[:100])
        stream.abort()
        assert not channel.usable()
        assert not node.chunks


def test_stranger() -> None:
    """A wrong role is refused at Hello, and nothing is served before Hello."""
    with dictionary_node() as (address, _):
        with pytest.raises(BadCredentialError):
            SocketDialer().dial(address, m.Hello(role=m.Role.CLIENT, credential=b"x"))
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(encode_head(Kind.REQUEST, 2, 1, b"\x80", 0) + b"\x80")
            reply = raw.recv(4096)
            assert reply[5] == Kind.ERROR
            assert b"not_allowed" in reply
            assert raw.recv(1) == b""


def test_fault_of_ours() -> None:
    """A handler's crash is an `internal` error; the connection and the listener go on."""
    with dictionary_node() as (address, _):
        channel = SocketDialer().dial(address, hello_for(address))
        with pytest.raises(InternalError):
            channel.call(m.ProveJoin(nonce=b"n"), m.ProveJoinReply)
        assert channel.call(m.Ping(), m.Done)
        channel.close()


def test_list_body() -> None:
    """A list body comes back whole, also a long one."""
    with dictionary_node() as (address, _):
        pool = ChannelPool(SocketDialer(), hello_for)
        for body in (b"", b"x", os.urandom(250_000)):
            with pool.channel(address) as channel:
                assert channel.call(m.RenewReceipts(), m.RenewReceiptsReply, body).body == body
        pool.close()


def test_pool_replaces_a_dead_channel() -> None:
    """A connection that the peer closed while idle is not lent again."""
    pool = ChannelPool(SocketDialer(), hello_for)
    with dictionary_node() as (address, _):
        with pool.channel(address) as first:
            first.call(m.Ping(), m.Done)
        with pool.channel(address) as second:
            assert second is first
            with pytest.raises(NotFoundError):
                second.get(m.GetChunk(ticket=m.ReadTicket(b"?", 1, 0, b"")))
    poll_for(lambda: not first.usable())
    with pytest.raises(UnavailableError), pool.channel(address):
        pass
    pool.close()


def test_an_idle_connection_gives_way() -> None:
    """Beyond its limit the listener closes the oldest that is idle: who holds connections keeps nobody out."""
    with dictionary_node(connections_max=2) as (address, _):
        dialer = SocketDialer()
        channels = [dialer.dial(address, hello_for(address)) for _ in range(3)]
        for channel in channels[1:]:
            channel.call(m.Ping(), m.Done)
        with pytest.raises(UnavailableError):
            channels[0].call(m.Ping(), m.Done)
        for channel in channels:
            channel.close()


def test_too_many_connections() -> None:
    """Where all of them are at work, the one that is too many is closed at once, and the others are served."""
    with dictionary_node(connections_max=1) as (address, _):
        dialer = SocketDialer()
        channel = dialer.dial(address, hello_for(address))
        stream = channel.put(m.PutChunk(ticket=ticket_for(LARGE), hop=0))
        stream.write(LARGE[:1_000_000])
        with pytest.raises(UnavailableError):
            dialer.dial(address, hello_for(address))
        stream.write(LARGE[1_000_000:])
        stream.finish()
        channel.close()


def test_no_thread_for_a_connection(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """That connection is closed and leaves nothing behind; the next one is served, and the listener can be stopped."""
    start = threading.Thread.start
    failures = iter([True, True])

    def fail_twice(thread: threading.Thread) -> None:
        if thread.name.startswith("serve-") and next(failures, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_twice)
    with dictionary_node(connections_max=1) as (address, _):
        for _ in range(2):
            with pytest.raises(UnavailableError):
                SocketDialer().dial(address, hello_for(address))
        channel = SocketDialer().dial(address, hello_for(address))
        channel.call(m.Ping(), m.Done)
        channel.close()
    assert caplog.text.count("accept failed") == 2
    assert "too many connections" not in caplog.text


GOOD = encode_head(Kind.REQUEST, 1, 1, b"\x81\xa4role\xa6ticket", 0) + b"\x81\xa4role\xa6ticket"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("text", b"GET / HTTP/1.1\r\nHost: example\r\n\r\n" * 3),
        ("wrong checksum", GOOD[:36] + b"\0\0\0\0" + GOOD[40:]),
        ("altered header", GOOD[:-1] + b"x"),
        ("oversized header", encode_head(Kind.REQUEST, 1, 1, b"x" * 5_000, 0) + b"x" * 5_000),
        ("oversized body", encode_head(Kind.REQUEST, 1, 1, b"\x80", 2**40) + b"\x80"),
        ("unknown verb", encode_head(Kind.REQUEST, 999, 1, b"\x80", 0) + b"\x80"),
        ("a reply", encode_head(Kind.REPLY, 1, 1, b"\x80", 0) + b"\x80"),
        ("not msgpack", encode_head(Kind.REQUEST, 1, 1, b"\xc1", 0) + b"\xc1"),
        ("body where none belongs", encode_head(Kind.REQUEST, 1, 1, b"\x81\xa4role\xa6ticket", 5)),
    ],
)
def test_garbage(name: str, data: bytes) -> None:
    """What is not a valid frame closes its own connection and harms nobody else."""
    with dictionary_node() as (address, _):
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.settimeout(5)
            raw.sendall(data + b"\0" * FIXED_BYTES)
            reply = b""
            try:
                while part := raw.recv(4096):
                    reply += part
            except ConnectionResetError:
                pass
            assert reply == b"" or reply[5] == Kind.ERROR, name
        channel = SocketDialer().dial(address, hello_for(address))
        channel.call(m.Ping(), m.Done)
        channel.close()


def test_truncated_frames() -> None:
    """A connection cut at any byte of a frame harms nobody."""
    with dictionary_node() as (address, _):
        host, port = address.split(":")
        for cut in range(len(GOOD)):
            with socket.create_connection((host, int(port))) as raw:
                raw.sendall(GOOD[:cut])
        channel = SocketDialer().dial(address, hello_for(address))
        channel.call(m.Ping(), m.Done)
        channel.close()


def test_a_reply_that_breaks_in_the_middle_ends_the_connection() -> None:
    """Nothing but the promised bytes ever stands in a body: no error frame, no sentence, only an early end."""
    with dictionary_node() as (address, node):
        channel = SocketDialer().dial(address, hello_for(address))
        send(channel.put(m.PutChunk(ticket=ticket_for(LARGE))), LARGE)
        node.break_reads_after = 1024 * 1024
        stream = channel.get(m.GetChunk(ticket=m.ReadTicket(ticket_for(LARGE).digest, 1, 0, b"")))
        received = bytearray()
        buffer = memoryview(bytearray(100_000))
        with pytest.raises(UnavailableError):  # noqa: PT012 - it comes somewhere on the way
            while count := stream.read_into(buffer):
                received += buffer[:count]
        assert received == LARGE[: len(received)]
        assert not channel.usable()
        channel.close()


def test_what_is_no_frame_is_refused_by_name() -> None:
    """The peer learns what was wrong before the connection ends, even with more bytes on the way."""
    with dictionary_node() as (address, _), greeted_peer(address, hello_for(address)) as peer:
        peer.send(encode_head(Kind.REQUEST, 2, 1, b"x" * 70_000, 0), bytes(300_000))
        assert peer.error().code == "too_large"
        assert peer.at_end()


def test_a_reply_in_place_of_a_request() -> None:
    """Only requests are served."""
    with dictionary_node() as (address, _), greeted_peer(address, hello_for(address)) as peer:
        peer.send(encode_head(Kind.GO_ON, 2, 1, b"\x80", 0) + b"\x80")
        assert peer.error().code == "protocol"
        assert peer.at_end()


def test_stop_lets_a_chunk_arrive() -> None:
    """A put under way when the listener stops is finished and answered; an idle connection ends at once."""
    with dictionary_node() as (address, node):
        dialer = SocketDialer()
        idle, channel = dialer.dial(address, hello_for(address)), dialer.dial(address, hello_for(address))
        stream = channel.put(m.PutChunk(ticket=ticket_for(LARGE)))
        stream.write(LARGE[:1_000_000])
        stopper = threading.Thread(target=node.stop)
        stopper.start()
        poll_for(lambda: not idle.usable())
        stream.write(LARGE[1_000_000:])
        assert len(stream.finish().receipts) == 1
        stopper.join()
        assert not channel.usable()
        for each in (idle, channel):
            each.close()
