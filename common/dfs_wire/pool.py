"""Connections kept open between requests, a few for each address."""

import threading
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType

from dfs_runtime import forks
from dfs_wire.channel import Channel, Dialer
from dfs_wire.messages import Hello

IDLE_PER_ADDRESS = 8


class ChannelPool:
    """Lends channels, one borrower each. Safe to use from several threads."""

    def __init__(
        self, dialer: Dialer, hello_for: Callable[[str], Hello], *, idle_per_address: int = IDLE_PER_ADDRESS
    ) -> None:
        self._dialer = dialer
        self._hello_for = hello_for
        self._idle_max = idle_per_address
        self._lock = threading.Lock()
        self._idle: defaultdict[str, list[Channel]] = defaultdict(list)
        self._closed = False
        forks.register(self)

    def channel(self, address: str) -> "Loan":
        """An open channel to `host:port` for the length of the block; a broken one is not lent again.

        Raises:
            ConnectFailedError, TimedOutError, BadCredentialError: on entering the block, as `Dialer.dial`.
        """
        return Loan(self, address)

    def take(self, address: str) -> Channel:
        """A channel that the caller must give back; see `channel`."""
        while True:
            with self._lock:
                idle = self._idle[address]
                # The one used last, so that the others can grow old and be closed by the peer.
                channel = idle.pop() if idle else None
            if channel is None:
                return self._dialer.dial(address, self._hello_for(address))
            if channel.usable():
                return channel
            channel.close()

    def give_back(self, address: str, channel: Channel, *, sound: bool = False) -> None:
        """Take a channel back; a broken one is closed.

        `sound`: its last request ended well, so that a look at it can wait until it is lent again.
        """
        keep = sound or channel.usable()
        with self._lock:
            keep = keep and not self._closed and len(self._idle[address]) < self._idle_max
            if keep:
                self._idle[address].append(channel)
        if not keep:
            channel.close()

    def drop(self, address: str) -> None:
        """Close the idle channels to an address, for example because it was restarted."""
        with self._lock:
            dropped = self._idle.pop(address, [])
        for channel in dropped:
            channel.close()

    def after_fork(self) -> None:
        """In a child: all channels are the parent's, and close their copies themselves."""
        self._lock = threading.Lock()
        self._idle = defaultdict(list)

    def close(self) -> None:
        """Close all idle channels, and those on loan as they come back."""
        with self._lock:
            self._closed = True
            idle = [channel for channels in self._idle.values() for channel in channels]
            self._idle.clear()
        for channel in idle:
            channel.close()


class Loan:
    """One channel for the length of a block: a class rather than a generator, since every request enters it."""

    __slots__ = ("_address", "_channel", "_pool")

    def __init__(self, pool: ChannelPool, address: str) -> None:
        self._pool = pool
        self._address = address
        self._channel: Channel | None = None

    def __enter__(self) -> Channel:
        self._channel = self._pool.take(self._address)
        return self._channel

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            self._pool.give_back(self._address, self._channel, sound=kind is None)
            self._channel = None
