"""Ask the machine whether somebody listens on a port, without connecting to anybody."""

import errno
import socket

from dfs_wire.errors import UsageError


def port_is_free(host: str, port: int) -> bool:
    """Whether a listener could be opened at `host:port` now. True only for this moment: another process may be faster.

    Raises:
        UsageError: the address is not one of this machine, or the port needs rights that this user lacks.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise UsageError(f"{host!r} is not an address of this machine; name one that it has.") from error
    with socket.socket(family, kind, protocol) as probe:
        # As a listener does: a port whose last connection just ended is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise UsageError(f"Nothing can listen on {host}:{port} here ({error.strerror}).") from error
    return True
