"""A key that was given outright may be a client's or an operator's: nobody should have to say which."""

from msgspec.structs import replace

from dfs_wire.channel import Channel, Dialer
from dfs_wire.errors import BadCredentialError
from dfs_wire.messages import Hello, Role


class RoleFinder:
    """A `Dialer` that says Hello as a client, and as an operator if the key is none of a client.

    Safe to use from several threads.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._role = Role.CLIENT

    def dial(self, address: str, hello: Hello) -> Channel:
        """Connect and say Hello; see `Dialer.dial`."""
        try:
            return self._dialer.dial(address, replace(hello, role=self._role))
        except BadCredentialError as refused:
            if self._role is Role.ADMIN:
                raise
            try:
                channel = self._dialer.dial(address, replace(hello, role=Role.ADMIN))
            except BadCredentialError:
                raise refused from None
            self._role = Role.ADMIN
            return channel
