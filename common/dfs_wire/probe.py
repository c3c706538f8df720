"""`python -m dfs_wire.probe HOST:PORT`: does a master or node serve there? For health checks; it holds no key.

A node greets everybody. A master refuses who shows no key, and that refusal is the sign: it takes the whole way of a
request, up to the credentials and back.
"""

import sys
from typing import NoReturn

from dfs_wire.channel import Dialer
from dfs_wire.errors import BadCredentialError, DfsError
from dfs_wire.messages import Done, Hello, Ping, Role
from dfs_wire.sockets import SocketDialer

_SOFTWARE = "dfs probe"
_CONNECT_SECONDS = 5.0


def check(address: str, dialer: Dialer) -> None:
    """Greet whoever listens at `host:port`.

    Raises:
        DfsError: nobody does, or it does not speak our protocol.
    """
    try:
        channel = dialer.dial(address, Hello(role=Role.TICKET, software=_SOFTWARE))
    except BadCredentialError:
        return
    try:
        channel.call(Ping(), Done)
    finally:
        channel.close()


def main() -> NoReturn:
    """Exit 0 where a role serves, else 1 with the reason on standard error."""
    try:
        check(sys.argv[1], SocketDialer(connect_seconds=_CONNECT_SECONDS))
    except (DfsError, IndexError) as error:
        sys.exit(f"unhealthy: {error}")
    sys.exit(0)


if __name__ == "__main__":
    main()
