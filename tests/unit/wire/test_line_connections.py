"""Connections to the master's port that begin with text."""

import threading

import pytest
from tests.support.event_wire import EchoLines, echo_master, require_service
from tests.support.polling import poll_for
from tests.support.raw_peer import RawPeer

from dfs_runtime.clock import ManualClock
from dfs_wire.event_listener import LINGER_SECONDS


def test_a_first_byte_of_text_is_a_line() -> None:
    """Text goes to the line protocol on the same port; binary that is not ours is closed without a word."""
    with echo_master(lines=EchoLines()) as (address, _):
        with RawPeer(address) as peer:
            peer.send(b"LIST\n")
            assert peer.rest() == b"HEARD LIST\n"
        for garbage in (b"\x16\x03\x01\x02\0", b"\0\0\0\0", b"\x80\xff"):
            with RawPeer(address) as peer:
                peer.send(garbage)
                assert peer.at_end()
        require_service(address)


def test_who_may_not_use_lines_gets_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so, in time, while it goes on sending; then its connection is closed."""
    names: list[str] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        names.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)
    clock = ManualClock()
    with echo_master(clock=clock, lines=EchoLines(b"ERROR not_allowed no\n")) as (address, _):
        with RawPeer(address) as peer:
            peer.send(b"LIST\n", b"x" * 300_000)
            assert peer.rest() == b"ERROR not_allowed no\n"
            peer.send(b"more")
            clock.advance(LINGER_SECONDS + 0.1)
            poll_for("it is closed", lambda: _is_reset(peer), seconds=10)
        require_service(address)
    assert "lines" not in names


def _is_reset(peer: RawPeer) -> bool:
    try:
        peer.send(b"x")
    except OSError:
        return True
    return False


def test_no_thread_for_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """That connection is closed and gives its place back; the next one is served, and the listener can be stopped."""
    start = threading.Thread.start
    failures = iter([True, True])

    def fail_twice(thread: threading.Thread) -> None:
        if thread.name == "lines" and next(failures, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_twice)
    with echo_master(lines=EchoLines(), connections_max=8) as (address, _):
        for _ in range(2):
            with RawPeer(address) as peer:
                peer.send(b"LIST\n")
                assert peer.at_end()
        with RawPeer(address) as peer:
            peer.send(b"LIST\n")
            assert peer.rest() == b"HEARD LIST\n"


def test_without_a_line_protocol_text_is_closed() -> None:
    """Where it is switched off, nothing is answered."""
    with echo_master() as (address, _), RawPeer(address) as peer:
        peer.send(b"LIST\n")
        assert peer.at_end()
