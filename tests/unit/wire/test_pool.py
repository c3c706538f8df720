"""The pool: connections are kept, shared one borrower at a time, and never lent when they are of no use."""

import threading

import pytest

from dfs_wire.channel import Answer, Channel, GetStream, PutStream
from dfs_wire.errors import ConnectFailedError, NotFoundError
from dfs_wire.messages import GetChunk, Header, Hello, HelloReply, PutChunk, Role
from dfs_wire.pool import ChannelPool


class FakeChannel:
    """A `Channel` that is usable until told otherwise."""

    hello = HelloReply(cluster_id="test")

    def __init__(self) -> None:
        self.good = True
        self.closed = False

    def call(self, request: Header, reply: type, body: bytes = b"", *, seconds: float = 0.0) -> Answer:  # type: ignore[type-arg]
        raise NotImplementedError

    def put(self, request: PutChunk, *, seconds: float = 0.0) -> PutStream:
        raise NotImplementedError

    def get(self, request: GetChunk, *, seconds: float = 0.0) -> GetStream:
        raise NotImplementedError

    def usable(self) -> bool:
        return self.good and not self.closed

    def close(self) -> None:
        self.closed = True


class FakeDialer:
    """Remembers what it dialled."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, Hello, FakeChannel]] = []
        self.down = False

    def dial(self, address: str, hello: Hello) -> Channel:
        if self.down:
            raise ConnectFailedError(f"nobody is at {address}")
        channel = FakeChannel()
        self.dialled.append((address, hello, channel))
        return channel

    @property
    def channels(self) -> list[FakeChannel]:
        return [channel for _, _, channel in self.dialled]


def pool_and_dialer(idle_per_address: int = 2) -> tuple[ChannelPool, FakeDialer]:
    """A pool that says Hello with the address as its software."""
    dialer = FakeDialer()
    pool = ChannelPool(
        dialer, lambda address: Hello(role=Role.TICKET, software=address), idle_per_address=idle_per_address
    )
    return pool, dialer


def test_a_returned_channel_is_lent_again() -> None:
    """One dial for many requests, a Hello of its own for each address."""
    pool, dialer = pool_and_dialer()
    for address in ("a:1", "a:1", "b:1", "a:1"):
        with pool.channel(address):
            pass
    assert [(address, hello.software) for address, hello, _ in dialer.dialled] == [("a:1", "a:1"), ("b:1", "b:1")]


def test_borrowers_never_share() -> None:
    """Two at the same time have two channels."""
    pool, dialer = pool_and_dialer()
    with pool.channel("a:1") as one, pool.channel("a:1") as other:
        assert one is not other
    assert len(dialer.dialled) == 2


def test_the_channel_used_last_is_lent_first() -> None:
    """So that channels beyond need grow old and end."""
    pool, _ = pool_and_dialer()
    with pool.channel("a:1") as one, pool.channel("a:1"):
        pass
    with pool.channel("a:1") as again:
        assert again is one


def test_more_idle_channels_than_allowed_are_closed() -> None:
    """The bound is for each address."""
    pool, dialer = pool_and_dialer(idle_per_address=1)
    with pool.channel("a:1"), pool.channel("a:1"), pool.channel("b:1"):
        pass
    assert sorted(channel.closed for channel in dialer.channels) == [False, False, True]


@pytest.mark.parametrize("when", ["on loan", "idle"])
def test_a_channel_that_went_bad_is_replaced(when: str) -> None:
    """It is closed, whenever it is noticed."""
    pool, dialer = pool_and_dialer()
    with pool.channel("a:1"):
        dialer.channels[0].good = when != "on loan"
    dialer.channels[0].good = False
    with pool.channel("a:1") as fresh:
        assert fresh is dialer.channels[1]
    assert dialer.channels[0].closed


def test_an_error_in_the_block_keeps_a_good_channel() -> None:
    """A refusal is an answer; only what leaves the stream in doubt costs the connection."""
    pool, dialer = pool_and_dialer()
    with pytest.raises(NotFoundError), pool.channel("a:1"):
        raise NotFoundError("nothing is there")
    with pool.channel("a:1"):
        pass
    assert len(dialer.dialled) == 1


def test_drop_and_close() -> None:
    """Idle channels end at once, those on loan when they come back."""
    pool, dialer = pool_and_dialer()
    with pool.channel("a:1"), pool.channel("b:1"):
        pass
    pool.drop("a:1")
    pool.drop("unknown:1")
    assert [channel.closed for channel in dialer.channels] == [True, False]
    with pool.channel("c:1"):
        pool.close()
        assert [channel.closed for channel in dialer.channels] == [True, True, False]
    assert dialer.channels[2].closed


def test_a_failed_dial_leaves_nothing() -> None:
    """The next try dials again."""
    pool, dialer = pool_and_dialer()
    dialer.down = True
    with pytest.raises(ConnectFailedError), pool.channel("a:1"):
        pass
    dialer.down = False
    with pool.channel("a:1"):
        pass


def test_many_threads() -> None:
    """Under contention each borrower still has a channel of its own."""
    pool, dialer = pool_and_dialer(idle_per_address=4)
    in_use: set[int] = set()
    shared: list[int] = []
    lock = threading.Lock()

    def borrow() -> None:
        for _ in range(300):
            with pool.channel("a:1") as channel:
                with lock:
                    if id(channel) in in_use:
                        shared.append(id(channel))
                    in_use.add(id(channel))
                with lock:
                    in_use.discard(id(channel))

    threads = [threading.Thread(target=borrow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not shared
    assert sum(not channel.closed for channel in dialer.channels) <= 4
