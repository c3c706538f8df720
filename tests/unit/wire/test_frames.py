"""Frames: the bytes are what the layout says, and however they arrive, the same frames come out."""

import contextlib
import socket
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs_wire import frame
from dfs_wire import messages as m
from dfs_wire.codec import encode
from dfs_wire.errors import ProtocolError, TooLargeError
from dfs_wire.frame import FIXED_BYTES, Kind, decode_head, encode_head
from dfs_wire.limits import CHUNK_BYTES_MAX, HEADER_BYTES_MAX, LIST_BODY_BYTES_MAX
from dfs_wire.parser import Frame, FrameParser
from dfs_wire.stream import FrameStream
from dfs_wire.transport import Transport

_FRAMES = st.lists(
    st.tuples(
        st.sampled_from(Kind),
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=300),
        st.binary(max_size=2_000),
    ),
    min_size=1,
    max_size=6,
)


def frame_bytes(kind: Kind, verb: int, request: int, header: bytes, body: bytes) -> bytes:
    """A whole frame with a list body."""
    return encode_head(kind, verb, request, header, len(body), frame.body_checksum(body)) + header + body


def greeted_parser() -> FrameParser:
    """A parser with the full limits."""
    parser = FrameParser()
    parser.greeted(HEADER_BYTES_MAX)
    return parser


def described(found: Frame) -> tuple[Kind, int, int, bytes, bytes]:
    """What a frame says."""
    return found.head.kind, found.head.verb, found.head.request, found.header, found.body


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[begin:end] for begin, end in pairwise(edges)]


def test_the_layout_is_as_documented() -> None:
    """Each field lies where the table in `frame.py` and in the protocol page says, big-endian."""
    data = encode_head(Kind.REQUEST, 0x0102, 0x0304050607080910, b"header", 0x11, 0x12131415)
    assert len(data) == FIXED_BYTES == 40
    assert data[:4] == b"\xdfDFS"
    assert data[4:6] == bytes([1, 1])
    assert data[6:8] == bytes([1, 2])
    assert data[8:16] == bytes([3, 4, 5, 6, 7, 8, 9, 16])
    assert data[16:20] == (6).to_bytes(4, "big")
    assert data[20:28] == (0x11).to_bytes(8, "big")
    assert data[28:32] == bytes([0x12, 0x13, 0x14, 0x15])
    assert data[32:36] == bytes(4)


def test_the_magic_is_neither_text_nor_tls() -> None:
    """One look at the first byte tells our frames from the line protocol and from a TLS handshake."""
    assert frame.MAGIC[0] >= 0x80
    assert frame.MAGIC[0] != 0x16


@given(_FRAMES, st.lists(st.integers(0, 20_000), max_size=30))
def test_any_split_of_the_bytes_gives_the_same_frames(
    frames: list[tuple[Kind, int, int, bytes, bytes]], places: list[int]
) -> None:
    """The parser does not care how TCP cut the stream."""
    parser = greeted_parser()
    found: list[Frame] = []
    for piece in cut(b"".join(frame_bytes(*each) for each in frames), places):
        parser.feed(piece)
        while (whole := parser.next_frame()) is not None:
            found.append(whole)
    assert [described(each) for each in found] == frames
    assert parser.held_bytes == 0


@given(_FRAMES, st.lists(st.integers(0, 20_000), max_size=10))
def test_parser_and_stream_agree(frames: list[tuple[Kind, int, int, bytes, bytes]], places: list[int]) -> None:
    """The blocking reader gives what the non-blocking parser gives."""
    pieces = cut(b"".join(frame_bytes(*each) for each in frames), places)
    here, there = socket.socketpair(socket.AF_UNIX)
    here, there = _tcp_pair(here, there)
    found = []
    sender = threading.Thread(target=lambda: [here.sendall(piece) for piece in pieces] and here.close())
    sender.start()
    stream = FrameStream(Transport(there, "peer"))
    while (head := stream.read_head()) is not None:
        found.append((head[0].kind, head[0].verb, head[0].request, head[1], stream.read_list(head[0])))
    sender.join()
    there.close()
    here.close()
    assert found == frames


def _tcp_pair(one: socket.socket, other: socket.socket) -> tuple[socket.socket, socket.socket]:
    """TCP instead of what `socketpair` gives: the transport sets a TCP option."""
    one.close()
    other.close()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = socket.create_connection(listening.getsockname())
        there, _ = listening.accept()
    there.settimeout(10)
    return here, there


_PING = frame_bytes(Kind.REQUEST, 2, 7, b"\x80", b"body")


def test_every_flipped_bit_is_noticed() -> None:
    """A frame with one altered bit is refused, or still waits for bytes that a longer length promised."""
    longest = bytes(LIST_BODY_BYTES_MAX + HEADER_BYTES_MAX)
    for bit in range(len(_PING) * 8):
        data = bytearray(_PING)
        data[bit // 8] ^= 1 << bit % 8
        parser = greeted_parser()
        parser.feed(bytes(data) + bytes(100))
        with contextlib.suppress(ProtocolError):
            assert parser.next_frame() is None
            parser.feed(longest)
            assert parser.next_frame() is None, f"bit {bit} went unnoticed"
            raise AssertionError(f"after bit {bit} more bytes are awaited than any frame has")


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    """Only `ProtocolError` comes out of bytes that nobody made."""
    parser = FrameParser()
    parser.feed(data)
    try:
        assert parser.next_frame() is None
    except ProtocolError:
        assert len(data) >= FIXED_BYTES


def test_lengths_are_judged_before_anything_is_awaited() -> None:
    """Too long a header or body is refused from the fixed header alone."""
    assert decode_head(encode_head(Kind.REPLY, 1, 1, b"", CHUNK_BYTES_MAX)).body_bytes == CHUNK_BYTES_MAX
    with pytest.raises(TooLargeError):
        decode_head(encode_head(Kind.REPLY, 1, 1, b"", CHUNK_BYTES_MAX + 1))
    with pytest.raises(TooLargeError):
        decode_head(encode_head(Kind.REPLY, 1, 1, b"x" * (HEADER_BYTES_MAX + 1), 0))
    for parser, body_bytes in ((FrameParser(), 1), (greeted_parser(), LIST_BODY_BYTES_MAX + 1)):
        parser.feed(encode_head(Kind.REQUEST, 1, 1, b"\x80", body_bytes))
        with pytest.raises(TooLargeError):
            parser.next_frame()


def test_another_protocol_version_is_named() -> None:
    """The sentence says which versions met."""
    data = bytearray(encode_head(Kind.REQUEST, 1, 1, b"", 0))
    data[4] = 2
    with pytest.raises(ProtocolError, match="protocol 2, this program 1"):
        decode_head(data)


def test_a_stream_stands_between_frames_only_after_the_body() -> None:
    """`idle` is false while bytes of a body are still to be read."""
    here, there = _tcp_pair(*socket.socketpair())
    with here, there:
        here.sendall(frame_bytes(Kind.REPLY, 2, 1, encode(m.Done()), b"0123456789"))
        stream = FrameStream(Transport(there, "peer"))
        assert stream.read_head() is not None
        assert not stream.idle()
        assert stream.read_body_into(memoryview(bytearray(4))) == 4
        assert not stream.idle()
        assert stream.read_body_into(memoryview(bytearray(100))) == 6
        assert stream.read_body_into(memoryview(bytearray(100))) == 0
        assert stream.idle()
