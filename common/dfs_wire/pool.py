"""Connections kept open between requests, a few for each address."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

    @contextmanager
    def channel(self, address: str) -> Iterator[Channel]:
        """An open channel to `host:port` for the length of the block; a broken one is not lent again.

        Raises:
            ConnectFailedError, TimedOutError, BadCredentialError: as `Dialer.dial`.
        """
        channel = self._take(address) or self._dialer.dial(address, self._hello_for(address))
        try:
            yield channel
        finally:
            self._give_back(address, channel)

    def drop(self, address: str) -> None:
        """Close the idle channels to an address, for example because it was restarted."""
        with self._lock:
            dropped = self._idle.pop(address, [])
        for channel in dropped:
            channel.close()

    def close(self) -> None:
        """Close all idle channels, and those on loan as they come back."""
        with self._lock:
            self._closed = True
            idle = [channel for channels in self._idle.values() for channel in channels]
            self._idle.clear()
        for channel in idle:
            channel.close()

    def _take(self, address: str) -> Channel | None:
        """The idle channel used last, so that the others can grow old and be closed by the peer."""
        while True:
            with self._lock:
                if not self._idle[address]:
                    return None
                channel = self._idle[address].pop()
            if channel.usable():
                return channel
            channel.close()

    def _give_back(self, address: str, channel: Channel) -> None:
        keep = channel.usable()
        with self._lock:
            keep = keep and not self._closed and len(self._idle[address]) < self._idle_max
            if keep:
                self._idle[address].append(channel)
        if not keep:
            channel.close()
